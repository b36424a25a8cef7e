"""One listener over the real store: nothing missed, nothing out of order, and what happens when it does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.notices import delivery
from activities.notices.delivery import StoredNotices
from emco.domain.contracts import Delivered, Listening, Standing
from emco.domain.events import EventType, Note, Severity
from emco.domain.kinds.fleet import Cluster, ClusterLabel
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address, Metadata
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.domain.subscriptions import Listener
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from emco.store.tail import Tail
from tests.contract.conftest import CLUSTER, DEPLOYMENT, shop
from tests.receivers import Receiver, Request, serving

AT = Address.of(StatusSubscription, ["p", "hook"])
LISTENING = Listening(subscription="p/hook")
SECRET = "whsec_" + "a2V5" * 8
RETRY = (0.05, 0.1)

_shop = shop  # the fixture


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path / 'emco.db'}", keys=Keyring([bytes(32)]))
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path, notices_allow="127.0.0.0/8", notices_retry=RETRY, notices_timeout=2
    )


def subscribe(store: Store, url: str, *, sink: dict[str, Any] | None = None, **spec: Any) -> None:
    told = {"type": "webhook", "url": url, "signingSecrets": [SECRET], **(sink or {})}
    made = StatusSubscription.model_validate({"sink": told, **spec})
    store.create(AT, Metadata(name="hook"), made)


@asynccontextmanager
async def delivering(store: Store, settings: Settings) -> AsyncIterator["asyncio.Task[Delivered]"]:
    """A worker's part in it, ended as a crash would."""
    tail, environment = Tail(store), ActivityEnvironment()
    notices = StoredNotices(store, tail, settings)
    task = asyncio.ensure_future(environment.run(notices.deliver, LISTENING))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await notices.close()
        await tail.close()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def hook(number: int, app: str = "a", **more: Any) -> Note:
    return Note(type=EventType.HOOK, app=app, cluster="edge+c1", target=str(number), **more)


def listener(store: Store) -> Listener:
    found = store.subscription(AT)
    assert found is not None
    return found[1]


def targets(receiver: Receiver) -> list[str]:
    return [event["data"]["to"] for event in receiver.taken]


