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
from temporalio import activity

from activities.archives import apply_profile, chart_info, unpack_chart
from activities.clusters import Clusters
from activities.failures import translated
from activities.followers import follow
from activities.generic import generic_files
from activities.heartbeat import heartbeating
from activities.helm import Renderer
from emco.domain import health
from emco.domain.contracts import (
    ClusterRef,
    Outline,
    Planning,
    PlanRequest,
    PlanSummary,
    Preview,
    PreviewRequest,
    Step,
)
from emco.domain.dependencies import Dependency
from emco.domain.errors import Conflict, EmcoError, Invalid
from emco.domain.history import OperationRow, PreviewRow, RevisionRow
from emco.domain.lifecycle import BRING_UP, Verb
from emco.domain.names import deployment_address
from emco.domain.plan import diff, hooks, manifests, report
from emco.domain.plan.compile import Rendering, compile_plan, inputs_digest, renderings
from emco.domain.plan.customise import Lookup, customised
from emco.domain.plan.gates import untangled
from emco.domain.plan.hooks import Goal
from emco.domain.plan.model import AppInput, Capabilities, Plan, Rendered, Snapshot, digest_of
from emco.domain.plan.placement import place
from emco.domain.plan.steps import outline, outline_of_removal
from emco.domain.plan.values import effective
from emco.domain.resource import Address
from emco.domain.status import NAMESPACE_CLAIM, Footprint, ObjectStatus, UnitRow
from emco.store.generic import generic_lookup
from emco.store.snapshot import cluster_address, read_snapshot, used_by
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

    # -- an operation's plan --------------------------------------------------------------------

    async def plan(self, request: PlanRequest) -> PlanSummary:
        """See `Planning.plan`."""
        with translated():
            async with heartbeating():
                if request.digest:
                    return await asyncio.to_thread(self._summary, request, request.digest)
                digest = await asyncio.to_thread(self._recorded, request)
                if digest is None:
                    plan = await self._make(deployment_address(request.deployment))
                    digest = await asyncio.to_thread(self._record, request, plan)
                return await asyncio.to_thread(self._planned, request, digest)

    async def claim(self, request: PlanRequest) -> None:
        """See `Planning.claim`."""
        with translated():
            async with heartbeating():
                await asyncio.to_thread(self._claim, request)
                await follow(
                    activity.client(),
                    self.load(request.digest).clusters,
                    task_queue=activity.info().task_queue,
                )

    async def preview(self, request: PreviewRequest) -> Preview:
        """See `Planning.preview`."""
        with translated():
            async with heartbeating():
                deployment = deployment_address(request.deployment)
                if request.revision:
                    row = await asyncio.to_thread(
                        self._store.revision, deployment, request.revision
                    )
                    plan = await asyncio.to_thread(self.load, row.digest)
                else:
                    plan = await self._make(deployment)
                return await asyncio.to_thread(self._show, deployment, plan, request.revision)

    async def footprint(self, request: PlanRequest) -> PlanSummary:
        """See `Planning.footprint`."""
        with translated():
            left = await asyncio.to_thread(
                self._store.footprint, deployment_address(request.deployment)
            )
            releases = await asyncio.to_thread(
                self._store.releases, deployment_address(request.deployment)
            )
            names = sorted({one.cluster for one in left} | {row.cluster for row in releases})
            gated = bool(await asyncio.to_thread(self.order_of_what_is_there, request.deployment))
            return PlanSummary(digest="", clusters=tuple(names), units=len(left), gated=gated)

    async def outline(self, request: ClusterRef) -> Outline:
        """See `Planning.outline`."""
        with translated():
            return await asyncio.to_thread(self._outline, request)

    def order_of_what_is_there(self, deployment: str) -> tuple[Dependency, ...]:
        """What each app that is on a cluster waited for, by the plan that it was last dealt with."""
        rows = self._store.units(deployment_address(deployment))
        plans = {digest: self.load(digest) for digest in sorted({r.plan for r in rows if r.plan})}
        apps = {(row.plan, row.app) for row in rows}
        return untangled(
            one
            for digest, plan in plans.items()
            for one in plan.dependencies
            if (digest, one.app) in apps
        )

    def load(self, digest: str) -> Plan:
        """A plan by its digest. Plans never change, so the last few are kept: every unit asks."""
        with self._loading:
            if (plan := self._plans.pop(digest, None)) is None:
                plan = Plan.model_validate_json(self._store.blob(digest))
            self._plans[digest] = plan
            while len(self._plans) > PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
            return plan

    def rendered(self, digest: str) -> Rendered:
        """The objects of one unit, marked as ours."""
        return Rendered.model_validate_json(self._store.blob(digest))

    def _recorded(self, request: PlanRequest) -> str | None:
        return self._store.plan_of(deployment_address(request.deployment), request.operation)

    def _record(self, request: PlanRequest, plan: Plan) -> str:
        digest = self._store.put_blob(plan.model_dump_json().encode())
        deployment = deployment_address(request.deployment)
        return self._store.record_plan(deployment, request.operation, digest)

    def _planned(self, request: PlanRequest, digest: str) -> PlanSummary:
        """Hold what the plan uses, and write its revision down."""
        deployment = deployment_address(request.deployment)
        plan = self.load(digest)
        self._check_namespace(deployment, plan)
        with self._store.snapshot() as view:
            used = used_by(view, deployment, plan.clusters)
        if missing := self._store.lease(deployment, request.operation, used):
            raise Invalid(
                "What the plan needs is not there any more",
                f"{', '.join(str(m) for m in missing)}; add it again, or change the placement",
            )
        if request.verb in BRING_UP and request.verb is not Verb.HEAL and request.revision:
            self._write_revision(deployment, request, digest, plan)
        return self._summary(request, digest)

    def _check_namespace(self, deployment: Address, plan: Plan) -> None:
        """Objects cannot move between namespaces, and a unit has all of its objects in one."""
        for one in self._store.footprint(deployment):
            if one.namespace != plan.namespace and plan.on(one.cluster):
                raise Conflict(
                    f"The deployment's namespace changed from {one.namespace} to {plan.namespace}",
                    f"it has objects on {one.cluster}; terminate it and instantiate it again",
                )

    def _write_revision(
        self, deployment: Address, request: PlanRequest, digest: str, plan: Plan
    ) -> None:
        asked = self._store.operation(deployment, request.operation) or OperationRow(
            id=request.operation, verb=request.verb, began=datetime.now(UTC)
        )
        before = self._in_effect(deployment)
        changed = self._differences(before, plan)
        row = RevisionRow(
            number=request.revision,
            digest=digest,
            operation=request.operation,
            verb=request.verb,
            who=asked.who,
            why=asked.why,
            time=datetime.now(UTC),
            changes=diff.summary(changed),
        )
        self._store.record_revision(
            deployment, row, keep=self._store.policies(deployment).revisions
        )

    def _summary(self, request: PlanRequest, digest: str) -> PlanSummary:
        plan = self.load(digest)
        deployment = deployment_address(request.deployment)
        there = {(one.cluster, one.app) for one in self._store.footprint(deployment)}
        there |= {(row.cluster, row.app) for row in self._store.releases(deployment)}
        leaving = {cluster for cluster, app in there if not _is_wanted(plan, cluster, app)}
        gated = plan.dependencies or (leaving and self.order_of_what_is_there(request.deployment))
        return PlanSummary(
            digest=digest,
            clusters=plan.clusters,
            leaving=tuple(sorted(leaving)),
            units=len(plan.units),
            gated=bool(gated),
        )

    # -- before anything is touched -------------------------------------------------------------

    def _claim(self, request: PlanRequest) -> None:
        """Terminate and pruning rely on the footprint; status starts with the units' rows."""
        deployment = deployment_address(request.deployment)
        plan = self.load(request.digest)
        units = [
            Footprint(
                app=u.app,
                cluster=u.cluster,
                namespace=plan.namespace,
                identity=plan.owner,
                objects=u.objects,
            )
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
                    plan=request.digest,
                    manifest=u.manifest,
                    objects=tuple(ObjectStatus(key=key) for key in u.objects),
                    namespace=plan.namespace,
                )
                for u in plan.units
            ],
        )

    def _outline(self, request: ClusterRef) -> Outline:
        deployment = deployment_address(request.deployment)
        left = [
            one
            for one in self._store.footprint(deployment)
            if one.cluster == request.cluster and one.app != NAMESPACE_CLAIM
        ]
        releases = [
            row for row in self._store.releases(deployment) if row.cluster == request.cluster
        ]
        plan = self.load(request.plan) if request.plan else None
        if plan is None or request.leaving:
            return outline_of_removal(plan, request.cluster, left, releases)
        rows = [row for row in self._store.units(deployment) if row.cluster == request.cluster]
        steps = outline(plan, request.cluster, rows, left, releases, force=request.force)
        if request.gated is None:
            return steps
        since = {row.app: row.since for row in rows if steps.steps.get(row.app) is not Step.APPLY}
        return steps.model_copy(update={"since": since})

    # -- what would change ----------------------------------------------------------------------

    def _show(self, deployment: Address, plan: Plan, revision: int) -> Preview:
        before = self._in_effect(deployment)
        with self._store.snapshot() as view:
            life = view.lifecycle(deployment)
            snapshot = None if revision else read_snapshot(view, deployment)
        base = (self._store.plan_of(deployment, life.effective) if life.effective else None) or ""
        content = plan.model_dump_json().encode()
        stored = self._store.put_blob(content)
        inputs = inputs_digest(snapshot) if snapshot else f"revision {revision}"
        digest = digest_of([stored, inputs, base])
        rendered_hooks = {u.manifest: self.rendered(u.manifest).hooks for u in plan.units}
        document = report.plan_report(
            plan,
            self._differences(before, plan),
            rendered_hooks,
            self._goals(deployment, plan, is_rollback=bool(revision)),
            digest=digest,
            revision=life.effective_revision,
            passed_over=report.passed_over(snapshot) if snapshot else [],
        )
        shown = self._store.put_blob(document.model_dump_json(by_alias=True).encode())
        row = PreviewRow(
            digest=digest,
            plan=stored,
            report=shown,
            inputs=inputs,
            base=base,
            time=datetime.now(UTC),
        )
        self._store.put_preview(deployment, row)
        return Preview(digest=digest, report=shown)

    def _goals(
        self, deployment: Address, plan: Plan, *, is_rollback: bool
    ) -> dict[tuple[str, str], Goal | None]:
        """What becomes of each unit's release, in Helm's words; None of those that are left alone."""
        rows = {(row.app, row.cluster): row for row in self._store.units(deployment)}
        releases = {(row.app, row.cluster): row for row in self._store.releases(deployment)}
        goals: dict[tuple[str, str], Goal | None] = {}
        for unit in plan.units:
            where = unit.app, unit.cluster
            known = [row for row in (releases.get(where),) if row]
            steps = outline(plan, unit.cluster, [r for r in (rows.get(where),) if r], (), known)
            changed = Goal.ROLLBACK if is_rollback else Goal.UPGRADE
            is_kept = steps.steps[unit.app] is Step.KEEP
            goals[where] = None if is_kept else changed if known else Goal.INSTALL
        return goals

    def _in_effect(self, deployment: Address) -> dict[tuple[str, str], str]:
        """Unit (app, cluster) to the digest of what was applied there last, or is meant to be."""
        rows = self._store.units(deployment)
        return {(row.app, row.cluster): row.applied or row.manifest for row in rows}

    def _differences(
        self, before: Mapping[tuple[str, str], str], plan: Plan
    ) -> dict[str, list[diff.ObjectChange]]:
        """`app@cluster` to its objects' changes, for units of either side."""
        after = {(u.app, u.cluster): u.manifest for u in plan.units}
        known: dict[str, Rendered] = {}

        def objects(digest: str) -> Sequence[dict[str, object]]:
            if digest and digest not in known:
                known[digest] = self.rendered(digest)
            return known[digest].resources if digest else ()

        return {
            f"{app}@{cluster}": diff.objects(
                objects(before.get((app, cluster), "")), objects(after.get((app, cluster), ""))
            )
            for app, cluster in sorted({*before, *after})
        }

    # -- making a plan --------------------------------------------------------------------------

    async def _make(self, deployment: Address) -> Plan:
        snapshot, lookup = await asyncio.to_thread(self._snapshot, deployment)
        placed = place(snapshot)
        chosen = sorted({cluster for clusters in placed.values() for cluster in clusters})
        capabilities = dict(
            zip(chosen, await asyncio.gather(*map(self._capabilities, chosen)), strict=True)
        )
        releases = await asyncio.to_thread(self._store.releases, deployment)
        installed = {(row.app, row.cluster) for row in releases}
        wanted = renderings(snapshot, placed, capabilities, installed)
        rendered = await self._render_all(snapshot, {r.key: r for r in wanted.values()})
        units = {unit: rendered[rendering.key] for unit, rendering in wanted.items()}
        if snapshot.generic:
            units = await asyncio.to_thread(self._customise, snapshot, units, lookup)
        return compile_plan(snapshot, placed, units)

    def _snapshot(self, deployment: Address) -> tuple[Snapshot, Lookup]:
        with self._store.snapshot() as view:
            snapshot = read_snapshot(view, deployment)
            return snapshot, generic_lookup(view, deployment, snapshot.generic)

    def _customise(
        self,
        snapshot: Snapshot,
        units: Mapping[tuple[str, str], tuple[str, Rendered]],
        lookup: Lookup,
    ) -> dict[tuple[str, str], tuple[str, Rendered]]:
        """The units as the generic intents want them, each on its own cluster."""
        files = generic_files(self._store, snapshot.generic)
        clusters = {cluster.name: cluster for cluster in snapshot.clusters}
        changed = dict(units)
        for (app, cluster), (_, rendered) in units.items():
            wanted = customised(
                rendered,
                app,
                clusters[cluster],
                inputs=snapshot.generic,
                files=files,
                lookup=lookup,
            )
            if wanted is not rendered:
                changed[app, cluster] = self._keep(wanted, snapshot, app)
        return changed

    def _keep(self, rendered: Rendered, snapshot: Snapshot, app: str) -> tuple[str, Rendered]:
        """Mark the objects as ours and store them; their digest names them from then on."""
        try:
            for item in rendered.resources:
                health.check(item)
        except Invalid as error:
            raise Invalid(f"Error rendering the chart of {app}", str(error)) from None
        marked = manifests.mark(rendered, deployment=snapshot.owner, app=app)
        return self._store.put_blob(marked.model_dump_json().encode()), marked

    async def _capabilities(self, cluster: str) -> Capabilities:
        """What the cluster says of itself; what it said last when it is away; helm's defaults before that."""
        try:
            connection = await self._clusters.get(cluster)
            await connection.probe()
            found = await connection.capabilities()
        except EmcoError as error:
            known = await asyncio.to_thread(self._store.facts, cluster_address(cluster))
            log.warning("cluster.away", cluster=cluster, reason=str(error), known=known is not None)
            return Capabilities.model_validate(known or {})
        await asyncio.to_thread(self._store.put_facts, cluster_address(cluster), found.model_dump())
        return found

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
                is_upgrade=rendering.is_upgrade,
            )
            info = await asyncio.to_thread(chart_info, chart, app.name)
        objects = manifests.sort(documents).model_copy(update={"chart": info})
        hooks.check(objects.hooks, app.name)
        return await asyncio.to_thread(self._keep, objects, snapshot, app.name)

    def _unpack(self, app: AppInput, folder: Path) -> tuple[Path, dict[str, object]]:
        chart = unpack_chart(self._store.blob(app.chart), app.name, folder / "chart")
        profile: dict[str, object] = {}
        if app.profile:
            archive = self._store.blob(app.profile)
            profile = apply_profile(archive, app.name, chart, folder / "profile")
        return chart, effective(profile, app.overrides)


def _is_wanted(plan: Plan, cluster: str, app: str) -> bool:
    on_it = plan.on(cluster)
    return bool(on_it) if app == NAMESPACE_CLAIM else any(unit.app == app for unit in on_it)


def _raise_all(results: Sequence[object]) -> None:
    """All refusals together, so that a user mends every chart at once; other errors first."""
    errors = [r for r in results if isinstance(r, BaseException)]
    for error in errors:
        if not isinstance(error, Invalid):
            raise error
    if errors:
        raise Invalid("Planning failed", "; ".join(str(error) for error in errors))
