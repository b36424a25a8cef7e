"""What comes with a verb: who asks and why, what to do when another operation runs, and the body.

EMCO's clients send no body, an empty one in chunks, or a `metadata` without a name; only rollback
and migrate need one.
"""

import json
from typing import Any, Final, Literal, TypeVar

from fastapi import Request
from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator

from api.bodies import violations
from api.endpoints import Queries, QueryParameter
from api.operations import Asked
from emco.domain.errors import Invalid, Unprocessable
from emco.domain.history import WHO_HEADER
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import OnBusy
from emco.domain.releases import Answer
from emco.domain.resource import Address, Body, Name

MAX_WHO: Final = 128
MAX_WHY: Final = 1024

ON_BUSY: Final = QueryParameter(
    "onBusy",
    Literal["refuse", "queue", "supersede"],
    "While another operation runs: `refuse` (default), `queue` behind it, or take its place",
)
PLAN_DIGEST: Final = QueryParameter(
    "planDigest", str, "Do exactly what was shown under this digest of GET …/plan, or nothing"
)


B = TypeVar("B", bound=Body)


class _Described(Body):
    description: str = Field(default="", max_length=MAX_WHY)


class AskBody(Body):
    """`metadata.description` says why; it is kept with the operation."""

    metadata: _Described = _Described()


class RollbackSpec(Body):
    """The revision to go back to; EMCO's clients write the number as a string."""

    revision: str = Field(pattern=r"^[1-9][0-9]{0,8}$", examples=["1"])

    @field_validator("revision", mode="before")
    @classmethod
    def _number_or_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class RollbackBody(AskBody):
    """The body of a rollback."""

    spec: RollbackSpec


class MigrateSpec(Body):
    """Another version of the composite app, and its deployment that takes over."""

    target_composite_app_version: Name = Field(examples=["v2"])
    target_deployment_intent_group: Name = Field(examples=["prod"])


class MigrateBody(AskBody):
    """The body of a migrate."""

    spec: MigrateSpec


class AnswerSpec(Body):
    """A hook's id, as `explain` shows it, and what became of it: `done`, or to be run `again`."""

    hook: str = Field(max_length=2000, examples=["3:pre-upgrade:0:Job/migrate:web@edge+c1"])
    answer: Answer


class AnswerBody(AskBody):
    """The body of an answer."""

    spec: AnswerSpec


def read_answer(content: bytes) -> AnswerBody:
    """Raises `Invalid` naming the field when the hook is missing or the answer is none."""
    return _parsed(AnswerBody, content)


class ReplayBody(Body):
    """Where to go on: at an event's number, or at the first event of a time or after it."""

    sequence: int | None = Field(default=None, ge=1, le=2**31 - 1, examples=[4711])
    time: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "ReplayBody":
        if (self.sequence is None) is (self.time is None):
            raise ValueError("give a sequence or a time")
        return self


def read_asked(request: Request, content: bytes, at: Address, queries: Queries) -> Asked:
    """What was asked with a verb that needs no body: one that cannot be read is as good as none."""
    try:
        body = AskBody.model_validate(json.loads(content)) if content.strip() else AskBody()
    except ValueError:
        body = AskBody()
    return _asked(request, body, queries)


def read_rollback(request: Request, content: bytes, at: Address, queries: Queries) -> Asked:
    """Raises `Invalid` naming the field when the revision is missing or no number."""
    body = _parsed(RollbackBody, content)
    return _asked(request, body, queries, revision=int(body.spec.revision))


def read_migrate(request: Request, content: bytes, at: Address, queries: Queries) -> Asked:
    """Raises `Invalid` naming the field when the target is not named completely."""
    body = _parsed(MigrateBody, content)
    project, app, *_ = at.names(Deployment)
    version, name = body.spec.target_composite_app_version, body.spec.target_deployment_intent_group
    target = Address.of(Deployment, [project, app, version, name])
    return _asked(request, body, queries, target=target)


def read_replay(content: bytes) -> ReplayBody:
    """Raises `Invalid` when neither a sequence nor a time is given."""
    return _parsed(ReplayBody, content)


def _parsed(model: type[B], content: bytes) -> B:
    if not content.strip():
        raise Invalid(
            "Empty body", f"send {model.__name__.removesuffix('Body').lower()}'s JSON body"
        )
    try:
        data = json.loads(content)
    except ValueError:
        raise Unprocessable("Malformed JSON", "the body is not JSON") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise violations(error.errors(include_url=False, include_context=False), data) from None


def _asked(request: Request, body: AskBody, queries: Queries, **more: Any) -> Asked:
    return Asked(
        on_busy=OnBusy(queries.get("onBusy") or OnBusy.REFUSE),
        plan_digest=queries.get("planDigest") or "",
        who=_printable(request.headers.get(WHO_HEADER, ""))[:MAX_WHO],
        why=_printable(body.metadata.description),
        **more,
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()
