"""The parent's half of the gates: hears what every cluster's part has come to, and says who may start.

All of it is decided in one place, by `emco.domain.plan.gates`. A part says its news in one signal
for all that came at once, and is answered the same way; a gate opens because something happened,
never because somebody looked.
"""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from emco.domain import names
from emco.domain.contracts import (
    ClusterRef,
    Gating,
    Graph,
    GraphRequest,
    Milestone,
    News,
    Opening,
    Openings,
    Reached,
    SteadyRequest,
    UnitRef,
    Waiting,
    WaitingUnit,
)
from emco.domain.plan.gates import Fact, Gates, Unit, Verdict
from workflows import options
from workflows.failures import (
    end_all,
    is_unreachable,
    results_of,
    root_message,
    stop_if_cancelled,
)

T = TypeVar("T")


class Gatehouse:
    """Where signals find the keeper of what is under way; there is none while nobody waits."""

    def __init__(self) -> None:
        self.keeper: Keeper | None = None

    def learn(self, news: News) -> None:
        """What belongs to an operation that has ended is nobody's business any more."""
        if self.keeper is not None and self.keeper.operation == news.operation:
            self.keeper.learn(news)

    def dependencies_changed(self) -> None:
        """What is written about dependencies changed: it counts for all that has not started."""
        if self.keeper is not None:
            self.keeper.look_again()

    async def keep(self, keeper: "Keeper", work: Coroutine[Any, Any, T]) -> T:
        """Do the work while the keeper opens gates; nothing of the keeper is left after it."""
        self.keeper = keeper
        try:
            return await keeper.attend(work)
        finally:
            self.keeper = None


