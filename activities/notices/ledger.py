"""Writes down how far listeners are: one transaction for all who come while the one before is under way."""

import asyncio
from collections.abc import Sequence

from emco.domain.subscriptions import Listener
from emco.store.listeners import Entry
from emco.store.store import Store


class Ledger:
    """Shared by every listener of this worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Entry] = []
        self._next: asyncio.Future[tuple[Sequence[Listener | None], int]] | None = None
        self._turn = asyncio.Lock()

    async def write(self, entry: Entry) -> tuple[Listener | None, int]:
        """The listener as it is now, None when it is gone, and what `Extent.touched` is by then."""
        place = len(self._waiting)
        self._waiting.append(entry)
        if self._next is None:
            self._next = asyncio.ensure_future(self._write())
        listeners, touched = await asyncio.shield(self._next)
        return listeners[place], touched

    async def _write(self) -> tuple[Sequence[Listener | None], int]:
        async with self._turn:
            entries, self._waiting, self._next = self._waiting, [], None
            return await asyncio.to_thread(self._store.change_listeners, entries)
