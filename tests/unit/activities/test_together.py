"""Whatever is done at once ends at once: nothing is left running behind a failure."""

import asyncio

import pytest

from activities.together import together


async def test_results_come_in_order() -> None:
    async def later(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert await together(later(s) for s in (0.02, 0.0, 0.01)) == [0.02, 0.0, 0.01]


async def test_a_failure_ends_the_others_before_it_is_raised() -> None:
    ended: list[str] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await together([for_ever(), fails(), for_ever()])
    assert ended == ["cancelled", "cancelled"]


async def test_cancelling_ends_all() -> None:
    ended: list[str] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    task = asyncio.ensure_future(together([for_ever(), for_ever()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled", "cancelled"]
