"""Watches that are shared by everyone who waits: nobody polls.

There are two kinds. A narrow one has the whole objects of one deployment in one namespace; it
starts with its first reader and ends shortly after its last one left. The wide one of a cluster
and kind has what health needs of everything that carries our mark, in all namespaces; whoever
waits for health while it is open reads there. When a cluster goes away a watch says so and comes
back by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from activities.clusters import ApiResource, Cluster, Gone
from emco.domain.errors import EmcoError, Unavailable
from emco.domain.health import SETTLED_KINDS, essence
from emco.domain.plan.manifests import DEPLOYMENT_LABEL
from emco.domain.plan.model import Manifest

LINGER_SECONDS: Final = 5.0
BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)

log = structlog.get_logger("emco.watches")

Key = tuple[str, str, str, str, str]
Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Change:
    """What became of one object: as it is, or as it was when it went, at a resource version."""

    item: Manifest
    version: int
    is_gone: bool = False


@dataclass
class Feed:
    """What changed since its reader took it last; the bell is rung whenever something is there."""

    bell: asyncio.Event
    changes: dict[Place, Change] = field(default_factory=dict)
    listed: int = 0
    """The version of a list that came in; 0 when none did."""

    def take(self) -> tuple[dict[Place, Change], int]:
        """The changes, and the version of a list among them."""
        changes, listed = self.changes, self.listed
        self.changes, self.listed = {}, 0
        return changes, listed


class Watch:
    """The live objects of one kind, in one namespace or in all, that match a selector."""

    def __init__(
        self,
        cluster: Cluster,
        resource: ApiResource,
        namespace: str,
        selector: str,
        *,
        is_wide: bool = False,
    ) -> None:
        self._cluster, self._resource = cluster, resource
        self._namespace, self._selector = namespace, selector
        self._is_wide = is_wide
        self._bare = is_wide and resource.kind in SETTLED_KINDS
        self._objects: dict[Place, Manifest] = {}
        self._waiting: dict[Place | None, set[asyncio.Future[None]]] = {}
        self._feeds: list[Feed] = []
        self.is_synced = False
        self.error: EmcoError | None = None
        self.readers = 0
        self.task = asyncio.create_task(self._follow())

    def get(self, name: str, namespace: str | None = None) -> Manifest | None:
        """The live object as last seen, or None; in the watch's own namespace unless another is given."""
        return self._objects.get((self._namespace if namespace is None else namespace, name))

    def items(self) -> list[Manifest]:
        """All live objects as last seen."""
        return list(self._objects.values())

    async def until(self, condition: Callable[[], bool], *, at: Place | None = None) -> None:
        """Return once the first list is in and `condition`, which may look at `get`, holds.

        It is asked again after every change, or after those at one place. Raises the watch's
        `error` while the cluster is away.
        """
        while True:
            if self.error is not None:
                raise self.error
            if self.is_synced and condition():
                return
            waiting = asyncio.get_running_loop().create_future()
            others = self._waiting.setdefault(at, set())
            others.add(waiting)
            try:
                await waiting
            finally:
                others.discard(waiting)

    def feed(self, bell: asyncio.Event) -> Feed:
        """Every change from now on; it begins with all there is."""
        made = Feed(bell)
        self._feeds.append(made)
        if self.is_synced:
            self.restart()
        return made

    def leave(self, feed: Feed) -> None:
        """The feed is not read any more."""
        self._feeds.remove(feed)

    def restart(self) -> None:
        """List anew, as after a time in which nothing could arrive."""
        self.task.cancel()
        self.task = asyncio.create_task(self._follow())

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
                self._notify(error)
            except Exception as error:  # noqa: BLE001 — its readers must hear of it, not hang
                self._notify(
                    Unavailable(f"A watch on {self._cluster.name} broke", type(error).__name__)
                )
            log.warning("watch.interrupted", cluster=self._cluster.name, reason=str(self.error))
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _relist(self) -> str:
        items, version = await self._cluster.list_objects(
            self._resource,
            self._namespace,
            selector=self._selector,
            metadata_only=self._bare,
        )
        before = self._objects
        self._objects = {_place(item): self._kept(item) for item in items}
        self.is_synced = True
        for place in before.keys() - self._objects.keys():
            self._feed(place, Change(before[place], number(version), is_gone=True))
        for place, item in self._objects.items():
            self._feed(place, Change(item, number(item["metadata"]["resourceVersion"])))
        for feed in self._feeds:
            feed.listed = number(version) or 1
            feed.bell.set()
        self._notify(None)
        return version

    async def _stream(self, version: str) -> str:
        async for event in self._cluster.watch(
            self._resource,
            self._namespace,
            version,
            selector=self._selector,
            metadata_only=self._bare,
        ):
            version = event.item["metadata"]["resourceVersion"]
            if event.type == "BOOKMARK":
                continue
            place, item = _place(event.item), self._kept(event.item)
            is_gone = event.type == "DELETED"
            if is_gone:
                self._objects.pop(place, None)
            else:
                self._objects[place] = item
            self._feed(place, Change(item, number(version), is_gone))
            self._notify(None, place)
        return version

    def _kept(self, item: Manifest) -> Manifest:
        return essence(item) if self._is_wide else item

    def _feed(self, place: Place, change: Change) -> None:
        for feed in self._feeds:
            feed.changes[place] = change
            feed.bell.set()

    def _notify(self, error: EmcoError | None, *at: Place) -> None:
        """Wake who waits for a change at these places, or everyone."""
        self.error = error
        for place in (None, *at) if at else tuple(self._waiting):
            for waiting in self._waiting.pop(place, ()):
                if not waiting.done():
                    waiting.set_result(None)


