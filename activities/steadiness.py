"""Whether several objects have been ready at the same time for so long, without any break."""

import asyncio
from collections.abc import Iterable
from typing import Any

from activities.clusters import Cluster
from activities.watches import Watches
from emco.domain import health
from emco.domain.status import ObjectKey

Late = dict[ObjectKey, health.Health | None]
"""What is not ready, and what is known of it; None for what is not there."""


class Steadiness:
    """Counts from the moment all are ready; a break begins the count anew."""

    def __init__(self, seconds: float, keys: Iterable[ObjectKey]) -> None:
        self._seconds = seconds
        self._late: Late = dict.fromkeys(keys)
        self._unknown = set(self._late)
        self._changed = asyncio.Condition()
        self._told: Late = {}

    async def see(self, key: ObjectKey, live: dict[str, Any] | None) -> None:
        """What a watch says of one object now."""
        verdict = health.assess(live) if live else None
        async with self._changed:
            self._unknown.discard(key)
            if verdict is not None and verdict.is_ready:
                self._late.pop(key, None)
            else:
                self._late[key] = verdict
            self._changed.notify_all()

    async def reached(self) -> None:
        """Return when nothing was late for the whole time."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._late)
            try:
                async with asyncio.timeout(self._seconds), self._changed:
                    await self._changed.wait_for(lambda: bool(self._late))
            except TimeoutError:
                return

    async def news(self) -> Late:
        """What is late, whenever that has changed; not before every object was looked at."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._unknown and self._late != self._told)
            self._told = dict(self._late)
            return self._told


async def follow(
    watches: Watches,
    cluster: Cluster,
    key: ObjectKey,
    namespace: str,
    selector: str,
    steadiness: Steadiness,
) -> None:
    """Report one object, now and after every change, until cancelled."""
    resource, located = await cluster.locate(key, namespace)
    last: object = _NEVER
    async with watches.on(cluster, resource, located.namespace, selector) as watch:
        while True:
            await watch.until(lambda: watch.get(key.name) != last)  # noqa: B023
            last = watch.get(key.name)
            await steadiness.see(key, watch.get(key.name))


_NEVER = object()
