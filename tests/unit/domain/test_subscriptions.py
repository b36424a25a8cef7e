"""Whose events a listener gets, which of them, and when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.events import Event, EventType
from emco.domain.kinds.notification import Criteria, StatusSubscription
from emco.domain.notices import cloud_event
from emco.domain.status import ObjectKey
from emco.domain.subscriptions import in_scope, matches, pause_before_next, settle

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {"edge+c1": frozenset({"east"})}
SINK = {"type": "log"}


def event(**given: Any) -> Event:
    return Event.model_validate(
        {
            "sequence": 1,
            "project": "shop",
            "deployment": "shop/boutique/v1/prod",
            "logicalCloud": "edge-cloud",
            "statusContextId": "ctx1",
            "type": "resource",
            "view": "ready",
            "app": "cart",
            "cluster": "edge+c1",
            "resource": {"api_version": "apps/v1", "kind": "Deployment", "name": "cart-1"},
            "from": "Ready",
            "to": "NotReady",
            "severity": "warning",
            "time": NOW,
            **given,
        }
    )


@pytest.mark.parametrize(
    ("scope", "is_in"),
    [
        ({}, True),
        ({"deployments": ["boutique/v1/prod"]}, True),
        ({"deployments": ["boutique/v1/test", "boutique/*/pr?d"]}, True),
        ({"deployments": ["boutique/v2/prod"]}, False),
        ({"deployments": ["*/*/*"]}, True),
        ({"deployments": ["bout/v1/prod"]}, False),
        ({"logicalClouds": ["edge-*"]}, True),
        ({"logicalClouds": ["core"]}, False),
        ({"statusContextIds": ["ctx1"]}, True),
        ({"statusContextIds": ["ctx"]}, False),
        ({"statusContextIds": ["ctx2"], "deployments": ["boutique/v1/prod"]}, True),
    ],
)
def test_scope(scope: dict[str, Any], is_in: bool) -> None:
    subscription = StatusSubscription.model_validate({**scope, "sink": SINK})
    assert in_scope(subscription, "shop", event()) is is_in
    assert not in_scope(subscription, "other", event())


@pytest.mark.parametrize(
    ("criteria", "is_told"),
    [
        ({}, True),
        ({"types": ["resource"]}, True),
        ({"types": ["unit", "operation"]}, False),
        ({"apps": ["ca*"]}, True),
        ({"apps": ["web"]}, False),
        ({"clusters": [{"clusterProvider": "edge", "cluster": "c?"}]}, True),
        ({"clusters": [{"clusterProvider": "core"}]}, False),
        ({"clusters": [{"clusterLabel": "east"}]}, True),
        ({"clusters": [{"clusterLabel": "west"}]}, False),
        ({"clusters": [{"cluster": "c2"}, {"clusterLabel": "east"}]}, True),
        ({"resources": [{"kind": "Deployment", "name": "cart*"}]}, True),
        ({"resources": [{"kind": "Service"}]}, False),
        ({"views": ["ready"]}, True),
        ({"views": ["deployed"]}, False),
        ({"transitions": ["Ready -> NotReady"]}, True),
        ({"transitions": ["*->NotReady"]}, True),
        ({"transitions": ["NotReady -> Ready"]}, False),
        ({"pairs": True}, False),
        ({"minimumSeverity": "warning"}, True),
        ({"minimumSeverity": "error"}, False),
        ({"apps": ["cart"], "views": ["deployed"]}, False),
    ],
)
def test_criteria(criteria: dict[str, Any], is_told: bool) -> None:
    assert matches(Criteria.model_validate(criteria), event(), LABELS) is is_told


def test_pairs_are_health_events_and_nothing_else() -> None:
    pairs = Criteria(pairs=True)
    assert matches(pairs, event(type="health", resource=None, to="failed"), {})
    assert not matches(pairs, event(type="unit"), {})


def test_what_has_no_cluster_or_resource_is_on_none() -> None:
    operation = event(type="operation", app="", cluster="", resource=None)
    impossible: list[dict[str, Any]] = [
        {"clusters": [{}]},
        {"resources": [{}]},
        {"apps": ["?*"]},
    ]
    for criteria in impossible:
        assert not matches(Criteria.model_validate(criteria), operation, {})


@pytest.mark.parametrize(
    "told",
    [
        {"type": "gate", "from": "waiting", "to": "open", "resource": None},
        {"type": "hook", "from": "Waiting", "to": "Running"},
    ],
)
def test_gates_and_hooks_are_told_by_default_and_by_type(told: dict[str, Any]) -> None:
    news = event(view="", severity="info", **told)
    assert matches(Criteria(), news, {})
    assert matches(Criteria(types=[told["type"]], apps=["cart"]), news, LABELS)
    assert not matches(Criteria(types=[EventType.OPERATION]), news, {})
    assert not matches(Criteria(pairs=True), news, {})


def test_a_gap_is_always_told() -> None:
    gap = event(type="gap", app="", cluster="", resource=None)
    assert matches(Criteria(pairs=True, apps=["x"]), gap, {})


# -- debounce -----------------------------------------------------------------------------------


def step(sequence: int, second: float, app: str, source: str, target: str) -> Event:
    made = event(app=app, **{"from": source, "to": target})
    time = NOW + timedelta(seconds=second)
    return made.model_copy(update={"sequence": sequence, "time": time})


def at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def shown(events: list[Event], second: float, window: float = 5) -> tuple[list[Any], int]:
    due, cursor = settle(events, events[-1].sequence, window=window, now=at(second))
    return [(d.event.sequence, d.event.source, d.event.target) for d in due], cursor


def test_without_a_window_everything_is_due_at_once() -> None:
    events = [step(1, 0, "a", "x", "y"), step(4, 0, "a", "y", "x")]
    due, cursor = settle(events, 9, window=0, now=at(0))
    assert [(d.event, d.cursor) for d in due] == [(events[0], 1), (events[1], 4)]
    assert cursor == 9


def test_changes_within_the_window_are_one() -> None:
    events = [step(1, 0, "a", "x", "y"), step(2, 3, "a", "y", "z")]
    assert shown(events, 7) == ([], 0)
    assert shown(events, 8) == ([(2, "x", "z")], 2)


def test_a_change_that_was_taken_back_is_none() -> None:
    assert shown([step(1, 0, "a", "x", "y"), step(2, 3, "a", "y", "x")], 8) == ([], 2)


def test_changes_further_apart_are_two() -> None:
    events = [step(1, 0, "a", "x", "y"), step(2, 5, "a", "y", "x")]
    assert shown(events, 5) == ([(1, "x", "y")], 1)
    assert shown(events, 10) == ([(1, "x", "y"), (2, "y", "x")], 2)


def test_what_came_before_something_still_moving_is_told() -> None:
    events = [step(1, 0, "a", "x", "y"), step(2, 4, "b", "x", "y")]
    assert shown(events, 6) == ([(1, "x", "y")], 1)


def test_what_never_rests_is_told_all_the_same() -> None:
    events = [step(n, n * 4, "a", str(n - 1), str(n)) for n in range(1, 20)]
    told, _ = shown(events, 19 * 4)
    assert told[0][1] == "0"


steps = st.lists(
    st.tuples(st.sampled_from("ab"), st.floats(0, 8), st.sampled_from("xyz")), max_size=25
)


@given(steps, st.integers(1, 5), st.floats(0.5, 6))
def test_looking_often_tells_a_story_that_hangs_together(
    taken: list[tuple[str, float, str]], stride: int, window: float
) -> None:
    """However often somebody looks, each subject's changes follow each other and end where it ended."""
    events: list[Event] = []
    now, state = 0.0, {"a": "", "b": ""}
    for app, pause, target in taken:
        now += pause
        if state[app] != target:
            events.append(step(len(events) + 1, now, app, state[app], target))
            state[app] = target
    told: dict[str, str] = {"a": "", "b": ""}
    cursor = 0
    for second in range(0, int(now + 12 * window) + stride + 1, stride):
        new = [e for e in events if e.sequence > cursor and e.time <= at(second)]
        last = new[-1].sequence if new else cursor
        due, after = settle(new, last, window=window, now=at(second))
        assert cursor <= after <= last
        for one in due:
            assert one.event.source == told[one.event.app]
            told[one.event.app] = one.event.target
            assert cursor <= one.cursor <= after
        cursor = after
    assert told == state
    assert cursor == len(events)


