"""A cluster is followed by one workflow, for as long as anybody wants it."""

import asyncio
import uuid

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from activities.followers import follow
from emco.domain.contracts import Followed
from emco.domain.names import status_id
from tests.workflows.fakes import World


@pytest.fixture
def cluster() -> str:
    return f"edge+{uuid.uuid4().hex[:8]}"


async def until_followed(world: World, times: int) -> None:
    async with asyncio.timeout(20):
        while len([step for step in world.log if step.startswith("follow ")]) < times:
            await asyncio.sleep(0.02)


async def test_whoever_wants_a_cluster_finds_the_one_that_runs(
    client: Client, queue: str, world: World, cluster: str
) -> None:
    for _ in range(3):
        await follow(client, [cluster], task_queue=queue)
    await until_followed(world, 1)
    await asyncio.sleep(0.3)
    assert world.log == [f"follow {cluster}"]


async def test_it_ends_when_the_cluster_is_unused(
    client: Client, queue: str, world: World, cluster: str
) -> None:
    await follow(client, [cluster], task_queue=queue)
    await until_followed(world, 1)
    world.followed.put_nowait(Followed(unused=True))
    await client.get_workflow_handle(status_id(cluster)).result()


async def test_an_end_is_called_off_by_who_came_in_the_meantime(
    client: Client, queue: str, world: World, cluster: str
) -> None:
    await follow(client, [cluster], task_queue=queue)
    await until_followed(world, 1)
    await follow(client, [cluster], task_queue=queue)
    world.followed.put_nowait(Followed(unused=True))
    await until_followed(world, 2)
    status = (await client.get_workflow_handle(status_id(cluster)).describe()).status
    assert status is WorkflowExecutionStatus.RUNNING


async def test_after_a_day_it_begins_afresh(
    client: Client, queue: str, world: World, cluster: str
) -> None:
    await follow(client, [cluster], task_queue=queue)
    await until_followed(world, 1)
    first = (await client.get_workflow_handle(status_id(cluster)).describe()).run_id
    world.followed.put_nowait(Followed())
    await until_followed(world, 2)
    assert (await client.get_workflow_handle(status_id(cluster)).describe()).run_id != first


async def test_cancelling_it_ends_it(
    client: Client, queue: str, world: World, cluster: str
) -> None:
    await follow(client, [cluster], task_queue=queue)
    await until_followed(world, 1)
    handle = client.get_workflow_handle(status_id(cluster))
    await handle.cancel()
    async with asyncio.timeout(20):
        while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.05)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
