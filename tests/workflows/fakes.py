"""Activities that remember what they were told and fail where a test says so."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from emco.domain import lifecycle
from emco.domain.contracts import (
    BeginRequest,
    Begun,
    ClusterRef,
    Delivered,
    Drift,
    Ended,
    EndRequest,
    FailureType,
    Followed,
    Gating,
    Graph,
    GraphRequest,
    HookPlan,
    HookRef,
    Hooks,
    HooksRequest,
    HookStep,
    Listening,
    Notices,
    Outline,
    Planning,
    PlanRequest,
    PlanSummary,
    Preview,
    PreviewRequest,
    Records,
    Rules,
    Stage,
    Status,
    StatusRef,
    SteadyRequest,
    Step,
    Tried,
    UnitRef,
    UnitResult,
    Units,
    Waiting,
    WaitingUnit,
)
from emco.domain.dependencies import Dependency
from emco.domain.errors import EmcoError
from emco.domain.lifecycle import Action, Lifecycle, Outcome, Progress, State, Verb

TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """What the fakes share: the record, what is on the clusters, and everything that happened.

    `version` goes into every plan, so that a test changes what is described by changing it.
    """

    clusters: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"edge+c1": ("frontend", "redis"), "edge+c2": ("cart",)}
    )
    life: Lifecycle = field(
        default_factory=lambda: Lifecycle(actions=(Action(state=State.APPROVED, time=TIME),))
    )
    rules: Rules = field(default_factory=Rules)
    version: int = 1
    plans: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    planned: dict[str, str] = field(default_factory=dict)
    revisions: dict[int, str] = field(default_factory=dict)
    applied: dict[tuple[str, str], str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    drift: asyncio.Event = field(default_factory=asyncio.Event)
    deliveries: list[Delivered] = field(default_factory=list)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    targets: dict[str, Lifecycle] = field(default_factory=dict)
    hooks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """App to its hooks, each `event name`: `pre-install migrate`."""
    dependencies: tuple[Dependency, ...] = ()
    waiting: dict[tuple[str, str], WaitingUnit] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    since: datetime = TIME
    followed: asyncio.Queue[Followed] = field(default_factory=asyncio.Queue)
    """How following a cluster ends, each time it does."""

    @property
    def present(self) -> set[tuple[str, str]]:
        """Every (cluster, app) there is."""
        return set(self.applied)

    async def did(self, step: str, cluster: str = "") -> None:
        """Note a step; fail or wait where the test wants it."""
        if cluster in self.away:
            raise ApplicationError(f"{cluster} does not answer", type=FailureType.UNREACHABLE)
        self.log.append(step)
        self.times[f"{step} on {cluster}"] = activity.info().started_time
        for key in (step, f"{step} on {cluster}"):
            if key in self.hold:
                while not self.hold[key].is_set():
                    activity.heartbeat()
                    await asyncio.sleep(0.05)
            if key in self.refuse:
                raise ApplicationError(
                    self.refuse[key], type=FailureType.REFUSED, non_retryable=True
                )


class FakeRecords(Records):
    """The real transition table over a record in memory."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def begin(self, request: BeginRequest) -> Begun:
        world = self._world
        before = world.life
        if before.operation != request.operation or request.verb is Verb.STOP:
            try:
                world.life = lifecycle.accept(
                    before,
                    request.verb,
                    "d",
                    now=TIME,
                    operation=request.operation,
                    adopt=request.adopt,
                    supersede=request.supersede,
                )
            except EmcoError as error:
                raise ApplicationError(
                    str(error), type=FailureType.REFUSED, non_retryable=True
                ) from None
            self._decide(request, before)
        await world.did(f"begin {request.verb}")
        return self._begun(world.life)

    def _decide(self, request: BeginRequest, before: Lifecycle) -> None:
        world = self._world
        if request.verb is Verb.ROLLBACK:
            world.planned[request.operation] = world.revisions[request.revision]
        if request.verb is Verb.HEAL:
            world.planned[request.operation] = world.planned[before.effective]
        if request.verb is Verb.RESUME and before.operation in world.planned:
            world.planned[request.operation] = world.planned[before.operation]

    def _begun(self, life: Lifecycle) -> Begun:
        return Begun(
            operation=life.operation,
            verb=life.verb or Verb.INSTANTIATE,
            revision=life.revision,
            base=self._world.planned.get(life.effective, ""),
            rules=self._world.rules,
        )

    async def queue(self, request: BeginRequest) -> None:
        await self._world.did(f"queue {request.verb}")

    async def hand_over(self, request: BeginRequest) -> Begun:
        world = self._world
        target = Lifecycle(actions=(Action(state=State.APPROVED, time=TIME),))
        left, world.life = lifecycle.migrate(
            world.life, target, ("d", "d2"), operation=request.operation, now=TIME
        )
        world.targets["left"] = left
        await world.did("hand over")
        return self._begun(world.life)

    async def rules(self, request: PlanRequest) -> Rules:
        return self._world.rules

    async def end(self, request: EndRequest) -> Ended:
        world = self._world
        is_swept = request.outcome is Outcome.FAILED and world.life.progress is Progress.TERMINATED
        is_current = world.life.operation == request.operation and (
            world.life.is_running or is_swept
        )
        if is_current and request.outcome is not Outcome.SUPERSEDED:
            world.life = lifecycle.ended(
                world.life, request.outcome, now=TIME, failure=request.failure
            )
        await world.did(f"end {request.verb} {request.outcome}")
        return Ended(progress=world.life.progress or Progress.CREATED)


