"""How one operation is carried out over all clusters: plan, preflight, rollout, removal, and back.

The deployment's workflow decides which operation runs; this is what running it means.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import is_cancelled_exception
from temporalio.types import MethodAsyncSingleParam

from emco.domain import names
from emco.domain.contracts import (
    Begun,
    ClusterRef,
    Gating,
    GraphRequest,
    Planning,
    PlanRequest,
    PlanSummary,
    Units,
)
from emco.domain.lifecycle import Outcome, Verb
from workflows import options
from workflows.failures import (
    all_of,
    is_ending,
    is_unreachable,
    raise_first,
    results_of,
    root_message,
)
from workflows.gates import Gatehouse, Keeper
from workflows.removal import ClusterRemovalWorkflow
from workflows.rollout import ClusterRolloutWorkflow
from workflows.testing import ClusterTestWorkflow

T = TypeVar("T")

Parts = dict[str, ClusterRef]
"""Each cluster's part of an operation."""

Report = Callable[[str, str], None]
"""Told (cluster, step) whenever a cluster's part moves on."""


class Ending(BaseModel):
    """How an operation ended. `remnants` are clusters that were away and still hold something."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    failure: str = ""
    remnants: tuple[str, ...] = ()


class Operation:
    """One operation of one deployment."""

    def __init__(self, deployment: str, begun: Begun, report: Report, gatehouse: Gatehouse) -> None:
        self._deployment, self._begun, self._report = deployment, begun, report
        self._gatehouse = gatehouse

    async def carry_out(self) -> Ending:
        """Do it. Only cancellation is raised; every failure is an ending."""
        if self._begun.verb is Verb.TERMINATE:
            return await self._settled(self._take_down)
        if self._begun.verb is Verb.TEST:
            return await self._settled(self._test)
        return await self._settled(self._bring_up)

    async def sweep(self, remnants: Iterable[str]) -> None:
        """Clear clusters that were away, however long that takes; the failure says what stays."""
        parts = {c: self._part(c, "", patient=True) for c in remnants}
        await self._on_clusters(ClusterRemovalWorkflow.run, parts, suffix="/sweep", halt=False)

    async def _settled(self, work: Callable[[], Awaitable[Ending]]) -> Ending:
        try:
            return await work()
        except Exception as error:
            if is_cancelled_exception(error):
                raise
            return Ending(outcome=Outcome.FAILED, failure=root_message(error))

    # -- bringing a plan about ------------------------------------------------------------------

    async def _bring_up(self) -> Ending:
        try:
            plan = await self._plan()
            unasked = await self._preflight(plan)
        except Exception as error:
            if is_cancelled_exception(error):
                raise
            return Ending(outcome=Outcome.UNTOUCHED, failure=root_message(error))
        try:
            await self._bring_about(plan, unasked)
        except Exception as error:
            is_over = is_cancelled_exception(error) or self._begun.verb is Verb.HEAL
            if is_over or self._begun.rules.on_failure != "rollback":
                raise
            return await self._put_back(root_message(error))
        return Ending(outcome=Outcome.DONE)

    async def _plan(self, digest: str = "") -> PlanSummary:
        return await workflow.execute_activity_method(
            Planning.plan,
            PlanRequest(
                deployment=self._deployment,
                operation=self._begun.operation,
                digest=digest,
                verb=self._begun.verb,
                revision=0 if digest else self._begun.revision,
            ),
            summary="plan: back to what was in effect" if digest else "plan: place, render, order",
            **options.PLAN,
        )

    async def _preflight(self, plan: PlanSummary) -> frozenset[str]:
        """Raise what any cluster refuses; returns those that are to be asked again before their part."""
        rule = self._begun.rules.preflight
        if self._begun.verb is Verb.HEAL:  # what is put back was accepted before
            return frozenset()
        if rule == "per-cluster":
            return frozenset(plan.clusters)
        for cluster in plan.clusters:
            self._report(cluster, "preflight")
        results = await self._ask_all(plan, rule)
        away = {c for c, r in results.items() if isinstance(r, BaseException) and is_unreachable(r)}
        refused = {c: r for c, r in results.items() if c not in away}
        raise_first(refused, "in preflight, nothing was changed")
        return frozenset(away)

    async def _ask_all(self, plan: PlanSummary, rule: str) -> dict[str, object]:
        async def ask(cluster: str) -> object:
            return await workflow.execute_activity_method(
                Units.preflight,
                self._part(cluster, plan.digest, preflight=rule == "strict"),
                summary=f"preflight {cluster}",
                **options.ASK,
            )

        return await results_of({cluster: ask(cluster) for cluster in plan.clusters})

    async def _bring_about(self, plan: PlanSummary, unasked: frozenset[str] = frozenset()) -> None:
        await workflow.execute_activity_method(
            Planning.claim,
            PlanRequest(
                deployment=self._deployment, operation=self._begun.operation, digest=plan.digest
            ),
            summary="write down what will be where",
            **options.PLAN,
        )
        go_on = self._begun.rules.on_failure == "continue"
        force = self._begun.verb is Verb.HEAL
        parts = {
            c: self._part(c, plan.digest, preflight=c in unasked, force=force, go_on=go_on)
            for c in plan.clusters
        }
        await self._in_order(
            self._waits(plan, plan.digest),
            parts,
            lambda ordered: self._on_clusters(ClusterRolloutWorkflow.run, ordered, halt=not go_on),
        )
        leaving = {c: self._part(c, plan.digest, leaving=True) for c in plan.leaving}
        await self._in_order(
            self._waits(plan, plan.digest, removal=True) if leaving else None,
            leaving,
            lambda ordered: self._on_clusters(
                ClusterRemovalWorkflow.run, ordered, suffix="/leave", halt=False
            ),
        )

    async def _put_back(self, failure: str) -> Ending:
        """Compensate: what was in effect before is so again, on every cluster."""
        back = self._begun.model_copy(
            update={
                "operation": f"{self._begun.operation}/back",
                "rules": self._begun.rules.model_copy(update={"on_failure": "continue"}),
            }
        )
        before = Operation(self._deployment, back, self._report, self._gatehouse)
        try:
            if self._begun.base:
                await before._bring_about(await self._plan(self._begun.base))
                return Ending(outcome=Outcome.ROLLED_BACK, failure=f"{failure}; rolled back")
            gone = await before._take_down()
        except Exception as error:
            if is_cancelled_exception(error):
                raise
            return Ending(
                outcome=Outcome.FAILED,
                failure=f"{failure}; rolling back failed too: {root_message(error)}",
            )
        return Ending(
            outcome=Outcome.ROLLED_BACK,
            failure=f"{failure}; rolled back, nothing of it is left",
            remnants=gone.remnants,
        )

    # -- testing it -----------------------------------------------------------------------------

    async def _test(self) -> Ending:
        """Run the tests of what is in effect, on every cluster; nothing of it is changed."""
        plan = await self._plan(self._begun.base)
        parts = {c: self._part(c, plan.digest) for c in plan.clusters}
        await self._on_clusters(ClusterTestWorkflow.run, parts, halt=False)
        return Ending(outcome=Outcome.DONE)

    # -- taking it down -------------------------------------------------------------------------

    async def _take_down(self) -> Ending:
        """Remove everything; a cluster that does not answer is left for later and named."""
        left = await workflow.execute_local_activity_method(
            Planning.footprint,
            PlanRequest(deployment=self._deployment, operation=self._begun.operation),
            **options.BOOKKEEPING,
        )
        parts = {c: self._part(c, "", patient=False) for c in left.clusters}
        results = await self._in_order(
            self._waits(left, removal=True),
            parts,
            lambda ordered: results_of(self._children(ClusterRemovalWorkflow.run, ordered)),
        )
        away = tuple(
            c for c, r in results.items() if isinstance(r, BaseException) and is_unreachable(r)
        )
        raise_first({c: r for c, r in results.items() if c not in away}, "among the clusters")
        return Ending(outcome=Outcome.DONE, remnants=away)

    # -- order ----------------------------------------------------------------------------------

    def _waits(
        self, plan: PlanSummary, digest: str = "", *, removal: bool = False
    ) -> GraphRequest | None:
        """Whom to ask about who waits for whom; None when it is known that nobody does."""
        if not plan.gated:
            return None
        return GraphRequest(deployment=self._deployment, digest=digest, removal=removal)

    async def _in_order(
        self,
        request: GraphRequest | None,
        parts: Parts,
        work: Callable[[Parts], Coroutine[Any, Any, T]],
    ) -> T:
        """Do the work on all clusters, each unit when its gate opens."""
        if request is None:
            return await work(parts)
        graph = await workflow.execute_local_activity_method(
            Gating.graph, request, **options.BOOKKEEPING
        )
        if not graph.dependencies:
            return await work(parts)
        keeper = Keeper(self._begun.operation, request, graph)
        ordered = {c: keeper.brief(part) for c, part in parts.items()}
        return await self._gatehouse.keep(keeper, work(ordered))

    # -- clusters -------------------------------------------------------------------------------

    def _part(self, cluster: str, plan: str, **flags: bool) -> ClusterRef:
        return ClusterRef(
            deployment=self._deployment,
            operation=self._begun.operation,
            cluster=cluster,
            plan=plan,
            **flags,
        )

    async def _on_clusters(
        self,
        run: MethodAsyncSingleParam[Any, ClusterRef, int],
        parts: dict[str, ClusterRef],
        *,
        suffix: str = "",
        halt: bool,
    ) -> None:
        await all_of(self._children(run, parts, suffix), "among the clusters", halt=halt)

    def _children(
        self,
        run: MethodAsyncSingleParam[Any, ClusterRef, int],
        parts: dict[str, ClusterRef],
        suffix: str = "",
    ) -> dict[str, Coroutine[Any, Any, None]]:
        for cluster in parts:
            self._report(cluster, "waiting")
        is_gated = self._gatehouse.keeper is not None  # then one that waits must not hold a place
        window = asyncio.Semaphore(len(parts) if is_gated else options.CLUSTERS_AT_ONCE)
        return {c: self._child(run, part, suffix, window) for c, part in parts.items()}

    async def _child(
        self,
        run: MethodAsyncSingleParam[Any, ClusterRef, int],
        part: ClusterRef,
        suffix: str,
        window: asyncio.Semaphore,
    ) -> None:
        async with window:
            self._report(part.cluster, "running")
            try:
                child = await workflow.start_child_workflow(
                    run,
                    part,
                    id=names.cluster_workflow_id(
                        self._deployment, part.operation + suffix, part.cluster
                    ),
                    search_attributes=self._attributes(part.cluster),
                    static_summary=f"{self._deployment} on {part.cluster}",
                    **options.CHILD,
                )
                if is_ending():  # while it was being started, when nobody knew it yet
                    child.cancel()
                await child
            except Exception as error:
                if self._gatehouse.keeper is not None and not is_cancelled_exception(error):
                    self._gatehouse.keeper.lost(part.cluster, error)
                self._report(
                    part.cluster,
                    "halted" if is_cancelled_exception(error) else root_message(error),
                )
                raise
            self._report(part.cluster, "done")

    def _attributes(self, cluster: str) -> TypedSearchAttributes:
        project, app, *_ = self._deployment.split("/")
        return TypedSearchAttributes(
            [
                SearchAttributePair(names.PROJECT, project),
                SearchAttributePair(names.APP, app),
                SearchAttributePair(names.CLUSTER, cluster),
            ]
        )
