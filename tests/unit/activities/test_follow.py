"""One cluster followed over a real store; the cluster says what the test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import reach
from activities.clusters import ApiResource, Clusters, WatchEvent
from activities.follow import ClusterStatus
from activities.watches import Watches
from emco.domain.contracts import Followed, StatusRef
from emco.domain.errors import Unavailable
from emco.domain.names import short_name
from emco.domain.plan import manifests
from emco.domain.status import Deployed, Footprint, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.contract.conftest import CLUSTER, DEPLOYMENT, fill

HERE = "edge+c1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAP = ApiResource("v1", "ConfigMap", "configmaps", True, frozenset({"list", "watch"}))


class Member:
    """A cluster with ConfigMaps; it may fall silent."""

    name = HERE

    def __init__(self) -> None:
        self.maps: dict[str, int] = {}
        self.version = 100
        self.is_silent = False
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()

    async def resource(self, *_: object) -> ApiResource:
        return MAP

    async def allowed(self, *_: object) -> bool:
        return True

    async def probe(self) -> None:
        if self.is_silent:
            raise Unavailable("The cluster edge+c1 does not answer")

    async def list_objects(self, *_: object, **__: object) -> tuple[list[dict[str, Any]], str]:
        await self.probe()
        return [config_map(name, version) for name, version in self.maps.items()], str(self.version)

    async def watch(self, *_: object, **__: object) -> AsyncIterator[WatchEvent]:
        while True:
            yield await self.events.get()


def config_map(name: str, version: int) -> dict[str, Any]:
    labels = {
        manifests.DEPLOYMENT_LABEL: manifests.short_hash(short_name(DEPLOYMENT)),
        manifests.APP_LABEL: "a",
    }
    metadata = {
        "name": name,
        "namespace": "ns",
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A unit with the ConfigMaps x and y, both ready."""
    made = Store.open(f"sqlite:///{tmp_path / 'emco.db'}", keys=Keyring([bytes(32)]))
    fill(made)
    keys = tuple(ObjectKey(api_version="v1", kind="ConfigMap", name=name) for name in "xy")
    made.claim(DEPLOYMENT, [Footprint(app="a", cluster=HERE, namespace="ns", objects=keys)])
    objects = tuple(
        ObjectStatus(key=key, deployed=Deployed.APPLIED, ready=Ready.READY, seen=50) for key in keys
    )
    more: dict[str, Any] = {"phase": Phase.READY, "since": NOW, "namespace": "ns"}
    made.put_unit(DEPLOYMENT, UnitRow(app="a", cluster=HERE, objects=objects, **more))
    yield made
    made.close()


Running = tuple[ActivityEnvironment, "asyncio.Future[Followed]"]


@asynccontextmanager
async def followed(store: Store, member: Member) -> AsyncIterator[Running]:
    """The activity runs for as long as the block does."""

    class Fleet:
        async def get(self, _: str) -> Member:
            return member

    watches, environment = Watches(), ActivityEnvironment()
    status = ClusterStatus(store, cast("Clusters", Fleet()), watches)
    running = asyncio.ensure_future(environment.run(status.follow, StatusRef(cluster=HERE)))
    try:
        yield environment, running
    finally:
        environment.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await watches.close()


def states(store: Store) -> dict[str, Ready]:
    return {o.key.name: o.ready for row in store.units(DEPLOYMENT) for o in row.objects}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_it_begins_with_what_happened_while_nobody_looked(store: Store) -> None:
    member = Member()
    member.maps = {"x": 50}
    async with followed(store, member):
        await until(lambda: states(store) == {"x": Ready.READY, "y": Ready.NOT_PRESENT})
        (unit,) = store.units(DEPLOYMENT)
        assert (unit.phase, unit.message) == (Phase.DEGRADED, "ConfigMap y: NotPresent")


async def test_it_goes_on_with_what_happens(store: Store) -> None:
    member = Member()
    member.maps = {"x": 50, "y": 50}
    async with followed(store, member):
        await until(lambda: store.facts(CLUSTER) is not None)
        member.events.put_nowait(WatchEvent("DELETED", config_map("x", 101)))
        await until(lambda: states(store)["x"] is Ready.NOT_PRESENT)
        member.events.put_nowait(WatchEvent("ADDED", config_map("x", 102)))
        await until(lambda: states(store)["x"] is Ready.READY)


async def test_a_cluster_made_anew_is_believed(store: Store) -> None:
    member = Member()
    member.version = 7
    async with followed(store, member):
        await until(lambda: set(states(store).values()) == {Ready.NOT_PRESENT})


async def test_a_silent_cluster_is_told_of_once_and_again_when_it_speaks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "AWAY_SECONDS", 0.2)
    monkeypatch.setattr(reach, "PROBE_SECONDS", 0.1)
    member = Member()
    member.maps = {"x": 50, "y": 50}
    async with followed(store, member):
        await until(lambda: (store.facts(CLUSTER) or {}).get("connectivity") == "Available")
        member.is_silent = True
        await until(lambda: set(states(store).values()) == {Ready.UNKNOWN})
        facts = store.facts(CLUSTER) or {}
        assert facts["connectivity"] == "Retrying"
        assert datetime.fromisoformat(facts["since"]) > NOW
        (unit,) = store.units(DEPLOYMENT)
        assert unit.phase is Phase.READY, "not knowing is no change of the unit"
        assert "does not answer since" in unit.message
        member.is_silent = False
        await until(lambda: set(states(store).values()) == {Ready.READY})
        (unit,) = store.units(DEPLOYMENT)
        assert unit.message == ""


async def test_it_ends_when_the_cluster_is_unused(store: Store) -> None:
    store.release(DEPLOYMENT, HERE, "a")
    async with asyncio.timeout(5), followed(store, Member()) as (_, running):
        assert await running == Followed(unused=True)


async def test_it_does_not_keep_a_worker_from_stopping(store: Store) -> None:
    async with asyncio.timeout(5), followed(store, Member()) as (environment, running):
        await asyncio.sleep(0.1)
        environment.worker_shutdown()
        with pytest.raises(ApplicationError, match="another one goes on"):
            await running
