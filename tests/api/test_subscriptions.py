"""Status subscriptions over HTTP: what is refused, what is never shown, and the verbs beside the resource."""

from typing import Any

import pytest
from httpx import Client

from emco.domain.events import EventType, Note
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address
from emco.domain.subscriptions import Attempt, DeadLetter, Listener
from emco.store.listeners import Entry
from emco.store.store import Store
from tests.api.builders import named
from tests.listeners import RecordedListeners

MANY = "/v2/projects/shop/status-subscriptions"
HOOK = f"{MANY}/hook"
AT = Address.of(StatusSubscription, ["shop", "hook"])
DEPLOYMENT = Address.of(Deployment, ["shop", "boutique", "v1", "prod"])
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SINK = {"type": "webhook", "url": "https://example.com/e", "signingSecrets": [SECRET]}
MASK = "**********"


def post(shop: Client, sink: dict[str, Any], **spec: Any) -> Any:
    return shop.post(MANY, json=named("hook", sink=sink, **spec))


@pytest.fixture
def listeners(api: Any) -> RecordedListeners:
    made: RecordedListeners = api.listeners
    return made


def test_secrets_are_kept_and_never_shown(shop: Client, store: Store) -> None:
    sink = {**SINK, "headers": {"Authorization": "Bearer hush"}}
    answer = post(shop, sink)
    assert answer.status_code == 201, answer.text
    for text in (answer.text, shop.get(HOOK).text, shop.get(MANY).text):
        assert "hush" not in text
        assert SECRET not in text
    shown = shop.get(HOOK).json()["spec"]["sink"]
    assert shown["signingSecrets"] == [MASK]
    assert shown["headers"] == {"Authorization": MASK}
    found = store.subscription(AT)
    assert found is not None
    assert found[0].sink.signing_secrets[0].get_secret_value() == SECRET
    assert found[0].sink.headers["Authorization"].get_secret_value() == "Bearer hush"


def test_what_was_read_can_be_written_back(shop: Client, store: Store) -> None:
    post(shop, SINK)
    body = shop.get(HOOK).json()
    body["spec"]["debounceSeconds"] = 5
    assert shop.put(HOOK, json=body).status_code == 200
    found = store.subscription(AT)
    assert found is not None
    assert found[0].debounce_seconds == 5
    assert found[0].sink.signing_secrets[0].get_secret_value() == SECRET


def test_asterisks_stand_for_nothing_where_nothing_is_kept(shop: Client) -> None:
    answer = post(shop, {**SINK, "signingSecrets": [MASK]})
    assert answer.status_code == 400
    assert "spec.sink.signingSecrets[0]" in answer.json()["detail"]
    assert shop.get(HOOK).status_code == 404


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ({"type": "pigeon"}, "there is no 'pigeon'; there are: log, slack, webhook"),
        ({"type": "webhook", "signingSecrets": [SECRET]}, "give a url"),
        ({**SINK, "secretUrl": "https://example.com/x"}, "give a url"),
        ({**SINK, "signingSecrets": []}, "spec.sink.signingSecrets: a webhook is signed"),
        ({**SINK, "signingSecrets": ["hush"]}, "spec.sink.signingSecrets[0]: write whsec_"),
        ({**SINK, "signingSecrets": ["whsec_aGk="]}, "spec.sink.signingSecrets[0]: write whsec_"),
        ({**SINK, "url": "https://u:p@example.com/"}, "no credentials in it"),
        ({**SINK, "url": "ftp://example.com/"}, "write https://host/path"),
        ({**SINK, "url": "https://[::1"}, "spec.sink.url"),
        ({**SINK, "headers": {"X": "a\nb"}}, "one line of printable ASCII"),
        ({**SINK, "headers": {"X Y": "a"}}, "spec.sink.headers"),
        ({"type": "slack"}, "give a url"),
    ],
)
def test_what_a_sink_cannot_use_is_refused(shop: Client, sink: dict[str, Any], told: str) -> None:
    answer = post(shop, sink)
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert "hush" not in answer.text
    assert shop.get(HOOK).status_code == 404


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::ffff:10.0.0.1]/",
     "http://example.com/"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(shop: Client, url: str) -> None:
    answer = post(shop, {**SINK, "url": url})
    assert answer.status_code == 403
    assert "EMCO_NOTICES_ALLOW" in answer.json()["detail"]


@pytest.mark.parametrize(
    "spec",
    [
        {"deployments": ["boutique"]},
        {"criteria": {"transitions": ["Ready to NotReady"]}},
        {"criteria": {"minimumSeverity": "panic"}},
        {"criteria": {"types": ["rumour"]}},
        {"debounceSeconds": -1},
    ],
)
def test_criteria_that_say_nothing_are_refused(shop: Client, spec: dict[str, Any]) -> None:
    answer = post(shop, SINK, **spec)
    assert answer.status_code in (400, 422)
    assert next(iter(spec)) in answer.json()["detail"]


