"""Keeps one unit's row of the status projection up to date while an activity works on it.

Changes are gathered and written a few times a second at most, so that a chatty controller costs
the store nothing. A change of phase is written at once, together with those of other units that
came while the write before was under way: one transaction serves them all.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from activities.failures import is_final
from emco.domain.contracts import UnitRef
from emco.domain.errors import EmcoError
from emco.domain.health import Health
from emco.domain.names import deployment_address
from emco.domain.plan.model import Manifest
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.store import Store

FLUSH_SECONDS: Final = 0.5


class Projection:
    """Writes rows of all units of this worker, in as few transactions as their arrival allows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Address, UnitRow]] = []
        self._next: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    async def put(self, deployment: Address, row: UnitRow) -> None:
        """Return when the row is written; raises what the write raised."""
        self._waiting.append((deployment, row))
        if self._next is None:
            self._next = asyncio.ensure_future(self._write())
        await asyncio.shield(self._next)

    async def _write(self) -> None:
        async with self._turn:
            rows, self._waiting, self._next = self._waiting, [], None
            await asyncio.to_thread(self._store.put_units, rows)


class Progress:
    """The row of one unit."""

    def __init__(
        self,
        projection: Projection,
        unit: UnitRef,
        keys: Iterable[ObjectKey],
        *,
        deployed: Deployed = Deployed.PENDING,
    ) -> None:
        self._projection, self._unit = projection, unit
        self._deployment = deployment_address(unit.deployment)
        self._objects = {key: ObjectStatus(key=key, deployed=deployed) for key in keys}
        self._phase, self._since, self._message = Phase.PENDING, datetime.now(UTC), ""
        self._is_stale = False
        self._writing = asyncio.Lock()

    async def phase(self, phase: Phase, message: str = "") -> None:
        """Enter a phase; written at once."""
        self._phase, self._message, self._since = phase, message, datetime.now(UTC)
        await self._write()

    def applied(self, key: ObjectKey) -> None:
        """The object is on the cluster as planned."""
        self._set(key, deployed=Deployed.APPLIED, ready=Ready.NOT_READY, message="")

    def settled(self, key: ObjectKey) -> None:
        """The object is of a kind that is ready when it exists."""
        self._set(key, ready=Ready.READY)

    def seen(self, key: ObjectKey, live: Manifest | None, verdict: Health | None) -> None:
        """What a watch says about the object; None when it is not there."""
        if live is None or verdict is None:
            self._set(key, ready=Ready.NOT_PRESENT, message="", observed=None)
            return
        told = ": ".join(part for part in (verdict.reason, verdict.message) if part)
        ready = Ready.READY if verdict.is_ready else Ready.NOT_READY
        self._set(key, ready=ready, message=told, observed=_observed(live))

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Write changes as they come; on an error write what went wrong before it is raised on."""
        flusher = asyncio.create_task(self._flush())
        try:
            yield
        except EmcoError as error:
            await self.phase(Phase.FAILED if is_final(error) else Phase.RETRYING, str(error))
            raise
        finally:
            flusher.cancel()
            with suppress(asyncio.CancelledError):
                await flusher

    def _set(self, key: ObjectKey, **changes: Any) -> None:
        self._objects[key] = self._objects[key].model_copy(update=changes)
        self._is_stale = True

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._is_stale:
                await self._write()

    async def _write(self) -> None:
        async with self._writing:
            self._is_stale = False
            row = UnitRow(
                app=self._unit.app,
                cluster=self._unit.cluster,
                phase=self._phase,
                since=self._since,
                message=self._message,
                plan=self._unit.plan,
                objects=tuple(self._objects.values()),
            )
            await self._projection.put(self._deployment, row)


def _observed(live: Manifest) -> dict[str, Any]:
    """What status shows of a live object: identity and status, never data or spec."""
    metadata = live["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {field: metadata[field] for field in shown if field in metadata},
        "status": live.get("status") or {},
    }