# -- retries ------------------------------------------------------------------------------------


def test_pauses_follow_the_schedule_and_then_it_is_given_up() -> None:
    assert [pause_before_next(n, (5, 300)) for n in (1, 2, 3)] == [5, 300, None]


def test_a_listener_may_ask_for_more_time_but_not_for_ever() -> None:
    assert pause_before_next(1, (5, 300), retry_after=60) == 60
    assert pause_before_next(1, (5, 300), retry_after=1) == 5
    assert pause_before_next(1, (5, 300), retry_after=10**9) == 24 * 3600


# -- on the wire --------------------------------------------------------------------------------


def test_an_event_as_a_cloudevent() -> None:
    told = cloud_event(event(sequence=7))
    assert told == {
        "specversion": "1.0",
        "id": "7",
        "source": "/v2/projects/shop/composite-apps/boutique/v1/deployment-intent-groups/prod",
        "type": "io.emco.resource",
        "subject": "cart/edge+c1/Deployment cart-1",
        "time": NOW.isoformat(),
        "datacontenttype": "application/json",
        "sequence": "00000000000000000007",
        "data": {
            "sequence": 7,
            "type": "resource",
            "view": "ready",
            "project": "shop",
            "deployment": "shop/boutique/v1/prod",
            "logicalCloud": "edge-cloud",
            "statusContextId": "ctx1",
            "app": "cart",
            "cluster": "edge+c1",
            "resource": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart-1"},
            "from": "Ready",
            "to": "NotReady",
            "severity": "warning",
            "time": "2026-01-01T00:00:00Z",
        },
    }


def test_the_parts_of_a_snapshot_have_ids_of_their_own() -> None:
    first, second = event(sequence=7, snapshot=1), event(sequence=7, snapshot=2)
    assert len({event(sequence=7).id, first.id, second.id}) == 3


def test_cloudevents_attribute_names_are_lower_case_letters_and_digits() -> None:
    told = cloud_event(event(type=EventType.OPERATION, resource=None))
    assert all(name.isalnum() and name.islower() for name in told)
    assert ObjectKey(api_version="v1", kind="Pod", name="p").group == ""