def test_whoever_works_for_it_is_told_of_every_change(
    shop: Client, store: Store, listeners: RecordedListeners
) -> None:
    before = store.extent().touched
    post(shop, SINK)
    shop.put(HOOK, json=shop.get(HOOK).json())
    shop.delete(f"{HOOK}?dryRun=true")
    shop.delete(HOOK)
    assert listeners.woken == [AT] * 3
    assert store.extent().touched == before + 3


def test_it_is_stored_although_temporal_is_away(shop: Client, listeners: RecordedListeners) -> None:
    listeners.silent = True
    assert post(shop, SINK).status_code == 201
    assert shop.get(HOOK).status_code == 200


def test_pause_and_resume(shop: Client, store: Store, listeners: RecordedListeners) -> None:
    post(shop, SINK)
    assert shop.post(f"{HOOK}/pause").json()["standing"] == "paused"
    store.change_listener(AT, lambda one: one.model_copy(update={"disabled": "it answered 410"}))
    told = shop.get(f"{HOOK}/status").json()
    assert (told["standing"], told["failure"]) == ("disabled", "it answered 410")
    assert shop.post(f"{HOOK}/resume").json()["standing"] == "listening"
    assert listeners.woken == [AT] * 3


def test_replay_moves_the_cursor_back(shop: Client, store: Store) -> None:
    post(shop, SINK)
    for _ in range(3):
        store.note(DEPLOYMENT, Note(type=EventType.HOOK))
    last = store.extent().last
    store.change_listener(AT, lambda one: one.model_copy(update={"cursor": last}))
    assert shop.post(f"{HOOK}/replay", json={"sequence": last - 1}).json()["behind"] == 2
    found = store.subscription(AT)
    assert found is not None
    assert (found[1].cursor, found[1].epoch) == (last - 2, 1)
    answer = shop.post(f"{HOOK}/replay", json={"time": "2000-01-01T00:00:00Z"})
    assert answer.json()["cursor"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ({"sequence": 1, "time": "2026-01-01T00:00:00Z"}, 400),
        ({"sequence": 0}, 400),
        ({"time": "2026-01-01T00:00:00"}, 400),
        ({"sequence": 10**9}, 409),
        ("nonsense", 422),
    ],
)
def test_a_replay_from_nowhere_is_refused(shop: Client, body: Any, code: int) -> None:
    post(shop, SINK)
    assert shop.post(f"{HOOK}/replay", json=body).status_code == code


def test_a_replay_of_what_is_forgotten_is_gone(shop: Client, store: Store) -> None:
    from datetime import UTC, datetime

    post(shop, SINK)
    store.note(DEPLOYMENT, Note(type=EventType.HOOK), Note(type=EventType.HOOK))
    store.forget_events(before=datetime.now(UTC), keep=1)
    answer = shop.post(f"{HOOK}/replay", json={"sequence": 1})
    assert answer.status_code == 410
    assert "the oldest there is now is" in answer.json()["detail"]


def test_a_test_event_says_what_came_of_it(shop: Client, listeners: RecordedListeners) -> None:
    post(shop, SINK)
    assert shop.post(f"{HOOK}/test").json() == {"delivered": True, "failure": ""}
    listeners.failure = "it answered 500"
    told = shop.post(f"{HOOK}/test").json()
    assert told == {"delivered": False, "failure": "it answered 500"}


def test_dead_letters_and_attempts_are_shown(shop: Client, store: Store) -> None:
    post(shop, SINK)
    store.note(DEPLOYMENT, Note(type=EventType.HOOK, app="web", target="done"))
    (event,) = store.events(store.extent().last - 1, limit=1)
    letter = DeadLetter(event=event, reason="it answered 500", attempts=3, time=event.time)
    attempt = Attempt(first=event.id, events=1, time=event.time, seconds=0.1, failure="no")
    store.change_listeners([Entry(AT, lambda one: one, [attempt], [letter])])
    (told,) = shop.get(f"{HOOK}/dead-letters").json()
    assert (told["reason"], told["event"]["app"]) == ("it answered 500", "web")
    assert shop.get(f"{HOOK}/deliveries").json()[0]["failure"] == "no"


@pytest.mark.parametrize("verb", ["pause", "resume", "replay", "test"])
def test_verbs_of_what_does_not_exist_are_not_found(shop: Client, verb: str) -> None:
    assert shop.post(f"{HOOK}/{verb}", json={"sequence": 1}).status_code == 404


def test_a_new_listener_has_not_begun(shop: Client) -> None:
    post(shop, SINK)
    told = shop.get(f"{HOOK}/status").json()
    assert told == {
        "standing": "listening", "cursor": 0, "behind": 0, "delivered": 0,
        "deadLetters": 0, "attempts": 0, "failure": "", "retryAt": "",
    }  # fmt: skip
    assert Listener().cursor is None
