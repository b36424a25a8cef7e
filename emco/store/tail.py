"""Following the event log: one look a tenth of a second for all readers of a process, however many.

A look reads one row. New events are read once and kept in memory for a while, so that a hundred
readers at the end of the log cost the database as much as one. PostgreSQL could notify instead, but
SQLite cannot, and the time that would be gained is lost again on the way to a listener.
"""

import asyncio
from bisect import bisect_right
from typing import Final

import structlog

from emco.domain.errors import EmcoError, Forgotten
from emco.domain.events import Event
from emco.store.events import Extent, require_kept
from emco.store.store import Store

LOOK_SECONDS: Final = 0.1
AWAY_SECONDS: Final = 2.0
KEPT: Final = 5000
JUST_WRITTEN: Final = 100
"""How far back the first look reads: whoever is further behind reads for itself."""

log = structlog.get_logger("emco.tail")


class Tail:
    """The end of the log, shared by everyone in this process. Looks only while somebody waits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._extent: Extent | None = None
        self._kept: list[Event] = []
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    async def beyond(self, cursor: int, touched: int | None = None) -> Extent:
        """Return once there is something after `cursor`, or a subscription changed since `touched`."""
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._extent, self._kept = None, []  # nobody looked for a while
            self._looking = asyncio.create_task(self._look())
        try:
            async with self._changed:
                while True:
                    now = self._extent
                    if now is not None and (
                        now.last > cursor or touched not in (None, now.touched)
                    ):
                        return now
                    await self._changed.wait()
        finally:
            self._waiting -= 1

    async def after(self, cursor: int, limit: int) -> list[Event]:
        """Events after `cursor` in order; raises `Forgotten` when some of them are."""
        if self._extent is not None:
            require_kept(self._extent, cursor)
        is_fresh = self._looking is not None and not self._looking.done()
        if is_fresh and self._kept and self._kept[0].sequence <= cursor + 1:
            start = bisect_right(self._kept, cursor, key=lambda event: event.sequence)
            return self._kept[start : start + limit]
        return await asyncio.to_thread(self._store.events, cursor, limit=limit)

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        while self._waiting:
            try:
                await self._look_once()
            except EmcoError as error:
                log.warning("tail.away", reason=str(error))
                await asyncio.sleep(AWAY_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_once(self) -> None:
        now, before = await asyncio.to_thread(self._store.extent), self._extent
        if now == before:
            return
        await self._keep(now)
        async with self._changed:
            self._extent = now
            self._changed.notify_all()

    async def _keep(self, now: Extent) -> None:
        """Have the newest events in memory, without a hole between them."""
        if self._kept and self._kept[-1].sequence > now.last:
            self._kept = []  # the database is another one, from a backup
        known = self._kept[-1].sequence if self._kept else now.last - JUST_WRITTEN
        start = max(known, now.last - KEPT, now.forgotten)
        try:
            fresh = await asyncio.to_thread(self._store.events, start, limit=KEPT)
        except Forgotten:  # retention is faster than we are
            self._kept = []
            return
        whole = [*self._kept, *fresh] if start == known else fresh
        self._kept = whole[-KEPT:]