class Keeper:
    """The gates of one operation, in one direction."""

    def __init__(self, operation: str, request: GraphRequest, graph: Graph) -> None:
        self.operation = operation
        self._request, self._graph = request, graph
        self._gates = Gates(graph, removal=request.removal)
        self._began = workflow.now()
        self._facts: dict[Unit, Fact] = {}
        self._verdicts: dict[Unit, Verdict] = {}
        self._started: set[Unit] = set()
        self._listeners: dict[str, str] = {}
        self._said: dict[Unit, Opening] = {}
        self._needs_said: dict[str, tuple[str, ...]] = {}
        self._shown: dict[Unit, WaitingUnit] = {}
        self._to_show: dict[Unit, WaitingUnit] = {}
        self._steadying: dict[tuple[Unit, int], asyncio.Task[None]] = {}
        self._window = asyncio.Semaphore(options.UNITS_IN_FLIGHT)
        self._is_stale, self._is_rewritten = True, False

    # -- what it is told ------------------------------------------------------------------------

    def brief(self, part: ClusterRef) -> ClusterRef:
        """A cluster's part, with which of its apps wait and which others wait for."""
        gates, needed = self._gates.on(part.cluster), self._gates.needed
        self._needs_said[part.cluster] = needed
        return part.model_copy(update={"gated": gates, "needed": needed})

    def learn(self, news: News) -> None:
        """A part's news; hearing them twice changes nothing."""
        self._listeners[news.cluster] = news.sender
        for reached in news.reached:
            self._learn((news.cluster, reached.app), reached)
        self._is_stale = True

    def lost(self, cluster: str, error: BaseException) -> None:
        """A part has ended with an error: what it has not brought about there never will be."""
        done = Milestone.GONE if self._request.removal else Milestone.READY
        how = Milestone.AWAY if is_unreachable(error) else Milestone.FAILED
        for app, clusters in self._graph.clusters.items():
            unit = (cluster, app)
            known = self._facts.get(unit, Fact())
            if cluster in clusters and not {done, Milestone.FAILED} & set(known.at):
                message = root_message(error)
                if unit in self._verdicts and unit not in self._started:
                    self._to_show[unit] = WaitingUnit(app=app, cluster=cluster, failure=message)
                told = Reached(app=app, milestone=how, at=workflow.now(), message=message)
                self._learn(unit, told)
        self._is_stale = True

    def look_again(self) -> None:
        """The dependencies are written anew."""
        self._is_stale = self._is_rewritten = True

    def _learn(self, unit: Unit, reached: Reached) -> None:
        if reached.milestone is Milestone.AWAY and not self._request.removal:
            reached = reached.model_copy(update={"milestone": Milestone.FAILED})
        self._facts.setdefault(unit, Fact()).learn(reached)
        if not self._verdicts.get(unit, Verdict()).failure:
            self._started.add(unit)

    # -- what it does ---------------------------------------------------------------------------

    async def attend(self, work: Coroutine[Any, Any, T]) -> T:
        """Open gates until the work has ended; raises what went wrong with either."""
        steps = {"work": work, "gates": self._open(), "rows": self._show()}
        try:
            results = await results_of(steps, until=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # not `finally`: a workflow that is evicted cannot wait
            await end_all(self._steadying.values())
            raise
        await end_all(self._steadying.values())
        errors = [r for r in results.values() if isinstance(r, BaseException)]
        for error in errors:
            if not is_cancelled_exception(error):
                raise error
        ended: Any = results["work"]
        if isinstance(ended, BaseException):
            raise ended
        return ended  # type: ignore[no-any-return]

    async def _open(self) -> None:
        while True:
            self._is_stale = False
            if self._is_rewritten and not self._request.removal:
                await self._read_again()
                stop_if_cancelled()
            self._decide()
            await self._say()
            await self._until_news()

    async def _until_news(self) -> None:
        now = workflow.now()
        deadlines = [d for verdict in self._verdicts.values() for d in verdict.deadlines if d > now]
        try:
            await workflow.wait_condition(
                lambda: self._is_stale,
                timeout=min(deadlines) - now if deadlines else None,
                timeout_summary="until a gate's timeout",
            )
        except TimeoutError:
            return

    async def _read_again(self) -> None:
        self._is_rewritten = False
        self._graph = await workflow.execute_local_activity_method(
            Gating.graph,
            self._request.model_copy(update={"anew": True}),
            **options.BOOKKEEPING,
        )
        self._gates = Gates(self._graph)

    def _decide(self) -> None:
        now = workflow.now()
        self._verdicts = self._gates.decide(self._facts, self._began, now, self._started)
        for unit, verdict in self._verdicts.items():
            self._note(unit, verdict, now)
        for unit, seconds in self._gates.unsteady(self._facts):
            if (unit, seconds) not in self._steadying:
                watching = asyncio.create_task(self._steady(unit, seconds))
                self._steadying[unit, seconds] = watching

    async def _say(self) -> None:
        """Tell every part that listens what is new to it, all of them side by side."""
        news: dict[str, list[Opening]] = {}
        for unit, verdict in self._verdicts.items():
            cluster, app = unit
            opening = Opening(app=app, due=verdict.due, why=verdict.why, failure=verdict.failure)
            if cluster in self._listeners and self._said.get(unit, Opening(app=app)) != opening:
                self._said[unit] = opening
                news.setdefault(cluster, []).append(opening)
                if verdict.due is not None and verdict.due <= workflow.now():
                    self._started.add(unit)
        needed = self._gates.needed
        changed = [c for c in self._listeners if self._needs_said[c] != needed]
        self._needs_said.update(dict.fromkeys(changed, needed))
        await results_of(
            {
                cluster: self._signal(
                    cluster,
                    Openings(
                        operation=self.operation,
                        gates=tuple(news.get(cluster, ())),
                        needed=needed if cluster in changed else None,
                    ),
                )
                for cluster in sorted({*news, *changed})
            }
        )

    async def _signal(self, cluster: str, openings: Openings) -> None:
        part = workflow.get_external_workflow_handle(self._listeners[cluster])
        try:
            await part.signal(names.GATES_SIGNAL, openings)
        except FailureError as gone:
            if is_cancelled_exception(gone):
                raise
            workflow.logger.info(f"{cluster} does not listen any more: {gone}")

    async def _steady(self, unit: Unit, seconds: int) -> None:
        cluster, app = unit
        ref = UnitRef(
            deployment=self._request.deployment,
            operation=self.operation,
            cluster=cluster,
            app=app,
            plan=self._request.digest,
        )
        try:
            async with self._window:
                await workflow.execute_activity_method(
                    Gating.steady,
                    SteadyRequest(unit=ref, seconds=seconds),
                    summary=f"{app} on {cluster}: ready for {seconds} s without a break",
                    **options.WAIT,
                )
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            failed = Reached(
                app=app,
                milestone=Milestone.FAILED,
                at=workflow.now(),
                message=root_message(error),
            )
            self._facts[unit].learn(failed)
        else:
            self._facts[unit].steady[seconds] = workflow.now()
        self._is_stale = True

    # -- what people see ------------------------------------------------------------------------

    def _note(self, unit: Unit, verdict: Verdict, now: datetime) -> None:
        cluster, app = unit
        is_open = verdict.due is not None and verdict.due <= now
        row = WaitingUnit(
            app=app,
            cluster=cluster,
            awaits=() if is_open else verdict.awaits,
            until=None if is_open else verdict.due,
            failure=verdict.failure,
        )
        if self._shown.get(unit, WaitingUnit(app=app, cluster=cluster)) != row:
            self._shown[unit] = self._to_show[unit] = row

    async def _show(self) -> None:
        """Write what has changed, all that came while the write before was under way at once."""
        while True:
            await workflow.wait_condition(lambda: bool(self._to_show))
            rows, self._to_show = tuple(self._to_show.values()), {}
            await workflow.execute_local_activity_method(
                Gating.show,
                Waiting(deployment=self._request.deployment, since=workflow.now(), units=rows),
                **options.BOOKKEEPING,
            )
            stop_if_cancelled()