class Watches:
    """Hands out shared watches."""

    def __init__(self) -> None:
        self._open: dict[Key, Watch] = {}

    @asynccontextmanager
    async def on(
        self, cluster: Cluster, resource: ApiResource, namespace: str, selector: str
    ) -> AsyncIterator[Watch]:
        """The narrow watch for these objects, shared with everyone who asks for the same."""
        async with self._shared(cluster, resource, namespace, selector) as watch:
            yield watch

    @asynccontextmanager
    async def ours(
        self, cluster: Cluster, resource: ApiResource, namespace: str = ""
    ) -> AsyncIterator[Watch]:
        """The wide watch of a kind: all of it that carries our mark, everywhere or in one namespace."""
        where = (namespace, DEPLOYMENT_LABEL)
        async with self._shared(cluster, resource, *where, is_wide=True) as watch:
            yield watch

    @asynccontextmanager
    async def for_health(
        self, cluster: Cluster, resource: ApiResource, namespace: str, selector: str
    ) -> AsyncIterator[Watch]:
        """A watch that has these objects, with what health needs of them: the wide one when it runs.

        Ask it by name and namespace.
        """
        for where in ("", namespace):
            wide = self._open.get(_key(cluster, resource, where, DEPLOYMENT_LABEL))
            if wide is not None and wide.is_synced and wide.error is None:
                async with self.ours(cluster, resource, where) as watch:
                    yield watch
                return
        async with self.on(cluster, resource, namespace, selector) as watch:
            yield watch

    @asynccontextmanager
    async def _shared(
        self, cluster: Cluster, resource: ApiResource, *where: str, **how: Any
    ) -> AsyncIterator[Watch]:
        key = _key(cluster, resource, *where)
        watch = self._open.get(key)
        if watch is None or watch.task.done():
            watch = self._open[key] = Watch(cluster, resource, *where, **how)
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


def number(version: str) -> int:
    """A resource version as a number, by which two of one object compare; 0 where it is none."""
    return int(version) if version.isdigit() else 0


def _key(cluster: Cluster, resource: ApiResource, namespace: str, selector: str) -> Key:
    return cluster.name, resource.api_version, resource.kind, namespace, selector


def _place(item: Manifest) -> Place:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
