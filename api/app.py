"""The FastAPI application: every route, every error, and the door in front of them."""

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.deployments import Deployments
from api.events import event_routes
from api.health import health_routes
from api.lifecycles import lifecycle_routes
from api.listeners import Listeners
from api.openapi import Emco
from api.operations import Operations
from api.routes import resource_routes
from api.subscriptions import Subscriptions, subscription_routes
from emco.domain.errors import Unavailable
from emco.domain.kinds import all as _every_kind  # noqa: F401  defines the built-in kinds
from emco.domain.kinds.apps import AppDependency
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address, all_kinds
from emco.settings import Settings
from emco.store.store import Store

log = structlog.get_logger("emco.api")

DESCRIPTION = """
EMCO's `/v2` model on one port: projects, composite apps of Helm charts, clusters, logical clouds,
deployments (EMCO: deployment intent groups) and their intents.

Errors are RFC 9457 problem documents. Every resource has an `ETag`; `If-Match` makes a write or a
delete conditional. Lists are in name order; `limit` and `cursor` page them.
"""


def create_app(
    store: Store, operations: Operations, settings: Settings, *, listeners: Listeners
) -> Emco:
    """The API over `store`, moving deployments through `operations`, telling through `listeners`."""
    app = Emco(
        title="emco",
        version="v2",
        summary="Multi-cluster application orchestrator",
        description=DESCRIPTION,
        redirect_slashes=False,
    )
    problems.install(app)
    app.add_middleware(_Door)
    app.include_router(health_routes(store, operations))
    app.include_router(lifecycle_routes(store, operations, settings))

    async def replaced(deployment: Address) -> None:
        try:
            await operations.policies_changed(deployment)
        except Unavailable as error:  # it is stored, and the next operation reads it
            log.warning("policies.not_told", deployment=deployment.path, reason=str(error))

    async def changed(dependency: Address) -> None:
        try:
            await Deployments(store, operations).dependencies_changed(dependency)
        except Unavailable as error:  # the same
            log.warning("dependencies.not_told", of=dependency.path, reason=str(error))

    app.include_router(event_routes(store))
    subscriptions = Subscriptions(store, listeners)
    app.include_router(subscription_routes(subscriptions, settings))
    app.include_router(
        resource_routes(
            all_kinds(),
            store,
            settings,
            replaced={Deployment: replaced},
            changed={AppDependency: changed, StatusSubscription: subscriptions.changed},
        )
    )
    return app


class _Door:
    """Takes a trailing slash as if it were not there, and lets no exception out.

    EMCO's clients turn a redirected POST into a GET, so a slash is never answered by a redirect.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/") or "/"
        scope = {**scope, "path": path, "raw_path": scope.get("raw_path", b"").rstrip(b"/")}
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001  the outermost edge of a request
            response = problems.unexpected(Request(scope), error)
            if not started:
                await response(scope, receive, send)
