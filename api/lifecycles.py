"""The verbs of deployments and logical clouds, and what can be asked about them.

Deployments are moved by their workflows, through the `Operations` port; approve and level 0
clouds are a matter of the store alone. Bodies of verbs are read and ignored: EMCO's clients send
none, chunked, or a `metadata` without a name.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.bodies import read_limited
from api.endpoints import PREFIX, Handler, Queries, QueryParameter, at_resource, json_response
from api.operations import Operations
from emco.domain import clouds, names, report
from emco.domain.errors import Conflict, EmcoError, IllegalTransition
from emco.domain.kinds.delivery import (
    PLACEMENT_KEY,
    Deployment,
    GenericPlacementIntent,
    GroupIntent,
)
from emco.domain.kinds.fleet import Cluster
from emco.domain.kinds.tenancy import ClusterReference, LogicalCloud, Project
from emco.domain.lifecycle import Lifecycle, Verb, accept, after
from emco.domain.plan.manifests import key_of, without_secrets
from emco.domain.plan.model import Plan, Rendered
from emco.domain.resource import Address, Resource
from emco.domain.status import ObjectKey, UnitRow
from emco.settings import Settings
from emco.store.model import Stored
from emco.store.store import Store

_FILTERS = (
    QueryParameter("instance", str, "The instance of one of the actions"),
    QueryParameter("status", str, "What is told of each object", tuple(report.Shown)),
    QueryParameter("output", str, "How much is told, `all` by default", tuple(report.Output)),
    QueryParameter("cluster", list[str], "Only these clusters, as `provider+cluster`"),
    QueryParameter("resource", list[str], "Only objects with these names"),
    QueryParameter("clusters", str, "Only list the clusters"),
    QueryParameter("resources", str, "Only list the objects"),
)
_DEPLOYMENT_FILTERS = (
    *_FILTERS,
    QueryParameter("type", str, "Older member names (deprecated)", ("rsync", "cluster")),
    QueryParameter("app", list[str], "Only these apps"),
    QueryParameter("apps", str, "Only list the apps"),
)
_OBJECT = {"type": "object"}


def lifecycle_routes(store: Store, operations: Operations, settings: Settings) -> APIRouter:
    """All verbs of deployments and clouds, their status and `explain`."""
    router = APIRouter()
    deployments = _Deployments(store, operations)
    logical_clouds = _Clouds(store)

    def verb(kind: type[Resource], name: str, handler: Handler) -> None:
        async def drained(request: Request, at: Address, queries: Queries) -> Response:
            await read_limited(request, settings.max_body_bytes)
            return await handler(request, at, queries)

        router.add_api_route(
            f"{PREFIX}{kind.template()}/{name}",
            at_resource(drained, kind),
            methods=["POST"],
            status_code=202,
            response_class=Response,
            tags=["operations"],
            operation_id=f"{name}{kind.kind}",
            summary=f"{name.capitalize()} a {kind.noun}",
            responses={
                202: {"description": "Accepted and recorded"},
                **openapi.problems(400, 404, 409, 503),
            },
        )

    def question(
        kind: type[Resource],
        name: str,
        handler: Handler,
        queries: Sequence[QueryParameter],
        schema: Any,
    ) -> None:
        router.add_api_route(
            f"{PREFIX}{kind.template()}/{name}",
            at_resource(handler, kind, queries),
            methods=["GET"],
            response_model=None,
            tags=["operations"],
            operation_id=f"{name}{kind.kind}",
            summary=f"{name.capitalize()} of a {kind.noun}",
            responses={200: openapi.answer(name, schema), **openapi.problems(400, 404)},
        )

    verb(Deployment, "approve", deployments.approve)
    verb(Deployment, "instantiate", deployments.instantiate)
    verb(Deployment, "terminate", deployments.terminate)
    question(Deployment, "status", deployments.status, _DEPLOYMENT_FILTERS, _OBJECT)
    question(Deployment, "explain", deployments.explain, (), openapi.ref(openapi.Explanation))
    verb(LogicalCloud, "instantiate", logical_clouds.instantiate)
    verb(LogicalCloud, "terminate", logical_clouds.terminate)
    question(LogicalCloud, "status", logical_clouds.status, _FILTERS, _OBJECT)
    return router


class _Deployments:
    """Verbs and questions of one deployment."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations

    async def approve(self, request: Request, at: Address, queries: Queries) -> Response:
        """Check what was left open when the intents were written, and record the approval."""
        await run_in_threadpool(self._approve, at)
        return _accepted()

    async def instantiate(self, request: Request, at: Address, queries: Queries) -> Response:
        """Refused here when the record says so; otherwise the deployment's workflow decides."""
        refusal = await run_in_threadpool(self._refusal, at, Verb.INSTANTIATE)
        await run_in_threadpool(self._check_instantiate, at)
        await _asked(self._operations.instantiate(at), refusal)
        return _accepted()

    async def terminate(self, request: Request, at: Address, queries: Queries) -> Response:
        """Remove the deployment from everywhere it was put."""
        refusal = await run_in_threadpool(self._refusal, at, Verb.TERMINATE)
        await _asked(self._operations.terminate(at), refusal)
        return _accepted()

    async def status(self, request: Request, at: Address, queries: Queries) -> Response:
        """EMCO's status JSON."""
        asked = report.question(_multi(request))
        return json_response(await run_in_threadpool(self._status, at, asked))

    async def explain(self, request: Request, at: Address, queries: Queries) -> Response:
        """What every unit is doing and waiting for."""
        return json_response(await run_in_threadpool(self._explain, at))

    def _approve(self, at: Address) -> None:
        deployment = self._store.get(at)
        after(self._store.lifecycle(at), Verb.APPROVE, at.name)
        if missing := self._missing_intents(at):
            raise Conflict(
                f"Intent not found for the DeploymentIntentGroup {at.name}", "\n".join(missing)
            )
        if self._store.find(_cloud_of(deployment)) is None:
            raise clouds.cloud_missing(str(_cloud_of(deployment)))
        self._store.change_lifecycle(
            at, lambda life: accept(life, Verb.APPROVE, at.name, now=datetime.now(UTC))
        )

    def _missing_intents(self, at: Address) -> list[str]:
        """Intents that group intents name and that are not there.

        Only placement intents are known kinds so far; what other controllers own is for them to say.
        """
        return [
            f"{group.address}: spec.intent.{PLACEMENT_KEY} names {named}, which does not exist"
            for group, named in self._placements(at)
            if self._store.find(_placement(at, named)) is None
        ]

    def _placements(self, at: Address) -> list[tuple[Stored, str]]:
        groups = self._store.list(GroupIntent, at).items
        return [
            (group, group.spec.intent[PLACEMENT_KEY])
            for group in groups
            if isinstance(group.spec, GroupIntent) and PLACEMENT_KEY in group.spec.intent
        ]

    def _refusal(self, at: Address, verb: Verb) -> IllegalTransition | None:
        """Raise what the record alone can refuse.

        While the deployment is live the record may be stale: if its workflow was ended by force,
        the same verb may be asked again to take over. So that refusal is returned, for the case
        that the workflow refuses as well.
        """
        self._store.get(at)
        life = self._store.lifecycle(at)
        try:
            after(life, verb, at.name)
        except IllegalTransition as refusal:
            if not life.is_live:
                raise
            return refusal
        return None

    def _check_instantiate(self, at: Address) -> None:
        cloud = _cloud_of(self._store.get(at))
        if self._store.find(cloud) is None:
            raise clouds.cloud_missing(str(cloud))
        clouds.may_receive_deployments(self._store.lifecycle(cloud), cloud.name)
        if not self._placements(at):
            raise clouds.placement_missing(at.name)

    def _status(self, at: Address, asked: report.Question) -> report.Json:
        deployment = self._store.get(at)
        units = self._store.units(at)
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
            connectivity=_connectivity(self._store, {unit.cluster for unit in units}),
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
        life, units = self._store.lifecycle(at), self._store.units(at)
        return report.explanation(names.short_name(at), life, units)


