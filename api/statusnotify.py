"""EMCO's gRPC service StatusNotify, for its clients as they are; what it says comes from the event log.

Unlike EMCO's it begins with the state as it is, a deployment need not be instantiated yet, every
filter is the client's own, and a change is told however it came about. A client that registers
again after a break gets the state anew, so none is kept here.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
import structlog

from api.statusnotify_messages import SERVICE, message, value
from emco.domain.errors import EmcoError, Forgotten, NotFound, Unavailable
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import ClusterReference, LogicalCloud
from emco.domain.lifecycle import Progress
from emco.domain.names import short_name
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectStatus, Ready, UnitRow
from emco.settings import Settings
from emco.store.store import Store
from emco.store.tail import Tail

READ_AT_ONCE: Final = 500
GATHER_SECONDS: Final = 0.2
"""Changes that come together are told together: what is told is the state, not each step to it."""

NOTIFICATION: Final = message("StatusNotification")
log = structlog.get_logger("emco.statusnotify")


class StatusNotify:
    """Registers clients; each has a stream."""

    def __init__(self, store: Store) -> None:
        self._store, self._tail = store, Tail(store)
        self._clients: dict[str, asyncio.Event] = {}

    async def register(
        self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Any]:
        """The state, and again whenever it differs, until the client leaves or deregisters."""
        client = request.clientId
        if not client:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Invalid client ID")
        if client in self._clients:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"Duplicate client ID: {client}")
        if request.statusType not in (value("READY"), value("DEPLOYED")):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "statusType must be READY or DEPLOYED"
            )
        left = self._clients[client] = asyncio.Event()
        try:
            async for told in self._states(request, left):
                yield told
        except NotFound as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except EmcoError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            del self._clients[client]

    async def deregister(self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        """End the client's stream; one that is not there is no error."""
        if (left := self._clients.get(request.clientId)) is not None:
            left.set()
        return message("StatusDeregistrationResponse")()

    async def _states(self, request: Any, left: asyncio.Event) -> AsyncIterator[Any]:
        at = _address(request)
        cursor, last = (await asyncio.to_thread(self._store.extent)).last, None
        while True:
            now = await asyncio.to_thread(self._state, at, request)
            if now != last:
                last = now
                yield now
            if not await self._changed(at, cursor, left):
                return
            await asyncio.sleep(GATHER_SECONDS)
            cursor = (await asyncio.to_thread(self._store.extent)).last

    async def _changed(self, at: Address, cursor: int, left: asyncio.Event) -> bool:
        """Return when something happened to it, False when the client left."""
        leaving = asyncio.ensure_future(left.wait())
        try:
            while True:
                coming = asyncio.ensure_future(self._tail.beyond(cursor))
                await asyncio.wait({leaving, coming}, return_when=asyncio.FIRST_COMPLETED)
                coming.cancel()
                if leaving.done():
                    return False
                try:
                    events = await self._tail.after(cursor, READ_AT_ONCE)
                except Forgotten:
                    return True
                if any(_is_of(at, e.deployment, e.project, e.logical_cloud) for e in events):
                    return True
                cursor = events[-1].sequence if events else cursor
        finally:
            leaving.cancel()

    def _state(self, at: Address, request: Any) -> Any:
        self._store.get(at)
        life = self._store.lifecycle(at)
        is_up = life.progress is Progress.INSTANTIATED
        if at.kind == LogicalCloud.kind:
            return _cloud_state(self._store, at, request, is_up)
        units = [u for u in self._store.units(at) if _is_wanted(u, request)]
        return _deployment_state(units, request, is_up)


def _address(request: Any) -> Address:
    match request.WhichOneof("key"):
        case "digKey":
            key = request.digKey
            names = [
                key.project,
                key.compositeApp,
                key.compositeAppVersion,
                key.deploymentIntentGroup,
            ]
            return Address.of(Deployment, names)
        case "lcKey":
            return Address.of(LogicalCloud, [request.lcKey.project, request.lcKey.logicalCloud])
        case _:
            raise NotFound(
                "Nothing is told of that",
                "register for a deployment (digKey) or a logical cloud (lcKey)",
            )


