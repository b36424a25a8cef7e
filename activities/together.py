"""Doing several things at once without leaving any of them behind.

A plain gather returns at the first failure while its siblings go on; an activity that failed would
then leave watchers of a cluster running for ever, and one that is retried would add more.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Every result, in order; at the first failure, or when cancelled, the others are cancelled first."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