class _Clouds:
    """Verbs and status of one logical cloud; only level 0 moves, and that is done when recorded."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def instantiate(self, request: Request, at: Address, queries: Queries) -> Response:
        """Open the cloud for deployments."""
        await run_in_threadpool(self._instantiate, at)
        return _accepted()

    async def terminate(self, request: Request, at: Address, queries: Queries) -> Response:
        """Close the cloud; refused while a deployment in it is live."""
        await run_in_threadpool(self._terminate, at)
        return _accepted()

    async def status(self, request: Request, at: Address, queries: Queries) -> Response:
        """EMCO's status JSON."""
        asked = report.question(_multi(request), cloud=True)
        return json_response(await run_in_threadpool(self._status, at, asked))

    def _instantiate(self, at: Address) -> None:
        cloud = self._store.get(at)
        if isinstance(cloud.spec, LogicalCloud) and not cloud.spec.is_admin:
            raise Conflict(
                "Level 1 Logical Clouds are stored but not yet instantiated by this version",
                f'{at}: a cloud with `"level": "0"` uses the clusters\' own credentials and works',
            )
        has_clusters = bool(self._store.list(ClusterReference, at, limit=1).items)
        self._store.change_lifecycle(
            at,
            lambda life: clouds.instantiate_cloud(
                life,
                at.name,
                has_clusters=has_clusters,
                operation=uuid.uuid4().hex,
                now=datetime.now(UTC),
            ),
        )

    def _terminate(self, at: Address) -> None:
        self._store.get(at)
        users = {user for _, user in self._store.references(at).incoming}
        live = [
            user.path
            for user in users
            if user.kind == Deployment.kind and self._store.lifecycle(user).is_live
        ]

        def terminated(life: Lifecycle) -> Lifecycle:
            return clouds.terminate_cloud(
                life, at.name, live=live, operation=uuid.uuid4().hex, now=datetime.now(UTC)
            )

        self._store.change_lifecycle(at, terminated)

    def _status(self, at: Address, asked: report.Question) -> report.Json:
        cloud = self._store.get(at)
        clusters = [
            f"{item.spec.cluster_provider}+{item.spec.cluster}"
            for item in self._store.list(ClusterReference, at).items
            if isinstance(item.spec, ClusterReference)
        ]
        return report.cloud_status(
            {"project": at.params(LogicalCloud)["project"], "name": at.name},
            self._store.lifecycle(at),
            clusters,
            asked,
            created=cloud.created,
            connectivity=_connectivity(self._store, clusters),
        )


async def _asked(operation: Any, refusal: EmcoError | None) -> None:
    """Await the operation; when it and the record both refuse, EMCO's sentence is the record's."""
    try:
        await operation
    except Conflict:
        if refusal is not None:
            raise refusal from None
        raise


def _accepted() -> Response:
    return Response(status_code=202)


def _multi(request: Request) -> dict[str, list[str]]:
    query = request.query_params
    return {name: query.getlist(name) for name in query}


def _cloud_of(deployment: Stored) -> Address:
    if not isinstance(deployment.spec, Deployment):
        raise TypeError(f"{deployment.address} is no deployment")
    project = deployment.address.ancestor(Deployment, Project)
    return Address.of(LogicalCloud, [project.name, deployment.spec.logical_cloud])


def _placement(at: Address, name: str) -> Address:
    return Address.of(GenericPlacementIntent, [*at.names(Deployment), name])


def _connectivity(store: Store, clusters: Any) -> dict[str, str]:
    known = {}
    for cluster in clusters:
        provider, _, name = cluster.partition("+")
        facts = store.facts(Address.of(Cluster, [provider, name])) or {}
        if reached := facts.get("connectivity"):
            known[cluster] = str(reached)
    return known
