"""What is remembered of a deployment's operations and revisions, for people who ask later."""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.lifecycle import Outcome, Verb

WHO_HEADER: Final = "X-Forwarded-User"
"""Set by the command, and by a proxy that authenticates people; kept with the operation."""

OPERATION_HEADER: Final = "X-Emco-Operation"
"""The id of the operation that a verb began."""

ANONYMOUS: Final = "anonymous"
"""Who asked, when nobody said so."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Changes(_Row):
    """How many objects a revision brings, changes and takes away, against the one before it."""

    created: int = 0
    changed: int = 0
    deleted: int = 0
    units: tuple[str, ...] = Field(
        default=(), description="The units that differ, as app@provider+cluster"
    )


class OperationRow(_Row):
    """One operation, from the moment it was asked for."""

    id: str
    verb: Verb
    who: str = ANONYMOUS
    why: str = ""
    began: datetime
    ended: datetime | None = None
    queued: bool = False
    outcome: Outcome | None = None
    revision: int = 0
    message: str = ""


class RevisionRow(_Row):
    """One revision: immutable, and named by the digest of its plan."""

    number: int
    digest: str
    operation: str
    verb: Verb
    who: str = ANONYMOUS
    why: str = ""
    time: datetime
    changes: Changes = Changes()


class PreviewRow(_Row):
    """A plan that was shown before anything was touched, and what it was made from.

    `inputs` is the digest of the snapshot and `base` the plan in effect then: while both are the
    same, what was shown is what an operation would do.
    """

    digest: str
    plan: str
    report: str = Field(description="Digest of the blob with the report as it was shown")
    inputs: str
    base: str = ""
    time: datetime