async def test_a_listener_begins_with_the_state_and_hears_of_every_change(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    key = ObjectKey(api_version="v1", kind="ConfigMap", name="cm")
    status = ObjectStatus(key=key, deployed=Deployed.APPLIED, ready=Ready.READY)
    now = datetime.now(UTC)
    row = UnitRow(app="a", cluster="edge+c1", phase=Phase.READY, since=now, objects=(status,))
    shop.put_unit(DEPLOYMENT, row)
    subscribe(shop, receiver.url)
    async with delivering(shop, settings):
        await until(lambda: len(receiver.taken) == 4)
        shop.note(DEPLOYMENT, hook(1))
        await until(lambda: len(receiver.taken) == 5)
    assert targets(receiver) == ["Applied", "Ready", "Applied", "Ready", "1"]
    assert [e["data"].get("snapshot", 0) for e in receiver.taken] == [1, 2, 3, 4, 0]


async def test_what_happened_before_it_began_and_is_over_is_not_told(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    shop.note(DEPLOYMENT, hook(1))
    subscribe(shop, receiver.url, snapshot=False)
    async with delivering(shop, settings):
        await until(lambda: listener(shop).cursor is not None)
        shop.note(DEPLOYMENT, hook(2))
        await until(lambda: len(receiver.taken) == 1)
    assert targets(receiver) == ["2"]


async def test_a_crash_at_any_moment_loses_nothing_and_repeats_only_the_same_ids(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, *(hook(n) for n in range(60)))
    for stop in range(7, 60, 7):
        async with delivering(shop, settings):
            await until(lambda stop=stop: len(receiver.ids) >= stop)  # type: ignore[misc]
    async with delivering(shop, settings):
        await until(lambda: len(receiver.ids) == 60)
    assert receiver.ids == [str(n) for n in range(1, 61)]


async def test_what_fails_is_tried_again_and_holds_up_what_comes_after(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url)
    receiver.answer = lambda number, request: (500 if number % 3 == 2 else 204, {})
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, *(hook(n) for n in range(10)))
    async with delivering(shop, settings):
        await until(lambda: len(receiver.taken) == 10)
        await until(lambda: listener(shop).cursor == 10)
    assert targets(receiver) == [str(n) for n in range(10)]
    ids = [request.headers["webhook-id"] for request in receiver.asked]
    assert len(ids) > len(set(ids)) == 10
    assert listener(shop).delivered == 10
    assert listener(shop).dead == 0


async def test_after_the_limit_an_event_is_a_dead_letter_and_the_next_are_told(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    def refuse_two(number: int, request: Request) -> tuple[int, dict[str, str]]:
        return (500 if request.events[0]["data"]["to"] == "2" else 204), {}

    receiver.answer = refuse_two
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, *(hook(n) for n in range(1, 5)))
    async with delivering(shop, settings):
        await until(lambda: targets(receiver) == ["1", "3", "4"])
        await until(lambda: listener(shop).cursor == 4)
    (letter,) = shop.dead_letters(AT)
    assert (letter.event.target, letter.reason) == ("2", "it answered 500")
    assert letter.attempts == len(RETRY) + 1
    assert listener(shop).dead == 1
    failures = [a.failure for a in shop.attempts(AT) if a.failure]
    assert failures == ["it answered 500"] * 3


async def test_410_disables_and_says_so(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answer = lambda number, request: (410, {})
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, hook(1), hook(2))
    async with delivering(shop, settings) as task:
        done = await asyncio.wait_for(task, 10)
    assert done.standing is Standing.DISABLED
    assert done.note == "it answered 410"
    assert len(receiver.asked) == 1
    assert listener(shop).cursor == 0


async def test_a_long_pause_is_left_to_the_workflow(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answer = lambda number, request: (503, {"retry-after": "120"})
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, hook(1))
    async with delivering(shop, settings) as task:
        done = await asyncio.wait_for(task, 10)
    assert done.standing is Standing.LISTENING
    assert 110 < done.again_in <= 120
    assert listener(shop).failure == "it answered 503"


async def test_attempts_are_counted_over_a_crash(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answer = lambda number, request: (500, {})
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, hook(1))
    slow = settings.model_copy(update={"notices_retry": (20.0, 20.0)})
    async with delivering(shop, slow) as task:
        await asyncio.wait_for(task, 10)
    shop.change_listener(AT, lambda one: one.model_copy(update={"retry_at": None}))
    async with delivering(shop, slow) as task:
        await asyncio.wait_for(task, 10)
    assert listener(shop).attempts == 2


async def test_a_replay_in_the_middle_goes_back(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, *(hook(n) for n in range(3)))

    def back(one: Listener) -> Listener:
        return one.model_copy(update={"cursor": 1, "epoch": one.epoch + 1})

    async with delivering(shop, settings):
        await until(lambda: len(receiver.taken) == 3)
        shop.change_listener(AT, back, by_others=True)
        await until(lambda: len(receiver.taken) == 5)
    assert [e["id"] for e in receiver.taken] == ["1", "2", "3", "2", "3"]


@pytest.mark.parametrize("what", ["pause", "delete"])
async def test_who_is_paused_or_deleted_hears_no_more(
    shop: Store, settings: Settings, receiver: Receiver, what: str
) -> None:
    subscribe(shop, receiver.url)
    async with delivering(shop, settings) as task:
        await until(lambda: listener(shop).cursor is not None)
        if what == "pause":
            shop.change_listener(
                AT, lambda one: one.model_copy(update={"paused": True}), by_others=True
            )
        else:
            shop.delete(AT)
            shop.touch_subscriptions()
        done = await asyncio.wait_for(task, 5)
    assert done.standing is (Standing.PAUSED if what == "pause" else Standing.GONE)


async def test_changed_criteria_count_from_the_next_event_on(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url, criteria={"apps": ["a"]})
    async with delivering(shop, settings):
        await until(lambda: listener(shop).cursor is not None)
        shop.note(DEPLOYMENT, hook(1, "a"), hook(2, "b"))
        await until(lambda: targets(receiver) == ["1"])
        stored = shop.get(AT)
        assert isinstance(stored.spec, StatusSubscription)
        changed = {"criteria": stored.spec.criteria.model_copy(update={"apps": ["b"]})}
        shop.replace(AT, stored.metadata, stored.spec.model_copy(update=changed))
        shop.touch_subscriptions()
        await asyncio.sleep(0.4)
        shop.note(DEPLOYMENT, hook(3, "a"), hook(4, "b"))
        await until(lambda: targets(receiver) == ["1", "4"])


async def test_labels_of_clusters_are_looked_up(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    label = Address.of(ClusterLabel, [*CLUSTER.names(Cluster), "east"])
    shop.create(label, None, ClusterLabel(cluster_label="east"))
    subscribe(shop, receiver.url, criteria={"clusters": [{"clusterLabel": "east"}]})
    async with delivering(shop, settings):
        await until(lambda: listener(shop).cursor is not None)
        other = Note(type=EventType.HOOK, app="a", cluster="edge+c2", target="2")
        shop.note(DEPLOYMENT, other, hook(1))
        await until(lambda: targets(receiver) == ["1"])


async def test_a_listener_that_fell_behind_is_told_of_the_gap(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url)
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, *(hook(n) for n in range(1, 9)))
    shop.forget_events(before=datetime(2000, 1, 1, tzinfo=UTC), keep=3)
    async with delivering(shop, settings):
        await until(lambda: len(receiver.taken) == 4)
    gap = receiver.taken[0]
    assert gap["type"] == "io.emco.gap"
    assert (gap["data"]["from"], gap["data"]["to"]) == ("1", "5")
    assert targets(receiver)[1:] == ["6", "7", "8"]


async def test_batches_are_as_large_as_the_listener_wants(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url, sink={"batch": 4})
    shop.begin_listening(AT, shop)
    shop.note(DEPLOYMENT, *(hook(n) for n in range(10)))
    async with delivering(shop, settings):
        await until(lambda: len(receiver.taken) == 10)
    assert [len(request.events) for request in receiver.asked] == [4, 4, 2]


async def test_what_flaps_within_the_window_is_told_once(
    shop: Store, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "STILL_MOVING_SECONDS", 0.05)
    subscribe(shop, receiver.url, debounceSeconds=0.5)
    shop.begin_listening(AT, shop)
    flap = [
        Note(type=EventType.UNIT, app="a", source=s, target=t, severity=Severity.INFO)
        for s, t in (("Ready", "NotReady"), ("NotReady", "Ready"), ("Ready", "NotReady"))
    ]
    async with delivering(shop, settings):
        for note in flap:
            shop.note(DEPLOYMENT, note)
        await until(lambda: len(receiver.taken) == 1)
        shop.note(DEPLOYMENT, flap[1])
        await until(lambda: len(receiver.taken) == 2)
    assert [(e["data"]["from"], e["data"]["to"]) for e in receiver.taken] == [
        ("Ready", "NotReady"),
        ("NotReady", "Ready"),
    ]


async def test_a_flapping_app_gives_exactly_its_pairs(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    """Whatever else happens to it, and however often a row is written again."""
    key = ObjectKey(api_version="apps/v1", kind="Deployment", name="web")

    def put(phase: Phase, ready: Ready) -> None:
        one = ObjectStatus(key=key, deployed=Deployed.APPLIED, ready=ready, observed={})
        now = datetime.now(UTC)
        row = UnitRow(app="a", cluster="edge+c1", phase=phase, since=now, objects=(one,))
        shop.put_unit(DEPLOYMENT, row)

    subscribe(shop, receiver.url, criteria={"pairs": True})
    async with delivering(shop, settings):
        await until(lambda: listener(shop).cursor is not None)
        put(Phase.APPLIED, Ready.NOT_READY)
        put(Phase.READY, Ready.READY)
        for _ in range(5):
            put(Phase.READY, Ready.NOT_READY)
            put(Phase.READY, Ready.NOT_READY)
            put(Phase.READY, Ready.READY)
        put(Phase.APPLYING, Ready.NOT_READY)
        put(Phase.READY, Ready.READY)
        await until(lambda: len(receiver.taken) == 10)
        await asyncio.sleep(0.3)
    assert targets(receiver) == ["failed", "recovered"] * 5


async def test_a_test_event_is_told_and_moves_nothing(
    shop: Store, settings: Settings, receiver: Receiver
) -> None:
    subscribe(shop, receiver.url)
    notices = StoredNotices(shop, Tail(shop), settings)
    tried = await ActivityEnvironment().run(notices.test, LISTENING)
    assert tried.failure == ""
    assert receiver.taken[0]["type"] == "io.emco.test"
    receiver.answer = lambda number, request: (500, {})
    tried = await ActivityEnvironment().run(notices.test, LISTENING)
    assert tried.failure == "it answered 500"
    await notices.close()
    assert listener(shop).cursor is None
    assert receiver.asked[0].events[0]["id"] != receiver.asked[1].events[0]["id"]
