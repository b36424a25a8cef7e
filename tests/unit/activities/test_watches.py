"""A watch tells its readers what changes and when it breaks, and comes back by itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from activities.clusters import ApiResource, Cluster, Gone, WatchEvent
from activities.watches import Feed, Watches
from emco.domain.errors import EmcoError, NotFound, Unavailable

RESOURCE = ApiResource("v1", "ConfigMap", "configmaps", True, frozenset({"list", "watch"}))
ITEM = {"metadata": {"name": "x", "namespace": "ns", "resourceVersion": "1"}}


class Faulty:
    """A cluster whose first list fails as the test wants, and whose watches never end."""

    name = "c1"

    def __init__(self, fault: Exception) -> None:
        self._faults = [fault]

    async def list_objects(self, *_: object, **__: object) -> tuple[list[dict[str, object]], str]:
        if self._faults:
            raise self._faults.pop()
        return [cast("dict[str, object]", ITEM)], "1"

    async def watch(self, *_: object, **__: object) -> AsyncIterator[WatchEvent]:
        await asyncio.Event().wait()
        yield WatchEvent("BOOKMARK", ITEM)


@pytest.mark.parametrize(
    ("fault", "told"),
    [(NotFound("gone", "c1"), NotFound), (ValueError("not JSON"), Unavailable)],
)
async def test_readers_hear_of_a_fault_instead_of_hanging(
    fault: Exception, told: type[EmcoError]
) -> None:
    watches = Watches()
    cluster = cast("Cluster", Faulty(fault))
    async with asyncio.timeout(10), watches.on(cluster, RESOURCE, "ns", "") as watch:
        with pytest.raises(told):
            await watch.until(lambda: watch.get("x") is not None)
        while watch.error is not None:
            await asyncio.sleep(0.05)
        await watch.until(lambda: watch.get("x") is not None)
    await watches.close()


def config_map(name: str, version: int, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Scripted:
    """A cluster that answers lists and watches as the test wrote them; the last watch never ends."""

    name = "c1"

    def __init__(self, *script: list[dict[str, Any]] | list[WatchEvent] | Exception) -> None:
        self._script = list(script)
        self.lists: list[dict[str, object]] = []

    async def list_objects(self, *_: object, **how: object) -> tuple[list[dict[str, Any]], str]:
        self.lists.append(how)
        items = cast("list[dict[str, Any]]", self._script.pop(0))
        return items, str(100 * len(self.lists))

    async def watch(self, *_: object, **__: object) -> AsyncIterator[WatchEvent]:
        step = self._script.pop(0) if self._script else []
        if isinstance(step, Exception):
            raise step
        for event in cast("list[WatchEvent]", step):
            yield event
            await asyncio.sleep(0)  # whoever is woken by it has its turn
        await asyncio.Event().wait()


async def changes_of(feed: Feed, bell: asyncio.Event) -> dict[str, tuple[int, bool]]:
    """Name to version and whether it is gone, once the bell has rung and all is quiet."""
    async with asyncio.timeout(5):
        await bell.wait()
    await asyncio.sleep(0.05)
    bell.clear()
    changes, _ = feed.take()
    return {name: (change.version, change.is_gone) for (_, name), change in changes.items()}


async def test_a_feed_begins_with_all_there_is_and_goes_on_with_what_changes() -> None:
    watches, bell = Watches(), asyncio.Event()
    events = [
        WatchEvent("MODIFIED", config_map("x", 7)),
        WatchEvent("DELETED", config_map("y", 8)),
        WatchEvent("BOOKMARK", config_map("z", 9)),
    ]
    scripted = Scripted([config_map("x", 1), config_map("y", 2)], events)
    async with watches.ours(cast("Cluster", scripted), RESOURCE) as watch:
        feed = watch.feed(bell)
        assert await changes_of(feed, bell) == {"x": (7, False), "y": (8, True)}
        watch.leave(feed)
    await watches.close()


async def test_what_went_while_nobody_watched_is_gone_at_the_version_of_the_list() -> None:
    watches, bell = Watches(), asyncio.Event()
    before, after = [config_map("x", 1), config_map("y", 2)], [config_map("x", 1)]
    scripted = Scripted(before, Gone("too old"), after)
    async with watches.ours(cast("Cluster", scripted), RESOURCE) as watch:
        feed = watch.feed(bell)
        assert await changes_of(feed, bell) == {"x": (1, False), "y": (200, True)}
        assert watch.get("y", "ns") is None
    await watches.close()


async def test_of_settled_kinds_only_metadata_is_asked_for_and_kept() -> None:
    watches = Watches()
    scripted = Scripted([config_map("x", 1, secret="s")])
    async with asyncio.timeout(5), watches.ours(cast("Cluster", scripted), RESOURCE) as watch:
        await watch.until(lambda: True)
        assert "data" not in (watch.get("x", "ns") or {})
    assert scripted.lists == [{"selector": "emco.io/deployment", "metadata_only": True}]
    await watches.close()


async def test_who_waits_for_health_joins_the_wide_watch_when_it_runs() -> None:
    watches = Watches()
    cluster = cast("Cluster", Scripted([config_map("x", 1)], [], [config_map("x", 1)], []))
    async with asyncio.timeout(5), watches.ours(cluster, RESOURCE) as wide:
        await wide.until(lambda: True)
        async with watches.for_health(cluster, RESOURCE, "ns", "emco.io/deployment=d") as watch:
            assert watch is wide
    await watches.close()
    async with watches.for_health(cluster, RESOURCE, "ns", "emco.io/deployment=d") as narrow:
        assert narrow is not wide
    await watches.close()


async def test_who_waits_at_one_place_is_not_woken_by_others() -> None:
    watches, asked = Watches(), 0
    events = [WatchEvent("MODIFIED", config_map("other", n)) for n in range(5, 50)]
    events.append(WatchEvent("MODIFIED", config_map("x", 60, done="yes")))
    cluster = cast("Cluster", Scripted([config_map("x", 1)], events))
    async with asyncio.timeout(5), watches.on(cluster, RESOURCE, "ns", "") as watch:

        def is_done() -> bool:
            nonlocal asked
            asked += 1
            return bool((watch.get("x") or {}).get("data"))

        await watch.until(is_done, at=("ns", "x"))
    assert asked <= 3
    await watches.close()
