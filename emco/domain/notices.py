"""Telling somebody of events: what a sink is, what it is given, and events as CloudEvents.

A sink is registered by being defined (in `activities/notices/`), so a new one needs no line anywhere else.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, SecretStr, WithJsonSchema, field_validator

from emco.domain.errors import Invalid
from emco.domain.events import Event
from emco.domain.resource import Body

CLOUDEVENTS: Final = "application/cloudevents+json"
CLOUDEVENTS_BATCH: Final = "application/cloudevents-batch+json"
TYPE_PREFIX: Final = "io.emco."

_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{0,4096}")


Secret = Annotated[SecretStr, WithJsonSchema({"type": "string", "format": "password"})]
"""Comes back masked, so it is not `writeOnly`, which is what pydantic says of a secret by itself."""


class SinkSpec(Body):
    """Where events are told. What a sink needs of this is its own matter.

    Secrets are kept sealed and come back as asterisks; asterisks sent back leave them as they are.
    """

    type: str = Field(max_length=32, examples=["webhook"])
    url: str = Field(default="", max_length=2048, examples=["https://example.com/events"])
    secret_url: Secret = Field(
        default=SecretStr(""),
        max_length=2048,
        description="In place of `url` where the address itself is a secret",
    )
    signing_secrets: list[Secret] = Field(
        default_factory=list,
        max_length=2,
        description="`whsec_` and base64 of 24 to 64 random bytes, or `whsk_` and base64 of an "
        "ed25519 key; two while one takes the place of the other",
        examples=[["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]],
    )
    headers: dict[Annotated[str, Field(pattern=r"^[-A-Za-z0-9]{1,128}$")], Secret] = Field(
        default_factory=dict, max_length=16, description="Sent along with every request"
    )
    batch: int = Field(default=1, ge=1, le=100, description="Events in one request at most")

    @property
    def address(self) -> str:
        """The URL, whichever way it was given."""
        return self.url or self.secret_url.get_secret_value()

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _PRINTABLE.fullmatch(value.get_secret_value()):
                raise ValueError(f"{name}: a header is one line of printable ASCII")
        return headers


class Undelivered(Exception):
    """A listener did not take what it was told. `reason` is kept and shown, so it quotes no secret.

    It wants to be left alone for `retry_after` seconds, or with `for_good` for ever (410).
    """

    def __init__(self, reason: str, *, retry_after: float = 0, for_good: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.for_good = reason, retry_after, for_good


class Http(ABC):
    """How sinks reach the outside: through the guard, and within limits."""

    @abstractmethod
    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Return when the receiver took it (2xx); raises `Undelivered`."""


class Sink(ABC):
    """A way to tell events; made for one subscription."""

    name: ClassVar[str]

    def __init_subclass__(cls, *, name: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = name

    def __init__(self, spec: SinkSpec, http: Http) -> None:
        self.spec, self.http = spec, http

    @classmethod
    @abstractmethod
    def check(cls, spec: SinkSpec) -> None:
        """Raise `Invalid` naming the field that this sink lacks or cannot use. Secrets may be masked."""

    @abstractmethod
    async def send(self, events: Sequence[Event]) -> None:
        """Tell at most `batch` events in order; raises `Undelivered`."""


def sink_named(name: str) -> type[Sink]:
    """The sink of that name; `Invalid` lists the names there are."""
    known = {sink.name: sink for sink in Sink.__subclasses__()}
    if (sink := known.get(name)) is None:
        there = ", ".join(sorted(known)) or "none"
        raise Invalid("Invalid Input:", f"spec.sink.type: there is no '{name}'; there are: {there}")
    return sink


def require_url(spec: SinkSpec) -> None:
    """Raise `Invalid` unless there is exactly one address."""
    if bool(spec.url) == bool(spec.secret_url.get_secret_value()):
        raise Invalid("Invalid Input:", "spec.sink: give a url, or a secretUrl in its place")


def cloud_event(event: Event) -> dict[str, Any]:
    """The event as a CloudEvent 1.0 in the structured JSON form; `sequence` orders those of a source."""
    told = [event.app, event.cluster, str(event.resource) if event.resource else ""]
    made = {
        "specversion": "1.0",
        "id": event.id,
        "source": source_of(event),
        "type": TYPE_PREFIX + event.type,
        "subject": "/".join(part for part in told if part),
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
        "sequence": f"{event.sequence:020d}",
        "data": event.wire(),
    }
    return {key: value for key, value in made.items() if value}


def source_of(event: Event) -> str:
    """Whose event it is, as a URI reference into the API."""
    if not event.deployment:
        cloud = f"/logical-clouds/{event.logical_cloud}" if event.logical_cloud else ""
        return f"/v2/projects/{event.project}{cloud}"
    project, app, version, name = event.deployment.split("/")
    return f"/v2/projects/{project}/composite-apps/{app}/{version}/deployment-intent-groups/{name}"
