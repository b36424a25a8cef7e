"""Readiness that has to last: a break begins the count anew, and is told."""

import asyncio
import time
from typing import Any

import pytest

from activities.steadiness import Steadiness
from emco.domain.status import ObjectKey

SECONDS = 0.6


def key(name: str) -> ObjectKey:
    return ObjectKey(api_version="v1", kind="Pod", namespace="ns", name=name)


def pod(ready: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready}
    return {"apiVersion": "v1", "kind": "Pod", "status": {"conditions": [condition]}}


A, B = key("a"), key("b")


async def elapsed(steadiness: Steadiness) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        await steadiness.reached()
    return time.monotonic() - began


@pytest.mark.parametrize("broken", [pod("False"), None], ids=["not ready", "gone"])
async def test_a_break_begins_the_count_anew(broken: dict[str, Any] | None) -> None:
    steadiness = Steadiness(SECONDS, [A])
    await steadiness.see(A, pod("True"))
    counting = asyncio.create_task(elapsed(steadiness))
    await asyncio.sleep(SECONDS / 4)
    await steadiness.see(A, broken)
    await asyncio.sleep(SECONDS)
    assert not counting.done(), "what was steady before the break counts no more"
    await steadiness.see(A, pod("True"))
    assert await counting >= 2.25 * SECONDS


async def test_a_change_that_is_no_break_costs_nothing() -> None:
    steadiness = Steadiness(SECONDS, [A])
    await steadiness.see(A, pod("True"))
    counting = asyncio.create_task(elapsed(steadiness))
    await asyncio.sleep(0.9 * SECONDS)
    await steadiness.see(A, {**pod("True"), "metadata": {"labels": {"new": "label"}}})
    assert SECONDS <= await counting < 1.8 * SECONDS


async def test_every_object_has_to_be_ready_at_the_same_time() -> None:
    steadiness = Steadiness(SECONDS, [A, B])
    await steadiness.see(A, pod("True"))
    counting = asyncio.create_task(elapsed(steadiness))
    await asyncio.sleep(SECONDS)
    await steadiness.see(A, pod("False"))
    await steadiness.see(B, pod("True"))
    await asyncio.sleep(SECONDS)
    assert not counting.done(), "each was ready long enough, but never both"
    await steadiness.see(A, pod("True"))
    assert await counting >= 3 * SECONDS


async def test_a_break_and_its_end_are_news_but_not_what_nobody_has_looked_at() -> None:
    steadiness = Steadiness(SECONDS, [A, B])
    news = asyncio.create_task(steadiness.news())
    await steadiness.see(A, pod("False"))
    await asyncio.sleep(0.05)
    assert not news.done(), "nobody knows about the other yet"
    await steadiness.see(B, pod("True"))
    async with asyncio.timeout(10):
        assert set(await news) == {A}
        await steadiness.see(A, pod("True"))
        assert await steadiness.news() == {}
        await steadiness.see(B, None)
        assert await steadiness.news() == {B: None}


async def test_what_has_no_readiness_is_steady_from_the_start() -> None:
    assert await elapsed(Steadiness(SECONDS, [])) >= SECONDS
