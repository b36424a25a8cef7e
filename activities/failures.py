"""How our errors become Temporal's: refused for good, or worth another attempt.

What a workflow sees in its history is the text of an `EmcoError`, written by us for people.
Everything else is named by its class alone: third-party messages may quote values.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError

from emco.domain.contracts import FailureType
from emco.domain.errors import EmcoError, Unavailable

ATTEMPTS_FOR_THE_UNEXPLAINED = 4


class Unexplained(EmcoError):
    """A server failed without saying whose fault it was; some say so of objects they cannot read."""

    status = 502
    retryable = True


def is_final(error: EmcoError) -> bool:
    """True when the running activity will not be tried again after this error."""
    if isinstance(error, Unexplained):
        return activity.info().attempt >= ATTEMPTS_FOR_THE_UNEXPLAINED
    return not error.retryable


@contextmanager
def translated() -> Iterator[None]:
    """Run an activity's body; `EmcoError`s and bugs leave it as typed `ApplicationError`s."""
    try:
        yield
    except (asyncio.CancelledError, ApplicationError):
        raise
    except Unavailable as error:
        raise ApplicationError(str(error), type=FailureType.UNREACHABLE) from None
    except EmcoError as error:
        raise ApplicationError(
            str(error),
            {"status": error.status, "title": error.title, "detail": error.detail},
            type=FailureType.REFUSED if is_final(error) else FailureType.NOT_READY,
            non_retryable=is_final(error),
        ) from None
    except Exception as error:  # noqa: BLE001 — the outermost edge: a bug must not retry for ever
        activity.logger.exception("activity.bug")
        raise ApplicationError(
            f"{type(error).__name__} in {activity.info().activity_type}; the worker's log has the details",
            type="Bug",
            non_retryable=activity.info().attempt >= ATTEMPTS_FOR_THE_UNEXPLAINED,
        ) from None
