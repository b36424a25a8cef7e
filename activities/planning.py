"""From what is stored to a plan in the store: snapshot, place, render, compile, claim, record.

Idempotent: the first plan recorded for an operation is that operation's plan for ever, so a
retry after a crash cannot change what is applied, even when a chart is random.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from activities.archives import apply_profile, unpack_chart
from activities.clusters import Clusters
from activities.failures import translated
from activities.heartbeat import heartbeating
from activities.helm import Renderer
from emco.domain.contracts import ClusterRef, Outline, Planning, PlanRequest, PlanSummary
from emco.domain.errors import EmcoError, Invalid
from emco.domain.kinds.apps import App, AppProfile, CompositeApp, CompositeProfile
from emco.domain.kinds.delivery import (
    PLACEMENT_KEY,
    AppPlacement,
    Deployment,
    GenericPlacementIntent,
    GroupIntent,
    PlacementRule,
)
from emco.domain.kinds.fleet import Cluster, ClusterLabel
from emco.domain.kinds.tenancy import ClusterReference, LogicalCloud, Project, cloud_namespace
from emco.domain.names import deployment_address
from emco.domain.plan import manifests
from emco.domain.plan.compile import Rendering, compile_plan, renderings
from emco.domain.plan.model import AppInput, Capabilities, ClusterInput, Plan, Rendered, Snapshot
from emco.domain.plan.placement import place
from emco.domain.plan.values import effective
from emco.domain.resource import Address
from emco.domain.status import NAMESPACE_CLAIM, Footprint, ObjectStatus, UnitRow
from emco.store.store import Store

RENDERS_AT_ONCE: Final = max(2, os.cpu_count() or 1)
PLANS_KEPT: Final = 8

log = structlog.get_logger("emco.planning")


class StoredPlanning(Planning):
    """Plans kept as encrypted, content-addressed blobs."""

    def __init__(self, store: Store, clusters: Clusters, renderer: Renderer) -> None:
        self._store, self._clusters, self._renderer = store, clusters, renderer
        self._plans: dict[str, Plan] = {}
        self._loading = threading.Lock()

    async def plan(self, request: PlanRequest) -> PlanSummary:
        """See `Planning.plan`."""
        with translated():
            async with heartbeating():
                digest = await asyncio.to_thread(self._recorded, request)
                if digest is None:
                    digest = await self._make(request)
                plan = await asyncio.to_thread(self.load, digest)
                await asyncio.to_thread(self._claim, request, digest, plan)
                return PlanSummary(digest=digest, clusters=plan.clusters, units=len(plan.units))

    async def footprint(self, request: PlanRequest) -> PlanSummary:
        """See `Planning.footprint`."""
        with translated():
            left = await asyncio.to_thread(
                self._store.footprint, deployment_address(request.deployment)
            )
            names = sorted({one.cluster for one in left})
            return PlanSummary(digest="", clusters=tuple(names), units=len(left))

    async def outline(self, request: ClusterRef) -> Outline:
        """See `Planning.outline`."""
        with translated():
            return await asyncio.to_thread(self._outline, request)

    def load(self, digest: str) -> Plan:
        """A plan by its digest. Plans never change, so the last few are kept: every unit asks."""
        with self._loading:
            if (plan := self._plans.pop(digest, None)) is None:
                plan = Plan.model_validate_json(self._store.blob(digest))
            self._plans[digest] = plan
            while len(self._plans) > PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
            return plan

    def _recorded(self, request: PlanRequest) -> str | None:
        return self._store.plan_of(deployment_address(request.deployment), request.operation)

    def _outline(self, request: ClusterRef) -> Outline:
        if request.plan:
            return Outline(
                apps=tuple(unit.app for unit in self.load(request.plan).on(request.cluster))
            )
        left = self._store.footprint(deployment_address(request.deployment))
        apps = {one.app for one in left if one.cluster == request.cluster}
        return Outline(apps=tuple(sorted(apps - {NAMESPACE_CLAIM})))

    def _claim(self, request: PlanRequest, digest: str, plan: Plan) -> None:
        """Write down what will be on the clusters before anything is: terminate relies on it."""
        deployment = deployment_address(request.deployment)
        units = [
            Footprint(app=u.app, cluster=u.cluster, namespace=plan.namespace, objects=u.objects)
            for u in plan.units
        ]
        namespaces = [
            Footprint(app=NAMESPACE_CLAIM, cluster=cluster, namespace=plan.namespace)
            for cluster in plan.clusters
        ]
        self._store.claim(deployment, [*units, *namespaces])
        now = datetime.now(UTC)
        self._store.announce(
            deployment,
            [
                UnitRow(
                    app=u.app,
                    cluster=u.cluster,
                    since=now,
                    plan=digest,
                    objects=tuple(ObjectStatus(key=key) for key in u.objects),
                )
                for u in plan.units
            ],
        )

    async def _make(self, request: PlanRequest) -> str:
        deployment = deployment_address(request.deployment)
        snapshot = await asyncio.to_thread(self._snapshot, deployment, request.deployment)
        placed = place(snapshot)
        chosen = sorted({cluster for clusters in placed.values() for cluster in clusters})
        capabilities = dict(
            zip(chosen, await asyncio.gather(*map(self._capabilities, chosen)), strict=True)
        )
        rendered = await self._render_all(snapshot, renderings(snapshot, placed, capabilities))
        plan = compile_plan(snapshot, placed, capabilities, rendered)
        content = plan.model_dump_json().encode()
        digest = await asyncio.to_thread(self._store.put_blob, content)
        return await asyncio.to_thread(
            self._store.record_plan, deployment, request.operation, digest
        )

    # -- reading --------------------------------------------------------------------------------

    def _snapshot(self, deployment: Address, short: str) -> Snapshot:
        with self._store.snapshot() as view:
            stored = view.get(deployment)
            spec = stored.spec
            assert isinstance(spec, Deployment)  # noqa: S101 — the address says so
            app_root = deployment.ancestor(Deployment, CompositeApp)
            project = deployment.ancestor(Deployment, Project)
            cloud_at = Address.of(LogicalCloud, [project.name, spec.logical_cloud])
            cloud = view.find(LogicalCloud, cloud_at)
            if cloud is None:
                raise Invalid(
                    "Failed to obtain Logical Cloud specified", f"{cloud_at} does not exist"
                )
            profile_root = Address.of(
                CompositeProfile, [*app_root.names(CompositeApp), spec.composite_profile]
            )
            profiles = {
                str(profile.app): view.get(at).file or ""
                for at, profile in view.specs(AppProfile, profile_root)
            }
            overrides: dict[str, dict[str, str]] = {}
            for entry in spec.override_values:
                overrides.setdefault(entry.app, {}).update(entry.values)
            return Snapshot(
                deployment=short,
                release=spec.version,
                namespace=cloud_namespace(cloud),
                namespace_labels=cloud.labels,
                cloud=cloud_at.path,
                cloud_clusters=tuple(
                    sorted(
                        f"{reference.cluster_provider}+{reference.cluster}"
                        for _, reference in view.specs(ClusterReference, cloud_at)
                    )
                ),
                apps=tuple(
                    AppInput(
                        name=at.name,
                        chart=view.get(at).file or "",
                        profile=profiles.get(at.name, ""),
                        overrides=overrides.get(at.name, {}),
                    )
                    for at, _ in view.specs(App, app_root)
                ),
                clusters=_clusters(view.specs(Cluster, None), view.specs(ClusterLabel, None)),
                rules=_rules(
                    [intent for _, intent in view.specs(GroupIntent, deployment)],
                    view.specs(AppPlacement, deployment),
                ),
            )

    async def _capabilities(self, cluster: str) -> Capabilities:
        """What the cluster says of itself; what it said last when it is away; helm's defaults before that."""
        try:
            found = await (await self._clusters.get(cluster)).capabilities()
        except EmcoError as error:
            known = await asyncio.to_thread(self._store.facts, cluster_address(cluster))
            log.warning("cluster.away", cluster=cluster, reason=str(error), known=known is not None)
            return Capabilities.model_validate(known or {})
        await asyncio.to_thread(self._store.put_facts, cluster_address(cluster), found.model_dump())
        return found

    # -- rendering ------------------------------------------------------------------------------

    async def _render_all(
        self, snapshot: Snapshot, wanted: Mapping[str, Rendering]
    ) -> dict[str, tuple[str, Rendered]]:
        slots = asyncio.Semaphore(RENDERS_AT_ONCE)

        async def one(rendering: Rendering) -> tuple[str, Rendered]:
            async with slots:
                return await self._render(snapshot, rendering)

        results = await asyncio.gather(*map(one, wanted.values()), return_exceptions=True)
        _raise_all(results)
        return dict(zip(wanted, [r for r in results if isinstance(r, tuple)], strict=True))

    async def _render(self, snapshot: Snapshot, rendering: Rendering) -> tuple[str, Rendered]:
        app = rendering.app
        with tempfile.TemporaryDirectory(prefix="emco-render-") as folder:
            chart, values = await asyncio.to_thread(self._unpack, app, Path(folder))
            documents = await self._renderer.render(
                app.name,
                snapshot.release,
                chart,
                values,
                namespace=snapshot.namespace,
                capabilities=rendering.capabilities,
            )
        rendered = manifests.mark(
            manifests.sort(documents), deployment=snapshot.deployment, app=app.name
        )
        content = rendered.model_dump_json().encode()
        return await asyncio.to_thread(self._store.put_blob, content), rendered

    def _unpack(self, app: AppInput, folder: Path) -> tuple[Path, dict[str, object]]:
        chart = unpack_chart(self._store.blob(app.chart), app.name, folder / "chart")
        profile: dict[str, object] = {}
        if app.profile:
            archive = self._store.blob(app.profile)
            profile = apply_profile(archive, app.name, chart, folder / "profile")
        return chart, effective(profile, app.overrides)


