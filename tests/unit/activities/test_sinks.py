"""What listeners get: signatures that a public verifier accepts, and requests that go where they may."""

import base64
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook as Verifier

from activities.notices.http import GuardedHttp
from activities.notices.log import Log
from activities.notices.slack import Slack, line
from activities.notices.webhook import Webhook, sign
from emco.domain.events import Event, EventType, Severity
from emco.domain.guard import Allowance
from emco.domain.notices import Http, SinkSpec, Undelivered
from tests.receivers import Receiver, serving

SECRET, OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "b2xk" * 8
LOOPBACK = Allowance.parse("127.0.0.0/8")
KEY = bytes(range(32))
PRIVATE = "whsk_" + base64.b64encode(KEY).decode()


class Recorded(Http):
    """Takes everything."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, bytes, Mapping[str, str]]] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.posts.append((url, body, headers))


def event(sequence: int = 7, **given: Any) -> Event:
    return Event(
        sequence=sequence,
        project="shop",
        deployment="shop/boutique/v1/prod",
        type=EventType.HEALTH,
        app="cart",
        cluster="edge+c1",
        target="failed",
        severity=Severity.ERROR,
        message="1 < 3",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        **given,
    )


def spec(**given: Any) -> SinkSpec:
    base = {"type": "webhook", "url": "https://example.com/e", "signingSecrets": [SECRET]}
    return SinkSpec.model_validate({**base, **given})


async def sent(sink: SinkSpec, events: Sequence[Event]) -> tuple[str, bytes, Mapping[str, str]]:
    http = Recorded()
    await Webhook(sink, http).send(events)
    (post,) = http.posts
    return post


def test_the_published_vector_of_standard_webhooks() -> None:
    """From the specification's reference libraries."""
    body = b'{"test": 2432232314}'
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_public_verifier_accepts_what_is_sent() -> None:
    _, body, headers = await sent(spec(), [event()])
    told = Verifier(SECRET).verify(body, dict(headers))
    assert told["id"] == "7"
    assert told["data"]["to"] == "failed"
    assert headers["webhook-id"] == "evt_7"
    assert headers["Content-Type"] == "application/cloudevents+json"


async def test_both_secrets_do_while_one_takes_the_place_of_the_other() -> None:
    _, body, headers = await sent(spec(signingSecrets=[SECRET, OLD]), [event()])
    for secret in (SECRET, OLD):
        Verifier(secret).verify(body, dict(headers))


async def test_a_public_key_is_enough_to_verify() -> None:
    _, body, headers = await sent(spec(signingSecrets=[PRIVATE]), [event()])
    scheme, _, signature = headers["webhook-signature"].partition(",")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    public = Ed25519PrivateKey.from_private_bytes(KEY).public_key()
    public.verify(base64.b64decode(signature), signed)
    assert scheme == "v1a"


async def test_a_batch_is_a_list_under_one_id() -> None:
    _, body, headers = await sent(spec(batch=10), [event(7), event(9)])
    assert [told["id"] for told in json.loads(body)] == ["7", "9"]
    assert headers["webhook-id"] == "evt_7_9"
    assert headers["Content-Type"] == "application/cloudevents-batch+json"


async def test_headers_of_the_listener_are_sent_and_replace_none_of_ours() -> None:
    given = {"Authorization": "Bearer hush", "webhook-id": "mine"}
    _, _, headers = await sent(spec(headers=given), [event()])
    assert headers["Authorization"] == "Bearer hush"
    assert headers["webhook-id"] == "evt_7"


def test_a_line_for_the_chat_says_what_happened_and_escapes_markup() -> None:
    assert line(event(source="recovered")) == (
        ":x: *shop/boutique/v1/prod* cart on edge+c1 recovered → failed: 1 &lt; 3"
    )


async def test_the_chat_is_told_at_its_secret_address() -> None:
    http = Recorded()
    secret = SinkSpec.model_validate({"type": "slack", "secretUrl": "https://chat.example/T0/hush"})
    await Slack(secret, http).send([event(), event(8)])
    ((url, body, _),) = http.posts
    assert url == "https://chat.example/T0/hush"
    assert json.loads(body)["text"].count("\n") == 1
    assert "hush" not in str(secret)


async def test_the_log_has_a_line_for_each_event() -> None:
    with structlog.testing.capture_logs() as lines:
        await Log(SinkSpec(type="log"), Recorded()).send([event()])
    assert [(told["id"], told["to"], told["log_level"]) for told in lines] == [
        ("7", "failed", "error")
    ]


# -- the way out ----------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as made:
        yield made


async def post(url: str, allowance: Allowance = LOOPBACK, timeout: float = 5) -> None:
    async with GuardedHttp(allowance, timeout) as http:
        await http.post(url, b"{}", {"X-Own": "1"})


async def test_the_name_stays_in_the_host_header(receiver: Receiver) -> None:
    await post(f"http://localhost:{receiver.port}/e")
    (request,) = receiver.asked
    assert request.headers["host"] == f"localhost:{receiver.port}"
    assert request.headers["x-own"] == "1"


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f000001"]
)
async def test_nothing_is_sent_to_where_a_listener_must_not_be(
    receiver: Receiver, host: str
) -> None:
    """The name says nothing: what counts is what it resolves to."""
    with pytest.raises(Undelivered, match=r"not public|https only|neither a name nor"):
        await post(f"http://{host}:{receiver.port}/e", Allowance.parse("10.0.0.0/8"))
    assert receiver.asked == []


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that says something else the second time changes nothing."""
    resolve, asked = socket.getaddrinfo, []

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("hook.example", b"hook.example"):
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    await post(f"http://hook.example:{receiver.port}/e")
    assert len(asked) == 1
    assert receiver.asked[0].headers["host"].startswith("hook.example:")


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda number, request: (302, {"location": "http://169.254.169.254/"})
    with pytest.raises(Undelivered, match="it answered 302, and redirects are not followed"):
        await post(receiver.url)


@pytest.mark.parametrize(
    ("status", "headers", "check"),
    [
        (500, {}, lambda e: not e.for_good),
        (410, {}, lambda e: e.for_good),
        (503, {"retry-after": "120"}, lambda e: e.retry_after == 120),
        (429, {"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}, lambda e: e.retry_after > 1e6),
        (429, {"retry-after": "soon"}, lambda e: e.retry_after == 0),
    ],
)
async def test_what_an_answer_means(
    receiver: Receiver, status: int, headers: dict[str, str], check: Callable[[Any], bool]
) -> None:
    receiver.answer = lambda number, request: (status, headers)
    with pytest.raises(Undelivered) as failure:
        await post(receiver.url)
    assert check(failure.value)


async def test_a_listener_that_takes_too_long_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Undelivered, match=r"no answer within 0\.2 s|ReadTimeout"),
    ):
        await post(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)


async def test_nobody_there_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Undelivered, match="Cannot connect"):
        await post(f"http://127.0.0.1:{port}/")
    with pytest.raises(Undelivered, match="has no address"):
        await post("http://nobody.invalid/", Allowance.parse("nobody.invalid"))
