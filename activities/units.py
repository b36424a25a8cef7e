"""One app on one cluster: apply it, wait for it, remove it, and leave the namespace behind tidy.

Nothing that is not marked as this deployment's is ever changed or deleted. Each step writes the
status projection as it goes, so that status and explain never have to ask a cluster.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from temporalio.exceptions import ApplicationError

from activities.clusters import Cluster, Clusters, FieldConflict, Immutable, NotReady
from activities.failures import is_final, translated
from activities.ground import Ground
from activities.heartbeat import heartbeating
from activities.hooks import ClusterHooks
from activities.namespaces import Namespaces
from activities.ours import foreign, is_ours, may_change
from activities.planning import StoredPlanning
from activities.preflight import Preflight
from activities.progress import Progress, Projection
from activities.releases import Releases, best_effort
from activities.together import together
from activities.watches import Watches
from emco.domain import health
from emco.domain.contracts import ClusterRef, FailureType, UnitRef, UnitResult, Units
from emco.domain.errors import EmcoError, Invalid, Unavailable
from emco.domain.kinds.delivery import IgnoredDifference
from emco.domain.names import deployment_address
from emco.domain.plan import manifests
from emco.domain.plan.model import Manifest, Plan, Rendered
from emco.domain.plan.ownership import yielding
from emco.domain.releases import ReleaseRow, ReleaseStatus, pending
from emco.domain.status import NAMESPACE_CLAIM, Deployed, Footprint, ObjectKey, Phase
from emco.store.snapshot import cluster_address
from emco.store.store import Store

PATIENCE_SECONDS: Final = 1.0
"""How long pods may take before somebody asks what is wrong with them."""


class ClusterUnits(Units):
    """Units on member clusters, by server-side apply."""

    def __init__(
        self,
        store: Store,
        clusters: Clusters,
        planning: StoredPlanning,
        watches: Watches,
        namespaces: Namespaces,
        ground: Ground,
        releases: Releases,
        hooks: ClusterHooks,
    ) -> None:
        self._store, self._clusters = store, clusters
        self._planning, self._watches = planning, watches
        self._namespaces, self._ground = namespaces, ground
        self._releases, self._hooks = releases, hooks
        self._projection = Projection(store)
        self._preflight = Preflight(store, clusters, planning)

    # -- preflight ------------------------------------------------------------------------------

    async def preflight(self, cluster: ClusterRef) -> UnitResult:
        """See `Units.preflight`."""
        with translated():
            async with heartbeating():
                try:
                    problems = await self._preflight.problems(cluster)
                except Unavailable as error:
                    if not cluster.preflight:  # its turn comes later; the others must not wait
                        raise ApplicationError(
                            str(error), type=FailureType.UNREACHABLE, non_retryable=True
                        ) from None
                    await asyncio.to_thread(self._preflight.tell_waiting, cluster, error)
                    raise
                if problems:
                    raise Invalid(f"{cluster.cluster} would refuse it", "; ".join(problems))
                return UnitResult(note=f"{cluster.cluster} will take it")

    # -- apply ----------------------------------------------------------------------------------

    async def apply(self, unit: UnitRef) -> UnitResult:
        """See `Units.apply`. An object of somebody else ends it; what came before it stays in the
        footprint, so that terminate removes it."""
        with translated():
            async with heartbeating():
                plan, rendered = await asyncio.to_thread(self._load, unit)
                progress = Progress(
                    self._projection,
                    unit,
                    [manifests.key_of(o) for o in rendered.resources],
                    manifest=plan.unit(unit.cluster, unit.app).manifest,
                )
                async with progress.recording():
                    await progress.phase(Phase.APPLYING)
                    cluster = await self._clusters.get(unit.cluster)
                    await self._ground.prepare(cluster, plan, rendered.crds)
                    release = await self._begin_release(cluster, unit)
                    async with self._failing(cluster, unit, release):
                        for item in rendered.resources:
                            await self._apply_one(cluster, item, plan, unit)
                            progress.applied(manifests.key_of(item))
                    await progress.applied_all()
                return UnitResult(
                    objects=len(rendered.resources),
                    note=f"{len(rendered.resources)} objects applied",
                )

    async def _begin_release(self, cluster: Cluster, unit: UnitRef) -> ReleaseRow:
        release = await asyncio.to_thread(self._releases.begin, unit)
        await self._hooks.abandon(cluster, unit, release, keep=release.run)
        if release.status is not ReleaseStatus.DEPLOYED:
            await self._releases.note(cluster, unit, release, pending(release.goal))
        return release

    @asynccontextmanager
    async def _failing(
        self, cluster: Cluster, unit: UnitRef, release: ReleaseRow
    ) -> AsyncIterator[None]:
        """An error for good makes the release a failed one."""
        try:
            yield
        except EmcoError as error:
            if is_final(error) and release.status is not ReleaseStatus.DEPLOYED:
                status = ReleaseStatus.FAILED
                await best_effort(self._releases.note(cluster, unit, release, status, str(error)))
            raise

    def _load(self, unit: UnitRef) -> tuple[Plan, Rendered]:
        plan = self._planning.load(unit.plan)
        return plan, self._planning.rendered(plan.unit(unit.cluster, unit.app).manifest)

    async def _apply_one(self, cluster: Cluster, item: Manifest, plan: Plan, unit: UnitRef) -> None:
        _, key = await cluster.locate(manifests.key_of(item), plan.namespace)
        live = await cluster.get(key, metadata_only=not unit.force)
        if live is not None and not may_change(live, key, plan, unit.cluster, unit.app):
            raise foreign(live, key, unit.cluster, unit.app)
        if unit.force and live is not None:
            item = yielding(item, live, self._ignored(unit.deployment))
        try:
            await cluster.apply(key, item, force=unit.force)
        except FieldConflict:
            await self._apply_yielding(cluster, key, item, unit)
        except Immutable as error:
            if live is None:
                raise
            if not manifests.may_recreate(item):
                raise error.named(item, await cluster.get(key) or {}) from None
            await self._delete(cluster, key, live["metadata"]["uid"])
            await cluster.apply(key, item)

    async def _apply_yielding(
        self, cluster: Cluster, key: ObjectKey, item: Manifest, unit: UnitRef
    ) -> None:
        """Leave a scaler its replicas; any other conflict stays one."""
        live = await cluster.get(key)
        kept = yielding(item, live, self._ignored(unit.deployment)) if live else item
        await cluster.apply(key, kept)

    def _ignored(self, deployment: str) -> Sequence[IgnoredDifference]:
        return self._store.policies(deployment_address(deployment)).ignore_differences

    # -- ready ----------------------------------------------------------------------------------

    async def ready(self, unit: UnitRef) -> UnitResult:
        """See `Units.ready`. Fails when an object says that it never will be."""
        with translated():
            async with heartbeating():
                plan, rendered = await asyncio.to_thread(self._load, unit)
                keys = [manifests.key_of(o) for o in rendered.resources]
                manifest = plan.unit(unit.cluster, unit.app).manifest
                progress = Progress(
                    self._projection,
                    unit,
                    keys,
                    deployed=Deployed.APPLIED,
                    manifest=manifest,
                    applied=manifest,
                )
                async with progress.recording():
                    await progress.phase(Phase.APPLIED)
                    cluster = await self._clusters.get(unit.cluster)
                    for key in keys:
                        if key.kind in health.SETTLED_KINDS:
                            progress.settled(key)
                    waiting = [k for k in keys if k.kind not in health.SETTLED_KINDS]
                    release = await asyncio.to_thread(self._releases.begin, unit)
                    async with (
                        self._failing(cluster, unit, release),
                        self._telling_of_pods(cluster, keys, plan, unit, progress),
                    ):
                        await together(
                            self._until_ready(cluster, k, plan, unit, progress) for k in waiting
                        )
                    if await asyncio.to_thread(self._finishes, release):
                        if release.status is not ReleaseStatus.DEPLOYED:
                            done = ReleaseStatus.DEPLOYED
                            await self._releases.note(cluster, unit, release, done)
                        await progress.phase(Phase.READY)
                return UnitResult(objects=len(keys), note=f"{len(keys)} objects ready")

    def _finishes(self, release: ReleaseRow) -> bool:
        """Nothing is left to do for a release once its objects are ready."""
        is_done = release.status is ReleaseStatus.DEPLOYED
        return is_done or not self._releases.has_hooks_after(release)

    async def _until_ready(
        self, cluster: Cluster, key: ObjectKey, plan: Plan, unit: UnitRef, progress: Progress
    ) -> None:
        resource, located = await cluster.locate(key, plan.namespace)
        selector = manifests.selector(plan.owner)
        namespace = located.namespace
        async with self._watches.for_health(cluster, resource, namespace, selector) as watch:
            last: health.Health | None = None

            def decided() -> bool:
                nonlocal last
                live = watch.get(key.name, namespace)
                verdict = health.assess(live) if live else None
                if verdict != last:
                    last = verdict
                    progress.seen(key, live, verdict)
                return verdict is not None and verdict.verdict in _FINAL

            await watch.until(decided, at=(namespace, key.name))
            if last is not None and last.verdict is health.Verdict.FAILED:
                raise Invalid(
                    f"{located} on {unit.cluster} failed: {last.reason}",
                    last.message or "look at the object's status and events",
                )

    @asynccontextmanager
    async def _telling_of_pods(
        self,
        cluster: Cluster,
        keys: Sequence[ObjectKey],
        plan: Plan,
        unit: UnitRef,
        progress: Progress,
    ) -> AsyncIterator[None]:
        """While the block runs, say what keeps pods from coming up, if it takes longer than usual."""
        if not any(key.kind in health.WORKLOADS for key in keys):
            yield
            return
        telling = asyncio.create_task(self._tell_of_pods(cluster, plan, unit, progress))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell_of_pods(
        self, cluster: Cluster, plan: Plan, unit: UnitRef, progress: Progress
    ) -> None:
        await asyncio.sleep(PATIENCE_SECONDS)
        resource = await cluster.resource("v1", "Pod")
        app = manifests.label_value(unit.app)
        selector = f"{manifests.selector(plan.owner)},{manifests.APP_LABEL}={app}"
        async with self._watches.on(cluster, resource, plan.namespace, selector) as watch:
            told: dict[str, str] = {"": "nothing yet"}

            def news() -> bool:
                found = {p["metadata"]["name"]: health.pod_trouble(p) for p in watch.items()}
                return {pod: trouble for pod, trouble in found.items() if trouble} != told

            while True:
                await watch.until(news)
                found = {p["metadata"]["name"]: health.pod_trouble(p) for p in watch.items()}
                told = {pod: trouble for pod, trouble in found.items() if trouble}
                progress.troubled(told)

    # -- prune and remove -----------------------------------------------------------------------

    async def prune(self, unit: UnitRef) -> UnitResult:
        """See `Units.prune`. What another app of the plan has now is left to it."""
        with translated():
            async with heartbeating():
                deployment = deployment_address(unit.deployment)
                plan = await asyncio.to_thread(self._planning.load, unit.plan)
                wanted = {key for other in plan.on(unit.cluster) for key in other.objects}
                own = set(plan.unit(unit.cluster, unit.app).objects)
                kept, gone = 0, 0
                for one in await asyncio.to_thread(self._footprint, unit):
                    doomed = tuple(key for key in one.objects if key not in wanted)
                    left = one.model_copy(update={"objects": doomed})
                    cluster = await self._clusters.get(unit.cluster)
                    kept += len(await self._remove_all(cluster, left, unit))
                    gone += len(doomed)
                    stays = tuple(key for key in one.objects if key in own)
                    await asyncio.to_thread(
                        self._store.keep_only, deployment, unit.cluster, unit.app, stays
                    )
                return UnitResult(objects=gone - kept, note=f"{gone - kept} objects removed")

    async def remove(self, unit: UnitRef) -> UnitResult:
        """See `Units.remove`. Objects without our mark and those to be kept are left and counted."""
        with translated():
            async with heartbeating():
                deployment = deployment_address(unit.deployment)
                left = await asyncio.to_thread(self._footprint, unit)
                left = [await asyncio.to_thread(self._unwanted, unit, one) for one in left]
                progress = Progress(
                    self._projection, unit, [k for one in left for k in one.objects]
                )
                async with progress.recording():
                    await progress.phase(Phase.REMOVING)
                    release = await asyncio.to_thread(self._releases.begin_removal, unit)
                    if release:
                        cluster = await self._clusters.get(unit.cluster)
                        await self._hooks.abandon(cluster, unit, release, keep=release.run)
                    kept: list[str] = []
                    for one in left:
                        cluster = await self._clusters.get(unit.cluster)
                        kept += await self._remove_all(cluster, one, unit)
                    if release and not await asyncio.to_thread(
                        self._releases.has_hooks_after, release
                    ):
                        await self._releases.purge(cluster, unit, release)
                    await asyncio.to_thread(self._store.release, deployment, unit.cluster, unit.app)
                    await asyncio.to_thread(
                        self._store.drop_unit, deployment, unit.cluster, unit.app
                    )
                note = f"kept: {', '.join(kept)}" if kept else "all objects removed"
                return UnitResult(
                    objects=sum(len(one.objects) for one in left) - len(kept), note=note
                )

    def _unwanted(self, unit: UnitRef, one: Footprint) -> Footprint:
        """Without the objects that another app of the plan has there now."""
        if not unit.plan:
            return one
        units = self._planning.load(unit.plan).on(unit.cluster)
        wanted = {key for other in units for key in other.objects}
        objects = tuple(key for key in one.objects if key not in wanted)
        return one.model_copy(update={"objects": objects})

    def _footprint(self, unit: UnitRef) -> list[Footprint]:
        return [
            one
            for one in self._store.footprint(deployment_address(unit.deployment))
            if (one.cluster, one.app) == (unit.cluster, unit.app)
        ]

    async def _remove_all(self, cluster: Cluster, one: Footprint, unit: UnitRef) -> list[str]:
        kept: list[str] = []
        doomed: list[tuple[ObjectKey, str]] = []
        for found in manifests.out_of_order(one.objects):
            try:
                _, key = await cluster.locate(found, one.namespace)
            except NotReady:
                continue  # its kind is not served any more, so no object of it can be there
            live = await cluster.get(key, metadata_only=True)
            if live is None or not is_ours(live, one.identity or unit.deployment, unit.app):
                continue
            if manifests.is_kept(live):
                kept.append(str(key))
                continue
            uid = live["metadata"]["uid"]
            await cluster.delete(key, uid=uid)
            doomed.append((key, uid))
        await together(cluster.until_gone(key, uid) for key, uid in doomed)
        return kept

    async def _delete(self, cluster: Cluster, key: ObjectKey, uid: str) -> None:
        await cluster.delete(key, uid=uid)
        await cluster.until_gone(key, uid)

    async def release(self, cluster: ClusterRef) -> UnitResult:
        """See `Units.release`. The claim on the namespace goes last, so a retry finds it again."""
        with translated():
            async with heartbeating():
                deployment = deployment_address(cluster.deployment)
                if cluster.plan and (await asyncio.to_thread(self._planning.load, cluster.plan)).on(
                    cluster.cluster
                ):
                    return UnitResult(note="the namespace is still in use")
                left = await asyncio.to_thread(self._store.footprint, deployment)
                notes: list[str] = []
                for claim in left:
                    if (claim.cluster, claim.app) == (cluster.cluster, NAMESPACE_CLAIM):
                        connection = await self._clusters.get(cluster.cluster)
                        at = cluster_address(cluster.cluster)
                        notes.append(
                            await self._namespaces.release(
                                connection, deployment, at, claim.namespace
                            )
                        )
                await asyncio.to_thread(
                    self._store.release, deployment, cluster.cluster, NAMESPACE_CLAIM
                )
                return UnitResult(note="; ".join(notes))


_FINAL: Final = frozenset({health.Verdict.CURRENT, health.Verdict.FAILED})