class FakePlanning(Planning):
    """Plans whatever the world says."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def plan(self, request: PlanRequest) -> PlanSummary:
        world = self._world
        if request.digest:
            return self._summary(request.digest)
        await world.did("plan")
        digest = world.planned.setdefault(request.operation, f"v{world.version}")
        world.plans.setdefault(digest, dict(world.clusters))
        world.revisions[request.revision] = digest
        return self._summary(digest)

    def _summary(self, digest: str) -> PlanSummary:
        plan = self._world.plans[digest]
        leaving = {c for c, app in self._world.applied if app not in plan.get(c, ())}
        return PlanSummary(
            digest=digest,
            clusters=tuple(sorted(plan)),
            leaving=tuple(sorted(leaving)),
            gated=bool(self._world.dependencies),
        )

    async def claim(self, request: PlanRequest) -> None:
        await self._world.did("claim")

    async def preview(self, request: PreviewRequest) -> Preview:
        await self._world.did("preview")
        return Preview(digest="p", report="r")

    async def footprint(self, request: PlanRequest) -> PlanSummary:
        clusters = tuple(sorted({c for c, _ in self._world.applied}))
        return PlanSummary(digest="", clusters=clusters, gated=bool(self._world.dependencies))

    async def outline(self, request: ClusterRef) -> Outline:
        plan = self._world.plans.get(request.plan, {}).get(request.cluster, ())
        there = {app for c, app in self._world.applied if c == request.cluster}
        if not request.plan or request.leaving:
            going = tuple(sorted(there - set(plan)))
            return Outline(apps=going, hooked=self._hooked(going))
        steps = {
            app: Step.KEEP
            if self._world.applied.get((request.cluster, app)) == request.plan and not request.force
            else Step.APPLY
            for app in plan
        }
        kept = [app for app, step in steps.items() if step is not Step.APPLY]
        return Outline(
            apps=plan,
            steps=steps,
            hooked=() if request.force else self._hooked(plan),
            since=dict.fromkeys(kept, self._world.since),
        )

    def _hooked(self, apps: Iterable[str]) -> tuple[str, ...]:
        return tuple(app for app in apps if app in self._world.hooks)


class FakeUnits(Units):
    """Objects are entries of a map."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def preflight(self, cluster: ClusterRef) -> UnitResult:
        if cluster.cluster in self._world.away and not cluster.preflight:
            raise ApplicationError("away", type=FailureType.UNREACHABLE, non_retryable=True)
        await self._world.did(f"preflight {cluster.cluster}", cluster.cluster)
        return UnitResult()

    async def apply(self, unit: UnitRef) -> UnitResult:
        if unit.cluster not in self._world.away:
            self._world.applied[unit.cluster, unit.app] = ""
        await self._world.did(f"apply {unit.app}", unit.cluster)
        self._world.applied[unit.cluster, unit.app] = unit.plan
        return UnitResult(objects=1)

    async def ready(self, unit: UnitRef) -> UnitResult:
        await self._world.did(f"ready {unit.app}", unit.cluster)
        return UnitResult(objects=1)

    async def prune(self, unit: UnitRef) -> UnitResult:
        await self._world.did(f"prune {unit.app}", unit.cluster)
        return UnitResult()

    async def remove(self, unit: UnitRef) -> UnitResult:
        await self._world.did(f"remove {unit.app}", unit.cluster)
        self._world.applied.pop((unit.cluster, unit.app), None)
        return UnitResult(objects=1)

    async def release(self, cluster: ClusterRef) -> UnitResult:
        await self._world.did(f"release {cluster.cluster}", cluster.cluster)
        return UnitResult()


