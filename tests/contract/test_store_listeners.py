"""How far listeners are, on both databases: kept with the subscription, and gone with it."""

from datetime import UTC, datetime

import pytest

from activities.notices import all as _every_sink  # noqa: F401  defines the sinks
from emco.domain.errors import NotFound
from emco.domain.events import EventType, Note
from emco.domain.kinds.fleet import Cluster, ClusterLabel
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.domain.subscriptions import Attempt, DeadLetter, Listener
from emco.store.listeners import ATTEMPTS_KEPT, Entry
from emco.store.store import Store
from tests.contract.conftest import CLUSTER, DEPLOYMENT, at, named

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOOK, OTHER = at(StatusSubscription, "p", "hook"), at(StatusSubscription, "p", "other")


def subscribe(store: Store, address: Address = HOOK, **spec: object) -> None:
    made = StatusSubscription.model_validate({"sink": {"type": "log"}, **spec})
    store.create(address, named(address.name), made)


def moved(cursor: int) -> Listener:
    return Listener(cursor=cursor)


def listener(store: Store, address: Address = HOOK) -> Listener | None:
    found = store.subscription(address)
    return found[1] if found else None


def up() -> UnitRow:
    key = ObjectKey(api_version="v1", kind="ConfigMap", name="m")
    one = ObjectStatus(key=key, deployed=Deployed.APPLIED, ready=Ready.READY)
    return UnitRow(app="a", cluster="edge+c1", phase=Phase.READY, since=NOW, objects=(one,))


def test_it_begins_once_with_the_state_and_where_the_log_is(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, up())
    subscribe(shop, criteria={"views": ["ready"]})
    begun = shop.begin_listening(HOOK, shop)
    shop.put_unit(DEPLOYMENT, up().model_copy(update={"phase": Phase.DRIFTED}))
    assert shop.begin_listening(HOOK, shop) == begun
    assert begun.cursor == 4
    assert [(e.type, e.target) for e in shop.snapshot_of(begun)] == [
        ("resource", "Ready"),
        ("unit", "Ready"),
    ]
    assert len(shop.snapshot_of(begun.model_copy(update={"snapshot_told": 1}))) == 1


def test_many_are_written_down_together(shop: Store) -> None:
    subscribe(shop)
    subscribe(shop, OTHER)
    gone = at(StatusSubscription, "p", "gone")
    entries = [Entry(a, lambda one, n=n: moved(n)) for n, a in enumerate((OTHER, gone, HOOK))]  # type: ignore[misc]
    found, touched = shop.change_listeners(entries)
    assert [one and one.cursor for one in found] == [0, None, 2]
    assert (listener(shop, OTHER), listener(shop)) == (moved(0), moved(2))
    assert touched == shop.extent().touched


def test_only_the_last_attempts_are_kept(shop: Store) -> None:
    subscribe(shop)
    for number in range(ATTEMPTS_KEPT + 20):
        attempt = Attempt(first=str(number), events=1, time=NOW, seconds=0)
        shop.change_listeners([Entry(HOOK, lambda one: one, [attempt])])
    kept = [attempt.first for attempt in shop.attempts(HOOK)]
    assert kept == [str(n) for n in range(ATTEMPTS_KEPT + 19, 19, -1)]


def test_everything_goes_with_the_subscription(shop: Store) -> None:
    subscribe(shop)
    shop.note(DEPLOYMENT, Note(type=EventType.HOOK))
    (event,) = shop.events(0, limit=1)
    letter = DeadLetter(event=event, reason="no", attempts=1, time=NOW)
    shop.change_listeners([Entry(HOOK, lambda one: moved(1), letters=[letter])])
    assert [one.reason for one in shop.dead_letters(HOOK)] == ["no"]
    shop.delete(HOOK)
    assert listener(shop) is None
    with pytest.raises(NotFound):
        shop.dead_letters(HOOK)
    with pytest.raises(NotFound):
        shop.change_listener(HOOK, lambda one: one)
    subscribe(shop)
    assert listener(shop) == Listener()
    assert shop.dead_letters(HOOK) == []


def test_whoever_follows_the_log_hears_of_changes_by_others(shop: Store) -> None:
    subscribe(shop)
    before = shop.extent().touched
    shop.change_listener(HOOK, lambda one: one)
    assert shop.extent().touched == before
    shop.change_listener(HOOK, lambda one: one, by_others=True)
    shop.touch_subscriptions()
    assert shop.extent().touched == before + 2


def test_subscriptions_and_labels_are_found(shop: Store) -> None:
    subscribe(shop, OTHER)
    subscribe(shop)
    assert shop.subscriptions() == [HOOK, OTHER]
    label = Address.of(ClusterLabel, [*CLUSTER.names(Cluster), "east"])
    shop.create(label, None, ClusterLabel(cluster_label="east"))
    assert shop.cluster_labels() == {"edge+c1": frozenset({"east"})}
