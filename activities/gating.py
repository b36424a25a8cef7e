"""Who waits for whom, what is shown of those that wait, and how long somebody has been ready.

Reading the graph and watching change nothing. Showing is idempotent: a row says what its gate says,
and one whose unit has started meanwhile is left alone.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial

from activities.clusters import Clusters
from activities.failures import translated
from activities.heartbeat import heartbeating
from activities.planning import StoredPlanning
from activities.steadiness import Late, Steadiness, follow
from activities.together import together
from activities.watches import Watches
from emco.domain import health
from emco.domain.contracts import (
    Gating,
    Graph,
    GraphRequest,
    SteadyRequest,
    UnitResult,
    Waiting,
    WaitingUnit,
)
from emco.domain.kinds.apps import CompositeApp
from emco.domain.kinds.delivery import Deployment
from emco.domain.names import deployment_address
from emco.domain.plan import manifests
from emco.domain.resource import Address
from emco.domain.status import NAMESPACE_CLAIM, Phase, Ready, UnitRow
from emco.store.snapshot import dependencies
from emco.store.store import Store


class StoredGating(Gating):
    """The graph as plans and the store have it; readiness as the clusters have it."""

    def __init__(
        self, store: Store, clusters: Clusters, planning: StoredPlanning, watches: Watches
    ) -> None:
        self._store, self._clusters = store, clusters
        self._planning, self._watches = planning, watches

    async def graph(self, request: GraphRequest) -> Graph:
        """See `Gating.graph`."""
        with translated():
            return await asyncio.to_thread(self._graph, request)

    async def show(self, waiting: Waiting) -> None:
        """See `Gating.show`."""
        with translated():
            changes = {
                (unit.cluster, unit.app): partial(shown, told=unit, since=waiting.since)
                for unit in waiting.units
            }
            deployment = deployment_address(waiting.deployment)
            await asyncio.to_thread(self._store.change_units, deployment, changes)

    async def steady(self, request: SteadyRequest) -> UnitResult:
        """See `Gating.steady`. A break shows in the unit's row."""
        with translated():
            async with heartbeating():
                unit = request.unit
                plan = await asyncio.to_thread(self._planning.load, unit.plan)
                keys = plan.unit(unit.cluster, unit.app).objects
                watched = [key for key in keys if key.kind not in health.SETTLED_KINDS]
                steadiness = Steadiness(request.seconds, watched)
                cluster = await self._clusters.get(unit.cluster)
                selector = manifests.selector(plan.owner)
                following = [
                    follow(self._watches, cluster, key, plan.namespace, selector, steadiness)
                    for key in watched
                ]
                telling = self._tell(unit.deployment, (unit.cluster, unit.app), steadiness)
                watching = asyncio.ensure_future(together([*following, telling]))
                steady = asyncio.ensure_future(steadiness.reached())
                try:
                    done, _ = await asyncio.wait(
                        {watching, steady}, return_when=asyncio.FIRST_COMPLETED
                    )
                    for one in done:
                        one.result()
                finally:
                    watching.cancel()
                    steady.cancel()
                    await asyncio.gather(watching, steady, return_exceptions=True)
                return UnitResult(objects=len(keys), note=f"ready for {request.seconds} s")

    async def _tell(self, deployment: str, unit: tuple[str, str], steadiness: Steadiness) -> None:
        """Write every break, and its end, into the unit's row."""
        at = deployment_address(deployment)
        while True:
            late = await steadiness.news()
            change = partial(_as_seen, late=late, now=datetime.now(UTC))
            await asyncio.to_thread(self._store.change_units, at, {unit: change})

    def _graph(self, request: GraphRequest) -> Graph:
        deployment = deployment_address(request.deployment)
        plan = self._planning.load(request.digest) if request.digest else None
        planned = {(u.cluster, u.app) for u in plan.units} if plan else set()
        if request.removal:
            waits = self._planning.order_of_what_is_there(request.deployment)
            placed = self._there(deployment) - planned
        else:
            placed = planned
            waits = plan.dependencies if plan else ()
            if request.anew:
                with self._store.snapshot() as view:
                    waits = dependencies(view, deployment.ancestor(Deployment, CompositeApp))
        clusters = {
            app: tuple(sorted(cluster for cluster, other in placed if other == app))
            for app in sorted({name for one in waits for name in (one.app, one.needs)})
        }
        return Graph(
            dependencies=tuple(d for d in waits if clusters[d.app] and clusters[d.needs]),
            clusters=clusters,
        )

    def _there(self, deployment: Address) -> set[tuple[str, str]]:
        left = self._store.footprint(deployment)
        return {(one.cluster, one.app) for one in left if one.app != NAMESPACE_CLAIM}


def shown(row: UnitRow, *, told: WaitingUnit, since: datetime) -> UnitRow:
    """The row of a unit at its gate; one that has passed it is as it was."""
    is_removal = any(one.removal for one in told.awaits)
    if row.phase not in (Phase.PENDING, Phase.WAITING) and not is_removal:
        return row
    if row.phase is Phase.REMOVING:
        return row
    if told.failure:
        phase, message = Phase.FAILED, told.failure
    elif told.awaits:
        phase, message = Phase.WAITING, "waits for " + ", ".join(map(str, told.awaits))
    else:
        phase, message = Phase.PENDING, ""
    return row.model_copy(
        update={
            "phase": phase,
            "since": row.since if row.phase is phase else since,
            "message": message,
            "awaits": told.awaits,
            "until": told.until,
        }
    )


def _as_seen(row: UnitRow, *, late: Late, now: datetime) -> UnitRow:
    """The row with what is not ready any more; one that is being changed is left alone."""
    if row.phase not in (Phase.READY, Phase.APPLIED):
        return row
    objects = []
    for one in row.objects:
        if one.key not in late:
            calm = one.ready in (Ready.READY, Ready.UNKNOWN)
            objects.append(one if calm else one.model_copy(update={"ready": Ready.READY}))
            continue
        verdict = late[one.key]
        ready = Ready.NOT_READY if verdict else Ready.NOT_PRESENT
        parts = (verdict.reason, verdict.message) if verdict else ()
        told = ": ".join(filter(None, parts))
        objects.append(one.model_copy(update={"ready": ready, "message": told}))
    phase = Phase.APPLIED if late else Phase.READY
    since = row.since if row.phase is phase else now
    return row.model_copy(update={"phase": phase, "since": since, "objects": tuple(objects)})
