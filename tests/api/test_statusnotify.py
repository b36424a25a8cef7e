"""EMCO's gRPC service: the bytes that its clients send and expect, and a state that follows the log."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from api import statusnotify
from api.statusnotify_messages import message, value
from emco.domain.errors import Unavailable
from emco.domain.lifecycle import Lifecycle, Outcome, Verb, accept, ended
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.sandbox import processes
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.contract.conftest import CLOUD, DEPLOYMENT, shop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = ObjectKey(api_version="apps/v1", kind="Deployment", namespace="ns", name="web")
KEY = {
    "project": "p",
    "compositeApp": "ca",
    "compositeAppVersion": "v1",
    "deploymentIntentGroup": "d",
}

_shop = shop  # the fixture


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path / 'emco.db'}", keys=Keyring([bytes(32)]))
    yield made
    made.close()


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[Any]:
    """A channel to the service."""
    (port,) = processes.free_ports(1)
    server = await statusnotify.serve(store, Settings(status_port=port))
    assert server is not None
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(grace=0)


def register(channel: Any, request: bytes) -> Any:
    """Bytes in, messages out: what is sent does not depend on our own declarations."""
    call = channel.unary_stream(
        "/StatusNotify/StatusRegister",
        request_serializer=None,
        response_deserializer=message("StatusNotification").FromString,
    )
    return call(request)


def request(client: str = "c1", kind: str = "READY", **given: Any) -> bytes:
    made = message("StatusRegistration")(
        clientId=client, statusType=value(kind), **{"digKey": KEY, **given}
    )
    text: bytes = made.SerializeToString()
    return text


def put(store: Store, ready: Ready, app: str = "a", cluster: str = "edge+c1") -> None:
    one = ObjectStatus(key=WEB, deployed=Deployed.APPLIED, ready=ready, observed={})
    row = UnitRow(app=app, cluster=cluster, phase=Phase.READY, since=NOW, objects=(one,))
    store.put_unit(DEPLOYMENT, row)


def bring_up(store: Store) -> None:
    def change(life: Lifecycle) -> Lifecycle:
        life = accept(life, Verb.APPROVE, "d", now=NOW)
        life = accept(life, Verb.INSTANTIATE, "d", now=NOW, operation="op")
        return ended(life, Outcome.DONE, now=NOW)

    store.change_lifecycle(DEPLOYMENT, change)


def test_the_bytes_are_those_of_emco() -> None:
    """Written down by hand from the numbers of the fields."""
    dig = b"\x0a\x01p\x12\x02ca\x1a\x02v1\x22\x01d"
    sent = (
        b"\x0a\x02c1" + b"\x12" + bytes([len(dig)]) + dig + b"\x28\x02" + b"\x32\x01a" + b"\x48\x01"
    )
    assert request(apps=["a"], output=1) == sent
    told = message("StatusNotification")(statusValue=value("DEPLOYED"))
    resource = told.details.add().app.clusters.add(clusterProvider="e").resources.add(name="n")
    resource.gvk.kind = "K"
    assert told.SerializeToString() == bytes.fromhex("080412110a0f1a0d0a016522080a016e12031a014b")


async def test_the_state_comes_first_and_then_every_change_of_it(shop: Store) -> None:
    put(shop, Ready.READY)
    bring_up(shop)
    async with serving(shop) as channel:
        stream = register(channel, request(output=1))
        first = await asyncio.wait_for(stream.read(), 5)
        assert first.statusValue == value("READY")
        (resource,) = first.details[0].app.clusters[0].resources
        assert (resource.name, resource.gvk.group, resource.gvk.kind) == (
            "web",
            "apps",
            "Deployment",
        )
        put(shop, Ready.NOT_READY)
        second = await asyncio.wait_for(stream.read(), 5)
        assert second.statusValue == value("NOT_READY")
        assert second.details[0].app.clusters[0].resources[0].statusValue == value("NOT_READY")


async def test_it_may_be_asked_before_anything_is_instantiated(shop: Store) -> None:
    async with serving(shop) as channel:
        stream = register(channel, request(kind="DEPLOYED"))
        assert (await asyncio.wait_for(stream.read(), 5)).statusValue == value("NOT_DEPLOYED")
        put(shop, Ready.READY)
        bring_up(shop)
        told = await asyncio.wait_for(stream.read(), 5)
        assert told.statusValue == value("DEPLOYED")
        assert not told.details


async def test_each_client_has_its_own_filters(shop: Store) -> None:
    put(shop, Ready.READY, "a")
    put(shop, Ready.NOT_READY, "b")
    bring_up(shop)
    async with serving(shop) as channel:
        whole = await register(channel, request("c1", output=1)).read()
        part = await register(channel, request("c2", output=1, apps=["a"])).read()
        none = await register(channel, request("c3", output=1, clusters=["edge+c9"])).read()
    assert [d.app.app for d in whole.details] == ["a", "b"]
    assert [d.app.app for d in part.details] == ["a"]
    assert (whole.statusValue, part.statusValue) == (value("NOT_READY"), value("READY"))
    assert not none.details


async def test_a_logical_cloud_has_clusters(shop: Store) -> None:
    key = {"project": "p", "logicalCloud": "lc"}
    made = message("StatusRegistration")(
        clientId="c1", lcKey=key, statusType=value("READY"), output=1
    )
    async with serving(shop) as channel:
        stream = register(channel, made.SerializeToString())
        first = await asyncio.wait_for(stream.read(), 5)
        assert first.details[0].cluster.cluster == "c1"
        assert first.statusValue == value("NOT_READY")
        assert shop.get(CLOUD) is not None


async def test_who_deregisters_is_left_alone_and_may_come_again(shop: Store) -> None:
    async with serving(shop) as channel:
        stream = register(channel, request())
        await stream.read()
        leave = channel.unary_unary(
            "/StatusNotify/StatusDeregister",
            request_serializer=message("StatusDeregistration").SerializeToString,
            response_deserializer=message("StatusDeregistrationResponse").FromString,
        )
        await leave(message("StatusDeregistration")(clientId="c1"))
        assert await asyncio.wait_for(stream.read(), 5) is grpc.aio.EOF
        assert (await register(channel, request()).read()) is not grpc.aio.EOF


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [
        (request(client=""), "INVALID_ARGUMENT", "Invalid client ID"),
        (request(kind="NOT_READY"), "INVALID_ARGUMENT", "READY or DEPLOYED"),
        (request(digKey={**KEY, "deploymentIntentGroup": "x"}), "NOT_FOUND", "not found"),
        (request(digKey=None), "NOT_FOUND", "digKey"),
    ],
)
async def test_what_cannot_be_told_is_an_error(
    shop: Store, wrong: bytes, code: str, told: str
) -> None:
    async with serving(shop) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await register(channel, wrong).read()
    assert error.value.code().name == code
    assert told in error.value.details()


async def test_the_same_client_twice_is_refused(shop: Store) -> None:
    async with serving(shop) as channel:
        first = register(channel, request())
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError, match="Duplicate client ID: c1"):
            await register(channel, request()).read()


async def test_a_port_that_is_taken_is_said_so(shop: Store) -> None:
    (port,) = processes.free_ports(1)
    server = await statusnotify.serve(shop, Settings(status_port=port))
    assert server is not None
    with pytest.raises(Unavailable, match="EMCO_STATUS_PORT"):
        await statusnotify.serve(shop, Settings(status_port=port))
    await server.stop(grace=0)
    assert await statusnotify.serve(shop, Settings(status_port=0)) is None