def cluster_address(name: str) -> Address:
    """`provider+cluster` as an address; neither name can contain a plus sign."""
    provider, _, cluster = name.partition("+")
    return Address.of(Cluster, [provider, cluster])


def _clusters(
    clusters: Sequence[tuple[Address, Cluster]], labels: Sequence[tuple[Address, ClusterLabel]]
) -> tuple[ClusterInput, ...]:
    by_cluster: dict[str, set[str]] = {}
    for at, label in labels:
        by_cluster.setdefault(at.ancestor(ClusterLabel, Cluster).path, set()).add(
            label.cluster_label
        )
    return tuple(
        ClusterInput(
            provider=at.names(Cluster)[0],
            cluster=at.name,
            labels=frozenset(by_cluster.get(at.path, ())),
        )
        for at, _ in clusters
    )


def _rules(
    groups: Sequence[GroupIntent], placements: Sequence[tuple[Address, AppPlacement]]
) -> dict[str, tuple[PlacementRule, ...]]:
    named = {group.intent[PLACEMENT_KEY] for group in groups if PLACEMENT_KEY in group.intent}
    if not named:
        raise Invalid(
            "GenericPlacementIntent not found",
            f"no group intent of the deployment has the key {PLACEMENT_KEY}",
        )
    rules: dict[str, tuple[PlacementRule, ...]] = {}
    for at, placement in placements:
        if at.ancestor(AppPlacement, GenericPlacementIntent).name in named:
            rules[placement.app] = (*rules.get(placement.app, ()), placement.intent)
    return rules


def _raise_all(results: Sequence[object]) -> None:
    """All refusals together, so that a user mends every chart at once; other errors first."""
    errors = [r for r in results if isinstance(r, BaseException)]
    for error in errors:
        if not isinstance(error, Invalid):
            raise error
    if errors:
        raise Invalid("Planning failed", "; ".join(str(error) for error in errors))