def _is_of(at: Address, deployment: str, project: str, cloud: str) -> bool:
    if at.kind == Deployment.kind:
        return deployment == short_name(at)
    return at == Address.of(LogicalCloud, [project, cloud])


def _is_wanted(unit: UnitRow, request: Any) -> bool:
    return (not request.apps or unit.app in request.apps) and (
        not request.clusters or unit.cluster in request.clusters
    )


def _deployment_state(units: Sequence[UnitRow], request: Any, is_up: bool) -> Any:
    told = NOTIFICATION()
    everything: list[bool] = []
    by_app: dict[str, list[UnitRow]] = {}
    for unit in units:
        by_app.setdefault(unit.app, []).append(unit)
    for app, parts in sorted(by_app.items()):
        detail = told.details.add().app
        detail.app = app
        of_app: list[bool] = []
        for part in parts:
            cluster = detail.clusters.add()
            cluster.clusterProvider, _, cluster.cluster = part.cluster.partition("+")
            good = [_add_resource(cluster, one, request) for one in _objects(part, request)]
            cluster.statusValue = _value(all(good), request)
            of_app += good
        detail.statusValue = _value(all(of_app), request)
        everything += of_app
    told.statusValue = _value(is_up and all(everything), request)
    return _cut(told, request)


def _objects(unit: UnitRow, request: Any) -> list[ObjectStatus]:
    return [
        one
        for one in unit.objects
        if one.deployed is not Deployed.DELETED
        and (not request.resources or one.key.name in request.resources)
    ]


def _add_resource(cluster: Any, one: ObjectStatus, request: Any) -> bool:
    if request.statusType == value("READY"):
        is_good = one.ready in (Ready.READY, Ready.UNKNOWN)
    else:
        is_good = one.deployed is Deployed.APPLIED
    resource = cluster.resources.add(name=one.key.name, statusValue=_value(is_good, request))
    resource.gvk.group, resource.gvk.version = one.key.group, one.key.version
    resource.gvk.kind = one.key.kind
    return is_good


def _cloud_state(store: Store, at: Address, request: Any, is_up: bool) -> Any:
    told = NOTIFICATION(statusValue=_value(is_up, request))
    for stored in store.list(ClusterReference, at).items:
        if isinstance(stored.spec, ClusterReference):
            cluster = told.details.add().cluster
            cluster.clusterProvider = stored.spec.cluster_provider
            cluster.cluster = stored.spec.cluster
            cluster.statusValue = _value(is_up, request)
    return _cut(told, request)


def _cut(told: Any, request: Any) -> Any:
    """A summary has no details."""
    if request.output == 0:
        del told.details[:]
    return told


def _value(is_good: bool, request: Any) -> int:
    kind = "READY" if request.statusType == value("READY") else "DEPLOYED"
    return value(kind if is_good else f"NOT_{kind}")


async def serve(store: Store, settings: Settings) -> "grpc.aio.Server | None":
    """Serve on the port of the settings; None when that is 0. Raises `Unavailable` when it is taken."""
    if not settings.status_port:
        return None
    # Without the option a second process would share the port, and the clients, unasked.
    service, server = StatusNotify(store), grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handlers = {
        "StatusRegister": grpc.unary_stream_rpc_method_handler(
            service.register,
            request_deserializer=message("StatusRegistration").FromString,
            response_serializer=NOTIFICATION.SerializeToString,
        ),
        "StatusDeregister": grpc.unary_unary_rpc_method_handler(
            service.deregister,
            request_deserializer=message("StatusDeregistration").FromString,
            response_serializer=message("StatusDeregistrationResponse").SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    address = f"{settings.host}:{settings.status_port}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise Unavailable(
            f"StatusNotify cannot be served at {address}",
            "the port is taken; choose another with EMCO_STATUS_PORT, or 0 for none",
        ) from error
    await server.start()
    return server
