"""Telling cancellation from failure, and failures in the words of whoever raised them."""

import asyncio
from collections.abc import Mapping

from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from emco.domain.contracts import FailureType


def root_message(error: BaseException) -> str:
    """The text of the innermost cause: what the activity said, not that an activity failed."""
    while isinstance(error, FailureError) and error.cause is not None:
        error = error.cause
    return error.message if isinstance(error, FailureError) else str(error)


def raise_first(results: Mapping[str, object], where: str) -> None:
    """Raise what a group of gathered steps came to; return when all succeeded.

    Cancellation only counts when nothing else went wrong: a step that failed cancelled the rest.
    """
    errors = {name: e for name, e in sorted(results.items()) if isinstance(e, BaseException)}
    failed = {name: e for name, e in errors.items() if not is_cancelled_exception(e)}
    if failed:
        told = "; ".join(
            f"{name}: {root_message(e)}" for name, e in list(failed.items())[:MAX_TOLD]
        )
        more = f"; and {len(failed) - MAX_TOLD} more" if len(failed) > MAX_TOLD else ""
        raise ApplicationError(
            f"{len(failed)} of {len(results)} failed {where}: {told}{more}",
            type=FailureType.REFUSED,
            non_retryable=True,
        )
    if errors:
        raise asyncio.CancelledError


MAX_TOLD = 5
"""Failures spelled out in one message; the rest are counted. Status has them all."""
