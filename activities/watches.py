"""One watch per cluster, kind and deployment, shared by every unit that waits: nobody polls.

A watch starts with its first reader, keeps the live objects in memory, and ends shortly after
its last reader left. When a cluster goes away the watch says so and comes back by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from activities.clusters import ApiResource, Cluster, Gone
from emco.domain.errors import EmcoError, Unavailable
from emco.domain.plan.model import Manifest

LINGER_SECONDS: Final = 5.0
BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)

log = structlog.get_logger("emco.watches")

Key = tuple[str, str, str, str, str]


class Watch:
    """The live objects of one kind in one namespace that match a selector."""

    def __init__(
        self, cluster: Cluster, resource: ApiResource, namespace: str, selector: str
    ) -> None:
        self._cluster, self._resource = cluster, resource
        self._namespace, self._selector = namespace, selector
        self._objects: dict[str, Manifest] = {}
        self._changed = asyncio.Condition()
        self._synced = False
        self.error: EmcoError | None = None
        self.readers = 0
        self.task = asyncio.create_task(self._follow())

    def get(self, name: str) -> Manifest | None:
        """The live object as last seen, or None."""
        return self._objects.get(name)

    def items(self) -> list[Manifest]:
        """All live objects as last seen."""
        return list(self._objects.values())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the first list is in and `condition`, which may look at `get`, holds.

        It is asked again after every change. Raises the watch's `error` while the cluster is away.
        """
        async with self._changed:
            while True:
                if self.error is not None:
                    raise self.error
                if self._synced and condition():
                    return
                await self._changed.wait()

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                version = await self._relist()
                failures = 0
                while True:
                    version = await self._stream(version)
            except Gone:
                continue
            except EmcoError as error:
                await self._notify(error)
            except Exception as error:  # noqa: BLE001 — its readers must hear of it, not hang
                await self._notify(
                    Unavailable(f"A watch on {self._cluster.name} broke", type(error).__name__)
                )
            log.warning("watch.interrupted", cluster=self._cluster.name, reason=str(self.error))
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _relist(self) -> str:
        items, version = await self._cluster.list_objects(
            self._resource, self._namespace, selector=self._selector
        )
        self._objects = {item["metadata"]["name"]: item for item in items}
        self._synced = True
        await self._notify(None)
        return version

    async def _stream(self, version: str) -> str:
        async for event in self._cluster.watch(
            self._resource, self._namespace, version, selector=self._selector
        ):
            metadata = event.item["metadata"]
            version = metadata["resourceVersion"]
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED":
                self._objects.pop(metadata["name"], None)
            else:
                self._objects[metadata["name"]] = event.item
            await self._notify(None)
        return version

    async def _notify(self, error: EmcoError | None) -> None:
        async with self._changed:
            self.error = error
            self._changed.notify_all()


class Watches:
    """Hands out shared watches."""

    def __init__(self) -> None:
        self._open: dict[Key, Watch] = {}

    @asynccontextmanager
    async def on(
        self, cluster: Cluster, resource: ApiResource, namespace: str, selector: str
    ) -> AsyncIterator[Watch]:
        """The watch for these objects, shared with everyone who asks for the same."""
        key = (cluster.name, resource.api_version, resource.kind, namespace, selector)
        watch = self._open.get(key)
        if watch is None or watch.task.done():
            watch = self._open[key] = Watch(cluster, resource, namespace, selector)
        watch.readers += 1
        try:
            yield watch
        finally:
            watch.readers -= 1
            if not watch.readers:
                asyncio.get_running_loop().call_later(
                    LINGER_SECONDS, self._end_if_unread, key, watch
                )

    async def close(self) -> None:
        """End every watch."""
        for watch in self._open.values():
            watch.task.cancel()
        for watch in self._open.values():
            with suppress(asyncio.CancelledError):
                await watch.task
        self._open.clear()

    def _end_if_unread(self, key: Key, watch: Watch) -> None:
        if not watch.readers and self._open.get(key) is watch:
            watch.task.cancel()
            del self._open[key]
