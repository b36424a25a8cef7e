"""Telling cancellation from failure, and failures in the words of whoever raised them."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any
from weakref import WeakSet

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from emco.domain.contracts import FailureType


def root(error: BaseException) -> BaseException:
    """The innermost cause: what the activity raised, not that an activity failed."""
    while isinstance(error, FailureError) and error.cause is not None:
        error = error.cause
    return error


def root_message(error: BaseException) -> str:
    """The text of the innermost cause."""
    error = root(error)
    return error.message if isinstance(error, FailureError) else str(error)


def is_unreachable(error: BaseException) -> bool:
    """True when the cause is a cluster that does not answer."""
    error = root(error)
    return isinstance(error, ApplicationError) and error.type == FailureType.UNREACHABLE


async def all_of(steps: Mapping[str, Coroutine[Any, Any, Any]], where: str, *, halt: bool) -> None:
    """Run the steps side by side and raise what went wrong among them.

    With `halt` the first failure ends the others; without, all run to their end.
    """
    until = asyncio.FIRST_EXCEPTION if halt else asyncio.ALL_COMPLETED
    raise_first(await results_of(steps, until=until), where)


async def results_of(
    steps: Mapping[str, Coroutine[Any, Any, Any]], *, until: str = asyncio.ALL_COMPLETED
) -> dict[str, object]:
    """What each of the steps came to: its result, or its exception.

    `until` is asyncio's word for when the rest is cancelled. Being cancelled ends them all.
    Nothing is left running either way.
    """
    tasks = {name: asyncio.create_task(step) for name, step in steps.items()}
    try:
        stop_if_cancelled()
        if tasks:
            await workflow.wait(tasks.values(), return_when=until)
    except asyncio.CancelledError:  # not `finally`: a workflow that is evicted cannot wait
        await end_all(tasks.values())
        raise
    await end_all(tasks.values())
    return {name: _outcome(task) for name, task in tasks.items()}


async def end_all(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel what still runs, wait for it, and take note of what each came to."""
    every = list(tasks)
    late = [task for task in every if not task.done()]
    for task in late:
        cancel(task)
    if late:
        await workflow.wait(late)
    for task in every:
        _outcome(task)


def cancel(task: "asyncio.Task[Any]") -> None:
    """Ask a task to end, and remember that: see `stop_if_cancelled`."""
    _ENDING.add(task)
    task.cancel()


def stop_if_cancelled() -> None:
    """Raise the cancellation that a step of the running task swallowed.

    It is delivered once, and an activity that succeeds all the same, or a signal that is on its
    way, takes it for itself: without this the next step would begin, and nobody would end it.
    """
    if is_ending():
        raise asyncio.CancelledError


def is_ending() -> bool:
    """True when the running task was asked to end, whether or not it has noticed."""
    return asyncio.current_task() in _ENDING


_ENDING: "WeakSet[asyncio.Task[Any] | None]" = WeakSet()


def _outcome(task: "asyncio.Task[Any]") -> object:
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception() or task.result()


def raise_first(results: Mapping[str, object], where: str) -> None:
    """Raise what a group of steps came to; return when all succeeded.

    Cancellation only counts when nothing else went wrong: a step that failed cancelled the rest.
    The failure is `Unreachable` when nothing but unreachable clusters is among them.
    """
    errors = {name: e for name, e in sorted(results.items()) if isinstance(e, BaseException)}
    failed = {name: e for name, e in errors.items() if not is_cancelled_exception(e)}
    if failed:
        told = "; ".join(
            f"{name}: {root_message(e)}" for name, e in list(failed.items())[:MAX_TOLD]
        )
        more = f"; and {len(failed) - MAX_TOLD} more" if len(failed) > MAX_TOLD else ""
        away = all(is_unreachable(e) for e in failed.values())
        raise ApplicationError(
            f"{len(failed)} of {len(results)} failed {where}: {told}{more}",
            type=FailureType.UNREACHABLE if away else FailureType.REFUSED,
            non_retryable=True,
        )
    if errors:
        raise asyncio.CancelledError


MAX_TOLD = 5
"""Failures spelled out in one message; the rest are counted. Status has them all."""
