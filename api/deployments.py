"""Verbs and questions of deployments: what the record can answer is answered here, the rest is asked."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from api.accept import acceptable
from api.asking import AnswerBody
from api.endpoints import Queries, json_response
from api.looking import accepted, connectivity, queried
from api.operations import Accepted, Asked, Operations
from emco.domain import clouds, graph, names, report
from emco.domain.errors import Conflict, IllegalTransition, Invalid
from emco.domain.kinds.apps import App, AppDependency, CompositeApp
from emco.domain.kinds.delivery import (
    PLACEMENT_KEY,
    Deployment,
    GenericPlacementIntent,
    GroupIntent,
)
from emco.domain.kinds.generic import GENERIC_KEY, GenericK8sIntent
from emco.domain.kinds.tenancy import LogicalCloud, Project
from emco.domain.lifecycle import OnBusy, Verb, accept, after
from emco.domain.plan import diff
from emco.domain.plan.manifests import key_of, without_secrets
from emco.domain.plan.model import Manifest, Plan, Rendered
from emco.domain.releases import HookRow, answered
from emco.domain.resource import Address, Resource
from emco.domain.status import ObjectKey, UnitRow
from emco.store.model import Stored
from emco.store.snapshot import dependencies
from emco.store.store import Store

JSON: Final = "application/json"
TEXT: Final = "text/plain"
MERMAID: Final = "text/vnd.mermaid"


class Deployments:
    """What can be asked of one deployment."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations

    async def approve(self, request: Request, at: Address, queries: Queries) -> Response:
        """Check what was left open when the intents were written, and record the approval."""
        await run_in_threadpool(self._approve, at)
        return accepted()

    async def ask(self, verb: Verb, at: Address, asked: Asked) -> Accepted:
        """Refused here when the record says so; otherwise the deployment's workflow decides.

        When it and the record both refuse, EMCO's sentence is the record's.
        """
        refusal = await run_in_threadpool(self._refusal, at, verb, asked)
        await run_in_threadpool(self._check, at, verb, asked)
        try:
            return await self._operations.ask(verb, at, asked)
        except Conflict as conflict:
            if refusal is not None and type(conflict) is Conflict:
                raise refusal from None
            raise

    async def plan(self, request: Request, at: Address, queries: Queries) -> Response:
        """What an operation would do, and the digest by which exactly that can be asked for."""
        await run_in_threadpool(self._store.get, at)
        digest = await self._operations.preview(at, queries["revision"] or 0)
        report = await run_in_threadpool(self._store.blob, digest)
        return Response(report, media_type="application/json")

    async def revisions(self, request: Request, at: Address, queries: Queries) -> Response:
        """Every revision that is kept, oldest first."""
        return json_response(await run_in_threadpool(self._revisions, at))

    async def diff(self, request: Request, at: Address, queries: Queries) -> Response:
        """What differs between two revisions, object by object."""
        numbers = queries["old"], queries["new"]
        return json_response(await run_in_threadpool(self._diff, at, *numbers))

    async def operations(self, request: Request, at: Address, queries: Queries) -> Response:
        """The last operations, newest first."""
        return json_response(await run_in_threadpool(self._operations_of, at))

    async def status(self, request: Request, at: Address, queries: Queries) -> Response:
        """EMCO's status JSON."""
        asked = report.question(queried(request))
        return json_response(await run_in_threadpool(self._status, at, asked))

    async def explain(self, request: Request, at: Address, queries: Queries) -> Response:
        """What every unit is doing and waiting for."""
        return json_response(await run_in_threadpool(self._explain, at))

    async def answer(self, at: Address, body: AnswerBody) -> Response:
        """A person's word on a hook that nobody saw end."""
        return json_response(await run_in_threadpool(self._answer, at, body))

    def _answer(self, at: Address, body: AnswerBody) -> report.Json:
        self._store.get(at)
        known = self._store.hook(at, body.spec.hook)

        def change(row: HookRow) -> HookRow:
            try:
                return answered(row, body.spec.answer, datetime.now(UTC))
            except ValueError as error:
                raise Conflict(f"The hook {row.id} needs no answer", str(error)) from None

        return self._store.change_hook(at, known, change).model_dump(mode="json")

    async def dependency_graph(self, request: Request, at: Address, queries: Queries) -> Response:
        """Who waits for whom, with how far each is: JSON, text or Mermaid, as `format` or `Accept` say."""
        shown = await run_in_threadpool(self._graph, at)
        wanted = queries["format"]
        if wanted is None:
            accepts = acceptable(request.headers.get("accept"), (JSON, TEXT, MERMAID))
            wanted = {TEXT: "text", MERMAID: "mermaid"}.get(accepts or JSON, "json")
        if wanted == "text":
            return Response(graph.as_text(shown), media_type=f"{TEXT}; charset=utf-8")
        if wanted == "mermaid":
            return Response(graph.as_mermaid(shown), media_type=f"{MERMAID}; charset=utf-8")
        return json_response(shown.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def dependencies_changed(self, dependency: Address) -> None:
        """Tell the deployments of the composite app that are under way; the others read it later."""
        running = await run_in_threadpool(self._running, dependency)
        for deployment in running:
            await self._operations.dependencies_changed(deployment)

    def _running(self, dependency: Address) -> list[Address]:
        app_root = dependency.ancestor(AppDependency, CompositeApp)
        found = [one.address for one in self._store.list(Deployment, app_root).items]
        return [at for at in found if self._store.lifecycle(at).is_running]

    def _graph(self, at: Address) -> graph.DependencyGraph:
        self._store.get(at)
        app_root = at.ancestor(Deployment, CompositeApp)
        with self._store.snapshot() as view:
            apps = [address.name for address, _ in view.specs(App, app_root)]
            waits = dependencies(view, app_root)
        return graph.dependency_graph(names.short_name(at), apps, waits, self._store.units(at))

    def _approve(self, at: Address) -> None:
        deployment = self._store.get(at)
        after(self._store.lifecycle(at), Verb.APPROVE, at.name)
        if missing := self._missing_intents(at):
            raise Conflict(
                f"Intent not found for the DeploymentIntentGroup {at.name}", "\n".join(missing)
            )
        if self._store.find(cloud_of(deployment)) is None:
            raise clouds.cloud_missing(str(cloud_of(deployment)))
        self._store.change_lifecycle(
            at, lambda life: accept(life, Verb.APPROVE, at.name, now=datetime.now(UTC))
        )

    def _missing_intents(self, at: Address) -> list[str]:
        """Intents that group intents name and that are not there.

        Only the intents of kinds that are known here; what other controllers own is for them to say.
        """
        return [
            f"{group.address}: spec.intent.{key} names {named}, which does not exist"
            for key, kind in _INTENTS.items()
            for group, named in self._named(at, key)
            if self._store.find(Address.of(kind, [*at.names(Deployment), named])) is None
        ]

    def _named(self, at: Address, key: str) -> list[tuple[Stored, str]]:
        groups = self._store.list(GroupIntent, at).items
        return [
            (group, group.spec.intent[key])
            for group in groups
            if isinstance(group.spec, GroupIntent) and key in group.spec.intent
        ]

    def _refusal(self, at: Address, verb: Verb, asked: Asked) -> IllegalTransition | None:
        """Raise what the record alone can refuse.

        While the deployment is live the record may be stale: if its workflow was ended by force,
        the same verb may be asked again to take over. So that refusal is returned, for the case
        that the workflow refuses as well. What waits for its turn is judged when that has come.
        """
        self._store.get(at)
        life = self._store.lifecycle(at)
        if asked.on_busy is OnBusy.QUEUE and life.is_running:
            return None
        try:
            after(life, verb, at.name, supersede=asked.on_busy is OnBusy.SUPERSEDE)
        except IllegalTransition as refusal:
            if not life.is_live:
                raise
            return refusal
        return None

    def _check(self, at: Address, verb: Verb, asked: Asked) -> None:
        """What can be refused with a better answer than the workflow has."""
        if asked.target is not None:
            self._store.get(asked.target)
        if verb is Verb.ROLLBACK:
            self._store.revision(at, asked.revision)
        if asked.plan_digest:
            self._store.preview(at, asked.plan_digest)
        if verb not in (Verb.INSTANTIATE, Verb.UPDATE):
            return
        cloud = cloud_of(self._store.get(at))
        if self._store.find(cloud) is None:
            raise clouds.cloud_missing(str(cloud))
        clouds.may_receive_deployments(self._store.lifecycle(cloud), cloud.name)
        if not self._named(at, PLACEMENT_KEY):
            raise clouds.placement_missing(at.name)

    def _revisions(self, at: Address) -> list[report.Json]:
        self._store.get(at)
        life = self._store.lifecycle(at)
        return [
            {
                **row.model_dump(mode="json"),
                "current": row.number == life.effective_revision,
            }
            for row in self._store.revisions(at)
        ]

    def _operations_of(self, at: Address) -> list[report.Json]:
        self._store.get(at)
        return [row.model_dump(mode="json") for row in self._store.operations(at)]

    def _diff(self, at: Address, first: int | None, second: int | None) -> report.Json:
        self._store.get(at)
        if first is None or second is None:
            raise Invalid("Invalid query old, new", "name two revisions: ?old=1&new=2")
        before, after_ = (self._plan(self._store.revision(at, n).digest) for n in (first, second))
        units = []
        for app, cluster in sorted(
            {(u.app, u.cluster) for plan in (before, after_) for u in plan.units}
        ):
            changes = diff.objects(
                self._objects(before, cluster, app), self._objects(after_, cluster, app)
            )
            told = [c.model_dump(mode="json") for c in changes if c.kind is not diff.Kind.KEEP]
            if told:
                units.append({"app": app, "cluster": cluster, "objects": told})
        return {"old": first, "new": second, "units": units}

    def _plan(self, digest: str) -> Plan:
        return Plan.model_validate_json(self._store.blob(digest))

    def _objects(self, plan: Plan, cluster: str, app: str) -> Sequence[Manifest]:
        digests = [u.manifest for u in plan.units if (u.cluster, u.app) == (cluster, app)]
        return [
            item
            for digest in digests
            for item in Rendered.model_validate_json(self._store.blob(digest)).resources
        ]

    def _status(self, at: Address, asked: report.Question) -> report.Json:
        deployment = self._store.get(at)
        units = self._store.units(at, observed=asked.output is report.Output.DETAIL)
        if asked.output is report.Output.DETAIL and asked.shown is report.Shown.DEPLOYED:
            units = self._as_applied(units)
        params = at.params(Deployment)
        spec = deployment.spec
        return report.deployment_status(
            {
                "project": params["project"],
                "compositeApp": params["compositeApp"],
                "compositeAppVersion": params["compositeAppVersion"],
                "compositeProfile": spec.composite_profile if isinstance(spec, Deployment) else "",
                "name": at.name,
            },
            self._store.lifecycle(at),
            units,
            asked,
            created=deployment.created,
            connectivity=connectivity(self._store, {unit.cluster for unit in units}),
        )

    def _as_applied(self, units: Sequence[UnitRow]) -> list[UnitRow]:
        """Each object's manifest, as it was applied, in place of the live object last seen."""
        plans = {
            digest: Plan.model_validate_json(self._store.blob(digest))
            for digest in {unit.plan for unit in units if unit.plan}
        }
        shown = []
        for unit in units:
            applied: dict[ObjectKey, report.Json] = {}
            if unit.plan:
                digest = plans[unit.plan].unit(unit.cluster, unit.app).manifest
                rendered = Rendered.model_validate_json(self._store.blob(digest))
                applied = {key_of(o): without_secrets(o) for o in rendered.resources}
            objects = tuple(
                o.model_copy(update={"observed": applied.get(o.key)}) for o in unit.objects
            )
            shown.append(unit.model_copy(update={"objects": objects}))
        return shown

    def _explain(self, at: Address) -> report.Json:
        self._store.get(at)
        life, units = self._store.lifecycle(at), self._store.units(at, observed=False)
        waiting = [row for row in self._store.operations(at) if row.queued and not row.ended]
        left = () if life.is_live else self._store.footprint(at)
        return report.explanation(
            names.short_name(at),
            life,
            units,
            queue=[row.verb for row in reversed(waiting)],
            remnants=left,
            hooks=self._store.hooks(at),
        )


def cloud_of(deployment: Stored) -> Address:
    """The logical cloud that a deployment runs in."""
    if not isinstance(deployment.spec, Deployment):
        raise TypeError(f"{deployment.address} is no deployment")
    project = deployment.address.ancestor(Deployment, Project)
    return Address.of(LogicalCloud, [project.name, deployment.spec.logical_cloud])


_INTENTS: Final[Mapping[str, type[Resource]]] = {
    PLACEMENT_KEY: GenericPlacementIntent,
    GENERIC_KEY: GenericK8sIntent,
}
"""The keys of group intents whose intents are kinds of ours."""