class FakeHooks(Hooks):
    """Hooks are lines in the log."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[tuple[str, str], str] = {}

    async def begin(self, request: HooksRequest) -> HookPlan:
        unit = request.cluster, request.app
        goal = {Stage.REMOVE: "delete", Stage.TEST: "test"}.get(request.stage)
        if goal is None:
            goal = "upgrade" if unit in self._known else "install"
            self._known[unit] = request.plan
        hooks = self._world.hooks[request.app]
        first = "test" if goal == "test" else f"pre-{goal}"
        return HookPlan(
            goal=goal,
            before=self._steps(hooks, first),
            after=() if goal == "test" else self._steps(hooks, f"post-{goal}"),
        )

    def _steps(self, hooks: Iterable[str], event: str) -> tuple[HookStep, ...]:
        found = [hook for hook in hooks if hook.split()[0] == event]
        return tuple(HookStep(event=event, index=n, title=t) for n, t in enumerate(found))

    async def run(self, hook: HookRef) -> UnitResult:
        hooks = [h for h in self._world.hooks[hook.app] if h.split()[0] == hook.event]
        last = " and tidies up" if hook.last else ""
        await self._world.did(f"{hooks[hook.index]}{last}", hook.cluster)
        return UnitResult(objects=1)


class FakeGating(Gating):
    """Who waits for whom is what the world says."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def graph(self, request: GraphRequest) -> Graph:
        world = self._world
        planned = {
            (cluster, app)
            for cluster, apps in world.plans.get(request.digest, {}).items()
            for app in apps
        }
        placed = world.present - planned if request.removal else planned
        clusters = {
            app: tuple(sorted(c for c, other in placed if other == app))
            for app in sorted({app for _, app in placed})
        }
        return Graph(dependencies=world.dependencies, clusters=clusters)

    async def show(self, waiting: Waiting) -> None:
        for unit in waiting.units:
            self._world.waiting[unit.cluster, unit.app] = unit

    async def steady(self, request: SteadyRequest) -> UnitResult:
        await self._world.did(f"steady {request.unit.app}", request.unit.cluster)
        return UnitResult()


class FakeDrift(Drift):
    """Drifts when the test says so."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def watch(self, cluster: ClusterRef) -> UnitResult:
        await self._world.did(f"watch {cluster.cluster}")
        while not self._world.drift.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.05)
        self._world.drift.clear()
        return UnitResult(note="ConfigMap x: data.a changed by kubectl")


class FakeStatus(Status):
    """Follows until the test says how that ends."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def follow(self, cluster: StatusRef) -> Followed:
        await self._world.did(f"follow {cluster.cluster}")
        while self._world.followed.empty():
            activity.heartbeat()
            await asyncio.sleep(0.05)
        return self._world.followed.get_nowait()


class FakeNotices(Notices):
    """Answers what the test laid out, one after the other, and then goes on telling for ever."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def deliver(self, listening: Listening) -> Delivered:
        await self._world.did("deliver")
        if self._world.deliveries:
            return self._world.deliveries.pop(0)
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)

    async def test(self, listening: Listening) -> Tried:
        await self._world.did("test")
        return Tried(failure="it answered 500")


def activities(world: World) -> list[Callable[..., Any]]:
    """Everything a worker needs to run our workflows against `world`."""
    groups = (
        FakeRecords(world),
        FakePlanning(world),
        FakeUnits(world),
        FakeHooks(world),
        FakeDrift(world),
        FakeGating(world),
        FakeStatus(world),
        FakeNotices(world),
    )
    return [method for group in groups for method in group.activities()]
