"""The event log over HTTP: pages, and streams that can be cut off at any moment."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from httpx import Client

from emco.domain.events import EventType, Note
from emco.domain.kinds.delivery import Deployment
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.store import Store

PROJECT = "/v2/projects/shop/status-events"
DEPLOYMENT = "/v2/projects/shop/composite-apps/boutique/v1/deployment-intent-groups/prod/events"
AT = Address.of(Deployment, ["shop", "boutique", "v1", "prod"])
WEB = ObjectKey(api_version="apps/v1", kind="Deployment", namespace="ns", name="web")
STREAM = {"Accept": "text/event-stream"}


def hook(number: int, app: str = "web") -> Note:
    return Note(type=EventType.HOOK, app=app, cluster="edge+c1", target=f"done-{number}")


def row(ready: Ready) -> UnitRow:
    status = ObjectStatus(key=WEB, deployed=Deployed.APPLIED, ready=ready, observed={})
    now = datetime.now(UTC)
    return UnitRow(app="web", cluster="edge+c1", phase=Phase.READY, since=now, objects=(status,))


def read(shop: Client, url: str = PROJECT, **query: Any) -> Any:
    answer = shop.get(url, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_pages_follow_each_other_until_there_is_no_more(shop: Client, store: Store) -> None:
    before = store.extent().last
    store.note(AT, *(hook(n) for n in range(5)))
    seen, after = [], before
    while (page := read(shop, after=after, limit=2))["events"]:
        seen += [event["to"] for event in page["events"]]
        after = page["after"]
    assert seen == [f"done-{n}" for n in range(5)]
    assert page["after"] == after == store.extent().last


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 4),
        ({"type": "resource"}, 2),
        ({"type": ["resource", "unit"]}, 4),
        ({"view": "ready"}, 2),
        ({"app": "we?"}, 4),
        ({"app": "db"}, 0),
        ({"cluster": "edge+*"}, 4),
        ({"cluster": "core+*"}, 0),
        ({"resource": "Deployment/w*"}, 2),
        ({"resource": "Service"}, 0),
        ({"transition": "*->Ready"}, 2),
        ({"severity": "warning"}, 0),
        ({"pairs": "true"}, 0),
    ],
)
def test_filters(shop: Client, store: Store, query: dict[str, Any], count: int) -> None:
    before = store.extent().last
    store.put_unit(AT, row(Ready.READY))
    assert len(read(shop, after=before, **query)["events"]) == count


def test_the_events_of_one_deployment(shop: Client, store: Store) -> None:
    store.note(AT, hook(1))
    assert {e["deployment"] for e in read(shop, DEPLOYMENT)["events"]} == {"shop/boutique/v1/prod"}


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ({"after": "-1"}, {}, 400),
        ({"type": "rumour"}, {}, 400),
        ({"transition": "Ready"}, {}, 400),
        ({"app": "a/b"}, {}, 400),
        ({}, {"Last-Event-ID": "abc"}, 400),
        ({}, {"Last-Event-ID": "9" * 30}, 400),
    ],
)
def test_what_cannot_be_understood_is_refused(
    shop: Client, query: dict[str, str], headers: dict[str, str], code: int
) -> None:
    for accept in ({}, STREAM):
        answer = shop.get(PROJECT, params=query, headers={**headers, **accept})
        assert answer.status_code == code, answer.text


def test_a_reader_that_fell_behind_is_told(shop: Client, store: Store) -> None:
    store.note(AT, *(hook(n) for n in range(5)))
    store.forget_events(before=datetime.now(UTC), keep=1)
    for headers in ({}, STREAM):
        answer = shop.get(PROJECT, params={"after": 0}, headers=headers)
        assert answer.status_code == 410
        assert f"the oldest there is now is {store.extent().last + 1}" in answer.json()["detail"]
    assert read(shop)["events"] == []


def test_nobody_reads_the_events_of_what_does_not_exist(shop: Client) -> None:
    assert shop.get("/v2/projects/other/status-events").status_code == 404


# -- streams ------------------------------------------------------------------------------------


class Stream:
    """A reader of server-sent events that can be cut off after any number of events."""

    def __init__(self, port: int, url: str = PROJECT) -> None:
        self._url = f"http://127.0.0.1:{port}{url}"
        self.last = ""
        self.seen: list[tuple[str, str, dict[str, Any]]] = []

    def read(self, count: int, **query: str) -> None:
        """Until so many events came."""
        headers = {**STREAM, **({"Last-Event-ID": self.last} if self.last else {})}
        with (
            httpx.Client(trust_env=False, timeout=20) as client,
            client.stream("GET", self._url, headers=headers, params=query) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            for number, kind, data in self._messages(answer):
                self.last = number or self.last
                if data:
                    self.seen.append((number, kind, json.loads(data)))
                    count -= 1
                if count <= 0 and (number or not data):
                    return

    def _messages(self, answer: httpx.Response) -> Iterator[tuple[str, str, str]]:
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield fields.get("id", ""), fields.get("event", ""), fields.get("data", "")
                fields = {}


@pytest.fixture
def stream(shop: Client, port: int) -> Stream:
    time.sleep(0.3)  # who read the database before this one was put in its place looks no more
    return Stream(port)


def test_a_stream_begins_with_the_state_and_goes_on_without_a_gap(
    stream: Stream, store: Store
) -> None:
    store.put_unit(AT, row(Ready.READY))
    writer = threading.Timer(0.5, lambda: store.put_unit(AT, row(Ready.NOT_READY)))
    writer.start()
    stream.read(3, type="resource")
    writer.join()
    kinds = [(kind, e["to"]) for _, kind, e in stream.seen]
    assert kinds[:2] == [("snapshot", "Applied"), ("snapshot", "Ready")]
    assert ("resource", "NotReady") in kinds


def test_a_reader_that_is_cut_off_a_hundred_times_misses_nothing_and_sees_nothing_twice(
    stream: Stream, store: Store
) -> None:
    """Each cut comes while events are being written."""
    cuts, each = 100, 4
    stream.last = str(store.extent().last)
    first = store.extent().last + 1
    stop = threading.Event()

    def write() -> None:
        for number in range(cuts * each):
            store.note(AT, hook(number))
            if stop.wait(0.002):
                return

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(cuts):
        stream.read(each)
    writer.join()
    assert [number for number, _, _ in stream.seen] == [
        str(n) for n in range(first, first + cuts * each)
    ]


def test_a_reader_whose_filter_lets_nothing_through_moves_on(stream: Stream, store: Store) -> None:
    stream.last = str(store.extent().last)
    store.note(AT, *(hook(n) for n in range(3)))
    stream.read(0, app="nobody")
    assert stream.last == str(store.extent().last)
    assert stream.seen == []
