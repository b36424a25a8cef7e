"""Delays and timeouts of hours and days, on a server that skips time while nothing happens."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from emco.domain.dependencies import OnTimeout
from emco.domain.lifecycle import Progress
from emco.domain.names import SEARCH_ATTRIBUTES
from emco.main import SANDBOX, WORKFLOWS
from tests.workflows.conftest import temporal_binary
from tests.workflows.fakes import World, activities
from tests.workflows.test_deployment import start
from tests.workflows.test_gates import C1, C2, waits


@pytest_asyncio.fixture(scope="module")
async def skipping() -> AsyncIterator[Client]:
    async with await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=[
            "--dynamic-config-value",
            "frontend.WorkflowTimeSkippingEnabled=true",
        ],
        data_converter=pydantic_data_converter,
        search_attributes=list(SEARCH_ATTRIBUTES),
        dev_server_log_level="error",
    ) as environment:
        yield environment.client


@pytest.fixture
def world() -> World:
    return World(clusters={C1: ("cart", "redis"), C2: ("redis",)})


@pytest_asyncio.fixture
async def queue(skipping: Client, world: World) -> AsyncIterator[str]:
    name = f"emco-{uuid.uuid4().hex[:8]}"
    async with Worker(
        skipping,
        task_queue=name,
        workflows=WORKFLOWS,
        activities=activities(world),
        workflow_runner=SANDBOX,
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield name


async def until(world: World, progress: Progress) -> None:
    async with asyncio.timeout(40):
        while world.life.progress is not progress:
            await asyncio.sleep(0.05)


async def test_a_delay_of_an_hour_is_one_timer_that_says_what_it_is_for(
    skipping: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", wait=3600),)
    await start(skipping, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    started, ready = world.times[f"apply cart on {C1}"], world.times[f"ready redis on {C2}"]
    assert started - ready >= timedelta(hours=1)


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        (OnTimeout.FAIL, Progress.INSTANTIATE_FAILED),
        (OnTimeout.PROCEED, Progress.INSTANTIATED),
    ],
)
async def test_a_timeout_of_ten_minutes_ends_a_wait_of_an_hour(
    skipping: Client,
    world: World,
    queue: str,
    deployment: str,
    policy: OnTimeout,
    ends: Progress,
) -> None:
    world.clusters = {C1: ("cart", "redis"), C2: ("disk",)}
    world.dependencies = (
        waits("redis", "disk", wait=3600),
        waits("cart", "redis", timeout=600, on_timeout=policy),
    )
    await start(skipping, deployment, queue)
    await until(world, ends)
    if policy is OnTimeout.FAIL:
        assert "gave up after 600 s, redis" in world.life.message
        assert "apply cart" not in world.log
    else:
        assert "ready cart" in world.log
