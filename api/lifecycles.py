"""The verbs of deployments and logical clouds, and what can be asked about them: the routes.

Deployments are moved by their workflows, through the `Operations` port; approve and level 0
clouds are a matter of the store alone.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api import asking, openapi
from api.bodies import read_limited
from api.clouds import Clouds
from api.clusters import Clusters
from api.deployments import Deployments
from api.endpoints import PREFIX, Handler, Queries, QueryParameter, at_resource, json_response
from api.looking import accepted
from api.operations import Asked, Operations
from emco.domain import report
from emco.domain.graph import DependencyGraph
from emco.domain.history import OPERATION_HEADER
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.fleet import Cluster
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.lifecycle import Verb
from emco.domain.plan.report import PlanReport
from emco.domain.resource import Address, Resource
from emco.settings import Settings
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
_CLUSTER_FILTERS = tuple(f for f in _FILTERS if f.name in ("status", "output", "resource"))
_OBJECT = {"type": "object"}
_LIST = {"type": "array", "items": _OBJECT}


_Number = Annotated[int, Field(ge=1, le=10**9)]
_REVISION = QueryParameter("revision", _Number, "What a rollback to this revision would do")
_OLD = QueryParameter("old", _Number, "The older revision")
_NEW = QueryParameter("new", _Number, "The newer revision")
_FORMAT = QueryParameter(
    "format", Literal["json", "text", "mermaid"], "Instead of what `Accept` asks for"
)

Reader = Callable[[Request, bytes, Address, Queries], Asked]


def lifecycle_routes(store: Store, operations: Operations, settings: Settings) -> APIRouter:
    """All verbs of deployments and clouds, their status, plans, revisions and `explain`."""
    router = APIRouter()
    deployments = Deployments(store, operations)
    logical_clouds = Clouds(store)

    def verb(
        kind: type[Resource],
        name: str,
        handler: Handler,
        queries: Sequence[QueryParameter] = (),
        **more: Any,
    ) -> None:
        router.add_api_route(
            f"{PREFIX}{kind.template()}/{name}",
            at_resource(handler, kind, queries),
            methods=["POST"],
            status_code=202,
            response_class=Response,
            tags=["operations"],
            operation_id=f"{name}{kind.kind}",
            summary=f"{name.capitalize()} a {kind.noun}",
            responses={
                202: {"description": "Accepted and recorded"},
                **openapi.problems(400, 404, 409, 422, 503),
            },
            **more,
        )

    def without_body(handler: Handler) -> Handler:
        async def drained(request: Request, at: Address, queries: Queries) -> Response:
            await read_limited(request, settings.max_body_bytes)
            return await handler(request, at, queries)

        return drained

    def operation(
        name: Verb, read: Reader = asking.read_asked, *, with_plan: bool = False, **more: Any
    ) -> None:
        async def handler(request: Request, at: Address, queries: Queries) -> Response:
            content = await read_limited(request, settings.max_body_bytes)
            asked = read(request, content, at, queries)
            begun = await deployments.ask(name, at, asked)
            answer = accepted()
            if name in (Verb.UPDATE, Verb.ROLLBACK) and not begun.queued:
                answer = json_response(begun.revision, 202)  # EMCO answers the bare number
            answer.headers[OPERATION_HEADER] = begun.operation
            return answer

        queries = (asking.ON_BUSY, *((asking.PLAN_DIGEST,) if with_plan else ()))
        verb(Deployment, name, handler, queries, **more)

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
            responses={
                200: openapi.answer(name, schema),
                **openapi.problems(400, 404, 409, 503),
            },
        )

    async def answer(request: Request, at: Address, queries: Queries) -> Response:
        content = await read_limited(request, settings.max_body_bytes)
        return await deployments.answer(at, asking.read_answer(content))

    verb(Deployment, "approve", without_body(deployments.approve))
    operation(Verb.INSTANTIATE, with_plan=True)
    operation(Verb.UPDATE, with_plan=True)
    operation(
        Verb.ROLLBACK,
        asking.read_rollback,
        with_plan=True,
        openapi_extra=openapi.json_body(asking.RollbackBody),
    )
    operation(
        Verb.MIGRATE,
        asking.read_migrate,
        openapi_extra=openapi.json_body(asking.MigrateBody),
    )
    operation(Verb.TEST)
    operation(Verb.STOP)
    operation(Verb.RESUME)
    operation(Verb.TERMINATE)
    verb(Deployment, "answer", answer, openapi_extra=openapi.json_body(asking.AnswerBody))
    question(Deployment, "status", deployments.status, _DEPLOYMENT_FILTERS, _OBJECT)
    question(Deployment, "explain", deployments.explain, (), openapi.ref(openapi.Explanation))
    question(Deployment, "plan", deployments.plan, [_REVISION], openapi.ref(PlanReport))
    question(Deployment, "revisions", deployments.revisions, (), _LIST)
    question(Deployment, "diff", deployments.diff, [_OLD, _NEW], _OBJECT)
    question(Deployment, "operations", deployments.operations, (), _LIST)
    question(
        Deployment,
        "dependency-graph",
        deployments.dependency_graph,
        [_FORMAT],
        openapi.ref(DependencyGraph),
    )
    verb(LogicalCloud, "instantiate", without_body(logical_clouds.instantiate))
    verb(LogicalCloud, "terminate", without_body(logical_clouds.terminate))
    question(LogicalCloud, "status", logical_clouds.status, _FILTERS, _OBJECT)
    question(Cluster, "status", Clusters(store).status, _CLUSTER_FILTERS, _OBJECT)
    return router
