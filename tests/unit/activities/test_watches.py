"""A watch tells its readers when it breaks, whatever broke it, and comes back by itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from activities.clusters import ApiResource, Cluster, WatchEvent
from activities.watches import Watches
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
