"""Every error a person or a client can meet, in one tree.

    EmcoError
    ├── Invalid             400  the request is wrong and says where
    │   └── Unprocessable   422  it could not be read at all (JSON, multipart, archive)
    ├── Forbidden           403  the cluster or the caller's rights refuse it
    ├── NotFound            404
    ├── Conflict            409  the request is fine, the world is not
    │   ├── AlreadyExists
    │   ├── ParentNotFound       EMCO answers 409 where others answer 404
    │   ├── DanglingReference    a spec names something that is not there
    │   ├── InUse                children, references or a running operation hold it
    │   └── IllegalTransition    this state does not allow that operation
    ├── Forgotten           410  it was there, and is forgotten
    ├── PreconditionFailed  412  If-Match did not match
    ├── TooLarge            413
    └── Unavailable         503  try again; nothing was lost

A class carries its HTTP status and whether a retry can help; texts are for people and may be
reworded, so nothing decides by reading one. `title` is EMCO's own sentence where it has one.
"""

from typing import ClassVar


class EmcoError(Exception):
    """The root. `title` is one stable sentence; `detail` names the thing, the place and the next step."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, title: str, detail: str = "") -> None:
        super().__init__(title, detail)
        self.title = title
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.title}: {self.detail}" if self.detail else self.title


class Invalid(EmcoError):
    """The request is wrong; `detail` says which field and what it should be."""

    status = 400


class Unprocessable(Invalid):
    """The request could not be read: malformed JSON, multipart or archive."""

    status = 422


class Forbidden(EmcoError):
    """Rights are missing."""

    status = 403


class NotFound(EmcoError):
    """The named thing does not exist."""

    status = 404


class Conflict(EmcoError):
    """The request is well formed but the current state does not allow it."""

    status = 409


class AlreadyExists(Conflict):
    """A resource of that kind and path is there already."""


class ParentNotFound(Conflict):
    """The parent named by the path does not exist."""


class DanglingReference(Conflict):
    """The spec refers to a resource that does not exist."""


class InUse(Conflict):
    """Children, references or a running operation hold the resource."""


class IllegalTransition(Conflict):
    """The deployment's or cloud's state does not allow the operation."""


class Forgotten(EmcoError):
    """What is asked for was there once; `detail` says what is still there."""

    status = 410


class PreconditionFailed(EmcoError):
    """The generation sent in If-Match is not the current one."""

    status = 412


class TooLarge(EmcoError):
    """A body, file or archive is over its limit."""

    status = 413


class Unavailable(EmcoError):
    """Something we depend on does not answer; the same request may succeed later."""

    status = 503
    retryable = True
