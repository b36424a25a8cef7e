"""The life of a listener's workflow: what it does next is what the last delivery said."""

import asyncio
import uuid

import pytest
from temporalio.client import Client, WorkflowHandle

from emco.domain.contracts import Delivered, Listening, Standing, Tried
from tests.workflows.fakes import World
from workflows.subscription import SubscriptionWorkflow

Handle = WorkflowHandle[SubscriptionWorkflow, Delivered]

GONE = Delivered(standing=Standing.GONE)


async def start(client: Client, queue: str) -> Handle:
    listening = Listening(subscription="shop/hook")
    return await client.start_workflow(
        SubscriptionWorkflow.run, listening, id=f"subscription/{uuid.uuid4()}", task_queue=queue
    )


async def delivered(world: World, times: int) -> None:
    async with asyncio.timeout(10):
        while world.log.count("deliver") < times:
            await asyncio.sleep(0.02)


async def test_it_ends_with_its_subscription(client: Client, queue: str, world: World) -> None:
    world.deliveries = [Delivered(cursor=3), Delivered(cursor=9), GONE]
    handle = await start(client, queue)
    assert (await handle.result()).standing is Standing.GONE
    assert world.log == ["deliver"] * 3


async def test_it_waits_as_long_as_it_is_told(client: Client, queue: str, world: World) -> None:
    world.deliveries = [Delivered(again_in=0.5, note="it answered 500"), GONE]
    handle = await start(client, queue)
    await delivered(world, 1)
    await asyncio.sleep(0.2)
    assert world.log == ["deliver"]
    assert (await handle.query(SubscriptionWorkflow.status)).note == "it answered 500"
    await handle.result()


@pytest.mark.parametrize(
    "rest",
    [
        Delivered(again_in=3600),
        Delivered(standing=Standing.PAUSED),
        Delivered(standing=Standing.DISABLED),
    ],
)
async def test_a_change_wakes_it_whatever_it_waits_for(
    client: Client, queue: str, world: World, rest: Delivered
) -> None:
    world.deliveries = [rest, GONE]
    handle = await start(client, queue)
    await delivered(world, 1)
    await asyncio.sleep(0.2)
    assert world.log == ["deliver"]
    await handle.signal(SubscriptionWorkflow.look_again)
    await asyncio.wait_for(handle.result(), 5)


async def test_it_can_be_tried_while_it_tells(client: Client, queue: str, world: World) -> None:
    handle = await start(client, queue)
    await delivered(world, 1)
    listening = Listening(subscription="shop/hook")
    tried = await handle.execute_update("test", listening, result_type=Tried)
    assert tried.failure == "it answered 500"
    await handle.cancel()


async def test_an_idle_listener_leaves_hardly_any_history(
    client: Client, queue: str, world: World
) -> None:
    handle = await start(client, queue)
    await delivered(world, 1)
    await asyncio.sleep(1)
    history = await handle.fetch_history()
    assert len(history.events) <= 6
    await handle.cancel()
