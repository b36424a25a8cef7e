"""Telling one listener what is new, in order, for as long as all goes well.

The store has how far a listener is; this only moves that on. What fails is tried again here when
the pause is short, and by the workflow's durable timer when it is long.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

import structlog

from activities.failures import translated
from activities.heartbeat import heartbeating
from activities.notices import all as _every_sink  # noqa: F401  defines the sinks
from activities.notices.http import GuardedHttp
from activities.notices.ledger import Ledger
from emco.domain.contracts import Delivered, Listening, Notices, Standing, Tried
from emco.domain.errors import Forgotten, NotFound
from emco.domain.events import Event, EventType, Severity
from emco.domain.guard import Allowance
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.kinds.tenancy import Project
from emco.domain.names import subscription_address
from emco.domain.notices import Sink, Undelivered, sink_named
from emco.domain.resource import Address
from emco.domain.subscriptions import (
    Attempt,
    DeadLetter,
    Due,
    Labels,
    Listener,
    in_scope,
    matches,
    needs_labels,
    pause_before_next,
    settle,
)
from emco.settings import Settings
from emco.store.listeners import ATTEMPTS_KEPT, Entry
from emco.store.store import Store
from emco.store.tail import Tail

log = structlog.get_logger("emco.notices")

READ_AT_ONCE: Final = 500
DEBOUNCED_AT_ONCE: Final = 5000
WRITE_SECONDS: Final = 0.5
"""How often the cursor is written while things go well: so much may be told twice after a crash."""

IDLE_WRITE_SECONDS: Final = 60.0
"""How often a cursor that only passed over events is written."""

BRIEF_SECONDS: Final = 10.0
"""A pause up to here is slept in the activity: a durable timer is worth its price only above."""

STILL_MOVING_SECONDS: Final = 0.5
"""How often to look whether what changes all the time has come to rest."""

SHIFT_SECONDS: Final = 3600.0
"""How long one call works: a few events of history an hour, and a fresh start now and then."""

T = TypeVar("T")


class StoredNotices(Notices):
    """Listeners of the store. At least once: what was told and not yet written down is told again."""

    def __init__(self, store: Store, tail: Tail, settings: Settings) -> None:
        self._store, self._tail, self._ledger = store, tail, Ledger(store)
        self._allowance = Allowance.parse(settings.notices_allow)
        self._timeout, self._schedule = settings.notices_timeout, settings.notices_retry
        self._http: GuardedHttp | None = None

    async def close(self) -> None:
        """Let go of all connections to listeners."""
        if self._http is not None:
            await self._http.close()

    def _outside(self) -> GuardedHttp:
        """Made by the first who needs it: it belongs to the loop that runs."""
        if self._http is None:
            self._http = GuardedHttp(self._allowance, self._timeout)
        return self._http

    async def deliver(self, listening: Listening) -> Delivered:
        """See `Notices.deliver`."""
        with translated():
            async with heartbeating():
                at = subscription_address(listening.subscription)
                until = asyncio.get_running_loop().time() + SHIFT_SECONDS
                while True:
                    # Before it is read: what changes after that must not be passed over.
                    touched = (await asyncio.to_thread(self._store.extent)).touched
                    found = await asyncio.to_thread(self._begin, at)
                    if found is None:
                        return Delivered(standing=Standing.GONE)
                    if (rest := _rest(found[1])) is not None:
                        return rest
                    if _clock() >= until:
                        return Delivered(cursor=found[1].cursor or 0)
                    sink = sink_named(found[0].sink.type)(found[0].sink, self._outside())
                    world = _World(self._store, self._ledger, self._tail, self._schedule)
                    await _Shift(world, at, *found, sink, touched).work(until)

    async def test(self, listening: Listening) -> Tried:
        """See `Notices.test`."""
        with translated():
            at = subscription_address(listening.subscription)
            found = await asyncio.to_thread(self._store.subscription, at)
            if found is None:
                raise NotFound("Status Subscription not found", f"there is no {at}")
            async with heartbeating():
                sink = sink_named(found[0].sink.type)(found[0].sink, self._outside())
                try:
                    await sink.send([_test_event(at)])
                except Undelivered as failure:
                    return Tried(failure=failure.reason)
                return Tried()

    def _begin(self, at: Address) -> tuple[StatusSubscription, Listener] | None:
        found = self._store.subscription(at)
        if found is not None and found[1].cursor is None and not found[1].paused:
            self._store.begin_listening(at, self._store)
            return self._store.subscription(at)
        return found


def _rest(listener: Listener) -> Delivered | None:
    """Why a listener is left alone, if it is."""
    cursor = listener.cursor or 0
    if listener.disabled:
        return Delivered(standing=Standing.DISABLED, cursor=cursor, note=listener.disabled)
    if listener.paused:
        return Delivered(standing=Standing.PAUSED, cursor=cursor)
    pause = (listener.retry_at - datetime.now(UTC)).total_seconds() if listener.retry_at else 0
    if pause > BRIEF_SECONDS:
        return Delivered(cursor=cursor, again_in=pause, note=listener.failure)
    return None


class _World(NamedTuple):
    """What all listeners of a worker share."""

    store: Store
    ledger: Ledger
    tail: Tail
    schedule: Sequence[float]


class _Shift:
    """Work for one listener under one version of its subscription."""

    def __init__(
        self,
        world: _World,
        at: Address,
        spec: StatusSubscription,
        listener: Listener,
        sink: Sink,
        touched: int,
    ) -> None:
        self._store, self._ledger, self._tail, self._schedule = world
        self._at, self._spec, self._listener, self._sink = at, spec, listener, sink
        self._touched = touched
        self._project = at.ancestor(StatusSubscription, Project).name
        self._cursor, self._snapshot_told = listener.cursor or 0, listener.snapshot_told
        self._told, self._failures = 0, listener.attempts
        self._attempts: list[Attempt] = []
        self._kept, self._written = self._cursor, _clock()

    async def work(self, until: float) -> None:
        """Go on until the clock says `until`, or until the subscription is to be looked at anew."""
        if self._listener.retry_at is not None:
            pause = (self._listener.retry_at - datetime.now(UTC)).total_seconds()
            await asyncio.sleep(max(0.0, pause))
        try:
            await self._tell_snapshot()
            while _clock() < until:
                await self._go_on(until)
            await self._write()
        except _Stop:
            return

    async def _tell_snapshot(self) -> None:
        left = await asyncio.to_thread(self._store.snapshot_of, self._listener)
        for events in _chunks(left, self._spec.sink.batch):
            await self._tell([Due(event, self._cursor) for event in events])
            self._snapshot_told += len(events)

    async def _go_on(self, until: float) -> None:
        """One look at the log: tell what is due, or wait for something to come."""
        window = self._spec.debounce_seconds
        before = self._cursor
        try:
            events = await self._tail.after(before, DEBOUNCED_AT_ONCE if window else READ_AT_ONCE)
        except Forgotten:
            await self._tell_gap()
            return
        if not events:
            await self._wait(until)
            return
        mine = [e for e in events if in_scope(self._spec, self._project, e)]
        due, cursor = settle(mine, events[-1].sequence, window=window, now=datetime.now(UTC))
        labels = await self._labels()
        wanted = [one for one in due if matches(self._spec.criteria, one.event, labels)]
        for chunk in _chunks(wanted, self._spec.sink.batch):
            await self._tell(chunk)
        self._cursor = cursor
        if cursor == before:  # all of it may change again any moment
            await asyncio.sleep(min(window, STILL_MOVING_SECONDS))
            await self._write_now_and_then()

    async def _labels(self) -> Labels:
        if not needs_labels(self._spec.criteria):
            return {}
        return await asyncio.to_thread(self._store.cluster_labels)

    async def _wait(self, until: float) -> None:
        if self._attempts:
            await self._write()
        elif self._cursor != self._kept:
            await self._write_now_and_then(IDLE_WRITE_SECONDS)
        try:
            async with asyncio.timeout(min(until - _clock(), IDLE_WRITE_SECONDS)):
                now = await self._tail.beyond(self._cursor, self._touched)
        except TimeoutError:
            return
        if now.touched != self._touched:
            await self._write()
            raise _Stop

    async def _tell_gap(self) -> None:
        forgotten = (await asyncio.to_thread(self._store.extent)).forgotten
        gap = Event(
            sequence=forgotten,
            project=self._project,
            type=EventType.GAP,
            source=str(self._cursor + 1),
            target=str(forgotten),
            message="these events were forgotten before you had read them; look at the status",
            severity=Severity.WARNING,
            time=datetime.now(UTC),
        )
        await self._tell([Due(gap, forgotten)])
        self._cursor = forgotten

    async def _tell(self, chunk: Sequence[Due]) -> None:
        """One request; raises `_Stop` when it failed, with everything written down."""
        events = [one.event for one in chunk]
        began = _clock()
        try:
            await self._sink.send(events)
        except Undelivered as failure:
            self._attempts.append(_attempt(events, _clock() - began, failure.reason))
            await self._failed(chunk, failure)
            raise _Stop from None
        self._attempts.append(_attempt(events, _clock() - began))
        self._told, self._failures = self._told + len(events), 0
        self._cursor = chunk[-1].cursor
        await self._write_now_and_then()

    async def _write_now_and_then(self, seconds: float = WRITE_SECONDS) -> None:
        if _clock() - self._written > seconds:
            await self._write()

    async def _write(self) -> None:
        """Keep how far it is; raises `_Stop` when somebody changed something meanwhile."""
        now = await self._change(self._advanced)
        if now.epoch != self._listener.epoch or now.paused or now.disabled:
            raise _Stop

    async def _failed(self, chunk: Sequence[Due], failure: Undelivered) -> None:
        now = datetime.now(UTC)
        attempts = self._failures + 1
        pause = pause_before_next(attempts, self._schedule, failure.retry_after)
        letters: list[DeadLetter] = []
        trouble: dict[str, object] = {"attempts": attempts, "failure": failure.reason}
        if failure.for_good:
            trouble["disabled"] = failure.reason
        elif pause is not None:
            trouble["retry_at"] = now + timedelta(seconds=pause)
        else:
            letters = [
                DeadLetter(event=one.event, reason=failure.reason, attempts=attempts, time=now)
                for one in chunk
            ]
            trouble["attempts"] = 0
            self._cursor = chunk[-1].cursor
            self._snapshot_told += sum(1 for one in chunk if one.event.snapshot)
            log.warning("notices.given_up", subscription=self._at.path, reason=failure.reason)

        def change(listener: Listener) -> Listener:
            advanced = self._advanced(listener)
            if listener.epoch != self._listener.epoch:
                return advanced
            return advanced.model_copy(update={**trouble, "dead": advanced.dead + len(letters)})

        await self._change(change, letters)

    def _advanced(self, listener: Listener) -> Listener:
        counted = {"delivered": listener.delivered + self._told}
        if listener.epoch != self._listener.epoch:  # somebody else says where it goes on
            return listener.model_copy(update=counted)
        return listener.model_copy(
            update={
                **counted,
                "cursor": max(listener.cursor or 0, self._cursor),
                "snapshot_told": max(listener.snapshot_told, self._snapshot_told),
                "attempts": 0,
                "failure": "",
                "retry_at": None,
            }
        )

    async def _change(
        self, change: Callable[[Listener], Listener], letters: Sequence[DeadLetter] = ()
    ) -> Listener:
        entry = Entry(self._at, change, self._attempts[-ATTEMPTS_KEPT:], letters)
        now, touched = await self._ledger.write(entry)
        self._told, self._attempts = 0, []
        self._kept, self._written = self._cursor, _clock()
        if now is None or touched != self._touched:
            raise _Stop
        return now


class _Stop(Exception):
    """The subscription is to be looked at anew."""


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _attempt(events: Sequence[Event], seconds: float, failure: str = "") -> Attempt:
    return Attempt(
        first=events[0].id,
        events=len(events),
        time=datetime.now(UTC),
        seconds=round(seconds, 3),
        failure=failure,
    )


def _test_event(at: Address) -> Event:
    now = datetime.now(UTC)
    return Event(
        sequence=0,
        project=at.ancestor(StatusSubscription, Project).name,
        type=EventType.TEST,
        message=f"somebody tries the subscription {at.name}",
        time=now,
    )
