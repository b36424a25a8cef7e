"""Keeps one unit's row of the status projection up to date while an activity works on it.

Changes are gathered and written a few times a second at most, so that a chatty controller costs
the store nothing. A change of phase is written at once, together with those of other units that
came while the write before was under way: one transaction serves them all.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from temporalio import activity

from activities.failures import is_final
from activities.watches import number
from emco.domain.contracts import UnitRef
from emco.domain.errors import EmcoError
from emco.domain.health import WORKLOADS, Health, with_pods
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
        manifest: str = "",
        applied: str = "",
    ) -> None:
        """`manifest` is the digest of what is wanted, `applied` of what is there completely."""
        self._projection, self._unit = projection, unit
        self._manifest, self._applied = manifest, applied
        self._deployment = deployment_address(unit.deployment)
        self._objects = {key: ObjectStatus(key=key, deployed=deployed) for key in keys}
        self._phase, self._since, self._message = Phase.PENDING, datetime.now(UTC), ""
        self._retry_at: datetime | None = None
        self._trouble: dict[str, str] = {}
        self._is_stale = False
        self._writing = asyncio.Lock()

    async def phase(self, phase: Phase, message: str = "") -> None:
        """Enter a phase; written at once."""
        self._phase, self._message, self._since = phase, message, datetime.now(UTC)
        self._retry_at = None
        await self._write()

    async def applied_all(self) -> None:
        """Everything that is wanted is on the cluster."""
        self._applied = self._manifest
        await self.phase(Phase.APPLIED)

    async def _stuck(self, error: EmcoError) -> None:
        """Say what went wrong, since when it does, and when the next try is."""
        self._phase, self._message = Phase.RETRYING, str(error)
        self._since, self._retry_at = first_scheduled(), next_try()
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
        else:
            self._set(key, **judged(live, verdict))

    def troubled(self, trouble: Mapping[str, str]) -> None:
        """What is wrong with pods, by pod name; told with the objects that own them by name."""
        if trouble != self._trouble:
            self._trouble, self._is_stale = dict(trouble), True

    def _told(self, status: ObjectStatus) -> ObjectStatus:
        if status.ready is Ready.READY or status.key.kind not in WORKLOADS:
            return status
        message = with_pods(status.message, status.key.name, self._trouble)
        return status.model_copy(update={"message": message})

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Write changes as they come; on an error write what went wrong before it is raised on."""
        flusher = asyncio.create_task(self._flush())
        try:
            yield
        except EmcoError as error:
            if is_final(error):
                await self.phase(Phase.FAILED, str(error))
            else:
                await self._stuck(error)
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
                retry_at=self._retry_at,
                plan=self._unit.plan,
                manifest=self._manifest,
                applied=self._applied,
                objects=tuple(map(self._told, self._objects.values())),
            )
            await self._projection.put(self._deployment, row)


def first_scheduled() -> datetime:
    """When the running activity was asked for: what it reports has been so since then."""
    return activity.info().scheduled_time


def next_try() -> datetime:
    """When the running activity will be tried again if it fails now."""
    info = activity.info()
    policy = info.retry_policy
    if policy is None:
        return datetime.now(UTC)
    pause = policy.initial_interval * policy.backoff_coefficient ** (info.attempt - 1)
    return datetime.now(UTC) + min(pause, policy.maximum_interval or pause)


def judged(live: Manifest, verdict: Health) -> dict[str, Any]:
    """What a row says of a live object: the same, whoever writes it."""
    return {
        "ready": Ready.READY if verdict.is_ready else Ready.NOT_READY,
        "message": verdict.told,
        "observed": _observed(live),
        "seen": number(live["metadata"]["resourceVersion"]),
    }


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
