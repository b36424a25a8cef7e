"""The event log: derived from rows as they change, numbered without a hole, forgotten in time."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from emco.domain.errors import Forgotten
from emco.domain.events import Event, EventType, Note, View
from emco.domain.lifecycle import Lifecycle, Outcome, Progress, Verb, accept, ended
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.store import Store
from tests.contract.conftest import DEPLOYMENT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = ObjectKey(api_version="apps/v1", kind="Deployment", namespace="ns", name="web")
HOOK = Note(type=EventType.HOOK, app="a", target="done")


def row(phase: Phase, ready: Ready = Ready.NOT_PRESENT, **more: str) -> UnitRow:
    one = ObjectStatus(key=WEB, deployed=Deployed.APPLIED, ready=ready, observed={})
    return UnitRow(app="a", cluster="edge+c1", phase=phase, since=NOW, objects=(one,), **more)


def told(events: list[Event]) -> list[tuple[str, ...]]:
    return [(e.type, e.view, e.source, e.target) for e in events]


def read(store: Store, after: int = 0) -> list[Event]:
    return store.events(after, limit=1000)


def test_rows_make_events_in_the_same_transaction(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, row(Phase.READY, Ready.READY))
    shop.put_unit(DEPLOYMENT, row(Phase.READY, Ready.READY, message="still"))
    assert told(read(shop)) == [
        ("resource", "deployed", "Pending", "Applied"),
        ("resource", "ready", "NotPresent", "Ready"),
        ("unit", "deployed", "", "Applied"),
        ("unit", "ready", "", "Ready"),
    ]
    first = read(shop)[0]
    assert (first.project, first.deployment, first.logical_cloud) == ("p", "p/ca/v1/d", "lc")
    assert (first.app, first.cluster, first.resource) == ("a", "edge+c1", WEB)


def test_an_event_knows_its_operation_revision_and_status_context(shop: Store) -> None:
    def begin(life: Lifecycle) -> Lifecycle:
        approved = accept(life, Verb.APPROVE, "d", now=NOW)
        return accept(approved, Verb.INSTANTIATE, "d", now=NOW, operation="op1")

    shop.change_lifecycle(DEPLOYMENT, begin)
    shop.put_unit(DEPLOYMENT, row(Phase.APPLYING))
    shop.change_lifecycle(DEPLOYMENT, lambda life: ended(life, Outcome.DONE, now=NOW))
    events = read(shop)
    assert [e.target for e in events if e.type is EventType.OPERATION] == [
        Progress.INSTANTIATING,
        Progress.INSTANTIATED,
    ]
    assert {(e.operation, e.revision, e.status_context) for e in events} == {("op1", 1, "op1")}


def test_what_is_rolled_back_leaves_no_event_and_no_hole(shop: Store) -> None:
    def fail(life: Lifecycle) -> Lifecycle:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        shop.change_lifecycle(DEPLOYMENT, fail)
    shop.note(DEPLOYMENT, HOOK)
    assert [e.sequence for e in read(shop)] == [1]


def test_numbers_are_seen_in_order_and_without_a_hole(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    """A reader that follows the log while many write never sees a number before a smaller one."""
    writers, each = 6, 20
    stop = threading.Event()
    seen: list[int] = []

    def write(number: int) -> None:
        own = open_store()
        for step in range(each):
            own.note(DEPLOYMENT, *[HOOK] * (1 + (number + step) % 3))

    def follow() -> None:
        while True:
            last_look = stop.is_set()
            new = [e.sequence for e in shop.events(seen[-1] if seen else 0, limit=7)]
            seen.extend(new)
            if last_look and not new:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reader.join()
    assert seen == list(range(1, shop.extent().last + 1))
    assert len(seen) >= writers * each


def test_events_outlive_their_deployment(shop: Store) -> None:
    shop.note(DEPLOYMENT, HOOK)
    shop.delete(DEPLOYMENT)
    assert [e.deployment for e in read(shop)] == ["p/ca/v1/d"]


def test_the_end_of_a_unit_is_told(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, row(Phase.READY, Ready.READY))
    before = shop.extent().last
    shop.drop_unit(DEPLOYMENT, "edge+c1", "a")
    shop.drop_unit(DEPLOYMENT, "edge+c1", "a")
    assert told(read(shop, before)) == [
        ("resource", "deployed", "Applied", "Deleted"),
        ("resource", "ready", "Ready", "NotPresent"),
        ("unit", "deployed", "Applied", "Deleted"),
        ("unit", "ready", "Ready", "NotPresent"),
    ]


def test_what_was_told_survives_an_announcement(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, row(Phase.READY, Ready.READY))
    before = shop.extent().last
    fresh = UnitRow(app="a", cluster="edge+c1", since=NOW, plan="p2", objects=())
    shop.announce(DEPLOYMENT, [fresh])
    shop.put_unit(DEPLOYMENT, row(Phase.READY, Ready.READY, plan="p2"))
    assert told(read(shop, before)) == []


def test_events_are_of_a_project_or_a_deployment(shop: Store) -> None:
    shop.note(DEPLOYMENT, HOOK)
    assert len(shop.events(0, limit=9, project="p")) == 1
    assert len(shop.events(0, limit=9, deployment="p/ca/v1/d")) == 1
    assert shop.events(0, limit=9, project="other") == []
    assert shop.events(0, limit=9, deployment="p/ca/v1/other") == []


def test_old_events_are_forgotten_and_a_late_reader_is_told(shop: Store) -> None:
    for _ in range(10):
        shop.note(DEPLOYMENT, HOOK)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    assert shop.forget_events(before=long_ago, keep=4) == 6
    assert shop.forget_events(before=long_ago, keep=4) == 0
    assert [e.sequence for e in read(shop, 6)] == [7, 8, 9, 10]
    with pytest.raises(Forgotten, match="the oldest there is now is 7"):
        read(shop, 5)
    assert shop.forget_events(before=datetime.now(UTC) + timedelta(days=1), keep=100) == 4
    assert shop.extent()[:2] == (10, 10)
    shop.note(DEPLOYMENT, HOOK)
    assert [e.sequence for e in read(shop, 10)] == [11]


def test_a_time_names_a_place_in_the_log(shop: Store) -> None:
    shop.note(DEPLOYMENT, HOOK)
    between = datetime.now(UTC)
    shop.note(DEPLOYMENT, HOOK)
    assert shop.sequence_at(between) == 1
    assert shop.sequence_at(between - timedelta(days=1)) == 0
    assert shop.sequence_at(between + timedelta(days=1)) == 2


def test_an_event_comes_back_as_it_went_in(shop: Store) -> None:
    note = Note(
        type=EventType.GATE, view=View.READY, app="a", cluster="edge+c1", resource=WEB,
        source="waiting", target="open", reason="Ready", message="b is ready",
    )  # fmt: skip
    shop.note(DEPLOYMENT, note)
    (event,) = read(shop)
    assert Note.model_validate(event.model_dump()) == note
    assert "from" in event.wire()
