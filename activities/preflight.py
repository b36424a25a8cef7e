"""What one cluster would refuse, found out before anything is changed anywhere.

Permissions, strict validation by the API server itself, fields and objects of others, quotas. Only
units that would be changed are looked at. A kind that the cluster does not serve yet is no problem
here: its definition may come with another app, and the unit waits for it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from activities.clusters import Cluster, Clusters, FieldConflict, Immutable, NotReady
from activities.failures import Unexplained
from activities.ours import foreign, may_change
from activities.planning import StoredPlanning
from activities.progress import first_scheduled, next_try
from activities.together import together
from emco.domain.contracts import ClusterRef, Step
from emco.domain.errors import AlreadyExists, Conflict, EmcoError, Forbidden, Invalid, NotFound
from emco.domain.kinds.delivery import IgnoredDifference
from emco.domain.names import deployment_address
from emco.domain.plan import manifests, quota
from emco.domain.plan.model import Manifest, Plan, UnitPlan
from emco.domain.plan.ownership import yielding
from emco.domain.plan.steps import outline
from emco.domain.status import ObjectKey, Phase, UnitRow
from emco.store.store import Store

AT_ONCE: Final = 8
_VERBS: Final = ("get", "list", "watch", "create", "patch", "delete")
_SPARE_NAMESPACE: Final = "default"
"""Every cluster has it: objects are validated there while their own namespace does not exist."""


class Preflight:
    """Asks one cluster about one plan."""

    def __init__(self, store: Store, clusters: Clusters, planning: StoredPlanning) -> None:
        self._store, self._clusters, self._planning = store, clusters, planning

    async def problems(self, part: ClusterRef) -> list[str]:
        """A sentence for everything that would be refused; `Unavailable` when nobody answers."""
        cluster = await self._clusters.get(part.cluster)
        await cluster.probe()
        plan, units = await asyncio.to_thread(self._changing, part)
        if not units:
            return []
        items = {unit.app: await asyncio.to_thread(self._items, unit) for unit in units}
        deployment = deployment_address(part.deployment)
        policies = await asyncio.to_thread(self._store.policies, deployment)
        is_new = await _is_missing(cluster, plan.namespace)
        missing = await self._forbidden(cluster, items, plan.namespace)
        if missing:
            return missing
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(unit: UnitPlan, item: Manifest) -> str:
            async with slots:
                try:
                    await self._try(
                        cluster, unit, item, plan, policies.ignore_differences, is_new=is_new
                    )
                except (Invalid, Conflict, Forbidden, NotFound, Unexplained) as error:
                    return f"{unit.app}: {error}"
                except NotReady:
                    return ""
                return ""

        found = await together(one(unit, item) for unit in units for item in items[unit.app])
        return [*filter(None, found), *await self._quotas(cluster, part, plan, items)]

    def tell_waiting(self, part: ClusterRef, error: EmcoError) -> None:
        """Show, with every unit that would be changed there, that its cluster does not answer."""
        deployment = deployment_address(part.deployment)
        known = {r.app: r for r in self._store.units(deployment) if r.cluster == part.cluster}
        _, units = self._changing(part)
        rows = []
        for unit in units:
            row = known.get(unit.app) or UnitRow(
                app=unit.app, cluster=part.cluster, since=first_scheduled(), plan=part.plan
            )
            update = {
                "phase": Phase.RETRYING,
                "message": str(error),
                "since": first_scheduled(),
                "retry_at": next_try(),
            }
            rows.append((deployment, row.model_copy(update=update)))
        self._store.put_units(rows)

    def _changing(self, part: ClusterRef) -> tuple[Plan, list[UnitPlan]]:
        plan = self._planning.load(part.plan)
        deployment = deployment_address(part.deployment)
        rows = [row for row in self._store.units(deployment) if row.cluster == part.cluster]
        steps = outline(plan, part.cluster, rows, ()).steps
        return plan, [u for u in plan.on(part.cluster) if steps[u.app] is Step.APPLY]

    def _items(self, unit: UnitPlan) -> Sequence[Manifest]:
        return self._planning.rendered(unit.manifest).resources

    async def _forbidden(
        self, cluster: Cluster, items: dict[str, Sequence[Manifest]], namespace: str
    ) -> list[str]:
        if await cluster.allowed("*", None, namespace):
            return []
        kinds = {(o["apiVersion"], o["kind"]) for objects in items.values() for o in objects}
        found = []
        for api_version, kind in sorted(kinds):
            if not await cluster.serves(api_version, kind):
                continue
            resource = await cluster.resource(api_version, kind)
            allowed = await together(cluster.allowed(v, resource, namespace) for v in _VERBS)
            lacking = [v for v, may in zip(_VERBS, allowed, strict=True) if not may]
            if lacking:
                where = f"in the namespace {namespace}" if resource.namespaced else "cluster-wide"
                found.append(
                    f"our credentials on {cluster.name} may not {', '.join(lacking)} "
                    f"{resource.plural} {where}"
                )
        return found

    async def _try(
        self,
        cluster: Cluster,
        unit: UnitPlan,
        item: Manifest,
        plan: Plan,
        ignored: Sequence[IgnoredDifference],
        *,
        is_new: bool,
    ) -> None:
        resource, key = await cluster.locate(manifests.key_of(item), plan.namespace)
        if resource.namespaced and is_new and key.namespace == plan.namespace:
            await self._try_elsewhere(cluster, key, item)
            return
        live = await cluster.get(key)
        if live is not None and not may_change(live, key, plan, unit.cluster, unit.app):
            raise foreign(live, key, unit.cluster, unit.app)
        try:
            await cluster.apply(key, item, dry_run=True, strict=True)
        except FieldConflict:
            if live is None:
                raise
            await cluster.apply(key, yielding(item, live, ignored), dry_run=True, strict=True)
        except Immutable as error:
            if not manifests.may_recreate(item):
                raise error.named(item, live or {}) from None

    async def _try_elsewhere(self, cluster: Cluster, key: ObjectKey, item: Manifest) -> None:
        """Validate an object whose namespace does not exist yet; the name being taken is no matter."""
        moved = key.model_copy(update={"namespace": _SPARE_NAMESPACE})
        metadata = {**item["metadata"], "namespace": _SPARE_NAMESPACE}
        try:
            await cluster.create(moved, {**item, "metadata": metadata}, dry_run=True)
        except Forbidden as error:
            if "exceeded quota" not in str(error):
                raise
        except AlreadyExists:
            return

    async def _quotas(
        self,
        cluster: Cluster,
        part: ClusterRef,
        plan: Plan,
        items: dict[str, Sequence[Manifest]],
    ) -> list[str]:
        resource = await cluster.resource("v1", "ResourceQuota")
        quotas, _ = await cluster.list_objects(resource, plan.namespace)
        if not quotas:
            return []
        had = await asyncio.to_thread(self._applied, part, set(items))
        wanted = quota.demand(o for objects in items.values() for o in objects)
        return [
            f"{cluster.name}: {sentence}"
            for sentence in quota.exceeded(wanted, quota.demand(had), quotas)
        ]

    def _applied(self, part: ClusterRef, apps: set[str]) -> list[Manifest]:
        rows = self._store.units(deployment_address(part.deployment))
        return [
            item
            for row in rows
            if row.cluster == part.cluster and row.app in apps and row.applied
            for item in self._planning.rendered(row.applied).resources
        ]


async def _is_missing(cluster: Cluster, namespace: str) -> bool:
    key = ObjectKey(api_version="v1", kind="Namespace", name=namespace)
    try:
        return await cluster.get(key, metadata_only=True) is None
    except EmcoError as error:
        if isinstance(error, Forbidden):
            return False  # whoever may not look at namespaces was given one
        raise
