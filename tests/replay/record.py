"""Records the histories that `test_replay.py` replays: run it when workflows change on purpose.

    python -m tests.replay.record [SCENARIO…]

Each history is one deployment's or one cluster's workflow in a given state, from a real server with
fake activities. Look at the difference before committing it: a changed history is a changed promise
to every deployment that runs.
"""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.followers import follow
from emco.domain.contracts import (
    Delivered,
    Followed,
    Listening,
    PreviewRequest,
    Rules,
    Standing,
)
from emco.domain.dependencies import Condition, Dependency
from emco.domain.lifecycle import OnBusy, Progress
from emco.domain.names import SEARCH_ATTRIBUTES, status_id, workflow_id
from emco.main import SANDBOX, WORKFLOWS
from emco.sandbox.toolchain import temporal_binary
from tests.workflows.fakes import World, activities
from workflows.deployment import DeploymentWorkflow, Overview, Request, Start
from workflows.preview import PlanPreviewWorkflow
from workflows.subscription import SubscriptionWorkflow

HISTORIES = Path(__file__).with_name("histories")
QUEUE = "emco"

Scenario = Callable[[Client, World, str], Awaitable[None]]


async def _until(world: World, progress: Progress) -> None:
    async with asyncio.timeout(30):
        while world.life.progress is not progress:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # let the last workflow task end


async def _start(client: Client, deployment: str) -> None:
    start = Start(deployment=deployment)
    await client.start_workflow(
        DeploymentWorkflow.run, start, id=workflow_id(deployment), task_queue=QUEUE
    )


async def instantiated(client: Client, world: World, deployment: str) -> None:
    """Up and idle."""
    await _start(client, deployment)
    await _until(world, Progress.INSTANTIATED)


async def instantiating(client: Client, world: World, deployment: str) -> None:
    """In the middle: one app is being applied."""
    world.hold["apply redis"] = asyncio.Event()
    await _start(client, deployment)
    async with asyncio.timeout(30):
        while "ready cart" not in world.log:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


async def refused(client: Client, world: World, deployment: str) -> None:
    """One app was refused."""
    world.refuse["apply cart"] = "the API server refuses Deployment cart"
    await _start(client, deployment)
    await _until(world, Progress.INSTANTIATE_FAILED)


async def terminated(client: Client, world: World, deployment: str) -> None:
    """Up, then removed by an update."""
    await instantiated(client, world, deployment)
    handle = client.get_workflow_handle_for(DeploymentWorkflow.run, workflow_id(deployment))
    _ = await handle.execute_update(DeploymentWorkflow.terminate, Request())
    await _until(world, Progress.TERMINATED)


async def cancelled(client: Client, world: World, deployment: str) -> None:
    """Cancelled in the middle of an apply."""
    await instantiating(client, world, deployment)
    await client.get_workflow_handle(workflow_id(deployment)).cancel()
    await _until(world, Progress.TERMINATED)


def _handle(client: Client, deployment: str) -> WorkflowHandle[DeploymentWorkflow, Overview]:
    return client.get_workflow_handle_for(DeploymentWorkflow.run, workflow_id(deployment))


async def _logged(world: World, step: str) -> None:
    async with asyncio.timeout(30):
        while step not in world.log:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


async def updated(client: Client, world: World, deployment: str) -> None:
    """One app changed, one gone, one moved to another cluster."""
    await instantiated(client, world, deployment)
    world.version, world.clusters = 2, {"edge+c1": ("frontend",), "edge+c3": ("cart",)}
    _ = await _handle(client, deployment).execute_update(DeploymentWorkflow.update, Request())
    await _logged(world, "end update done")


async def updating(client: Client, world: World, deployment: str) -> None:
    """In the middle of an update, and another one waits for its turn."""
    await instantiated(client, world, deployment)
    world.version, world.hold["ready cart"] = 2, asyncio.Event()
    handle = _handle(client, deployment)
    _ = await handle.execute_update(DeploymentWorkflow.update, Request())
    await asyncio.sleep(0.5)
    _ = await handle.execute_update(DeploymentWorkflow.update, Request(on_busy=OnBusy.QUEUE))
    await asyncio.sleep(0.3)


async def untouched(client: Client, world: World, deployment: str) -> None:
    """An update that preflight refused."""
    await instantiated(client, world, deployment)
    world.version, world.refuse["preflight edge+c2"] = 2, "the quota is used up"
    _ = await _handle(client, deployment).execute_update(DeploymentWorkflow.update, Request())
    await _logged(world, "end update untouched")


async def returned(client: Client, world: World, deployment: str) -> None:
    """Updated, then rolled back to the first revision."""
    await updated(client, world, deployment)
    handle = _handle(client, deployment)
    _ = await handle.execute_update(DeploymentWorkflow.rollback, Request(revision=1))
    await _logged(world, "end rollback done")


async def compensated(client: Client, world: World, deployment: str) -> None:
    """An update that failed under the policy `rollback`."""
    world.rules = Rules(on_failure="rollback")
    await instantiated(client, world, deployment)
    world.version, world.refuse["apply cart"] = 2, "no"
    handle = _handle(client, deployment)
    _ = await handle.execute_update(DeploymentWorkflow.update, Request())
    await asyncio.sleep(0.3)
    world.refuse.clear()
    async with asyncio.timeout(30):
        while not any(step.startswith("end update") for step in world.log):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


async def resumed(client: Client, world: World, deployment: str) -> None:
    """Stopped in the middle, then resumed."""
    world.hold["ready frontend"] = asyncio.Event()
    await _start(client, deployment)
    await _logged(world, "ready frontend")
    handle = _handle(client, deployment)
    _ = await handle.execute_update(DeploymentWorkflow.stop, Request())
    await _until(world, Progress.INSTANTIATE_STOPPED)
    world.hold["ready frontend"].set()
    _ = await handle.execute_update(DeploymentWorkflow.resume, Request())
    await _until(world, Progress.INSTANTIATED)


async def superseded(client: Client, world: World, deployment: str) -> None:
    """An update took the place of the instantiate."""
    world.hold["ready frontend"] = asyncio.Event()
    await _start(client, deployment)
    await _logged(world, "ready frontend")
    world.version = 2
    handle = _handle(client, deployment)
    request = Request(on_busy=OnBusy.SUPERSEDE)
    _ = await handle.execute_update(DeploymentWorkflow.update, request)
    world.hold["ready frontend"].set()
    await _logged(world, "end update done")


async def migrated(client: Client, world: World, deployment: str) -> None:
    """Handed over to another version's deployment."""
    await instantiated(client, world, deployment)
    world.version = 2
    handle = _handle(client, deployment)
    request = Request(target=f"{deployment}-target")
    _ = await handle.execute_update(DeploymentWorkflow.migrate, request)
    await _logged(world, "end migrate done")


async def swept(client: Client, world: World, deployment: str) -> None:
    """Terminated while a cluster was away, and cleared when it was back."""
    await instantiated(client, world, deployment)
    world.away.add("edge+c2")
    handle = _handle(client, deployment)
    _ = await handle.execute_update(DeploymentWorkflow.terminate, Request())
    await _until(world, Progress.TERMINATED)
    world.away.clear()
    await handle.result()


async def healed(client: Client, world: World, deployment: str) -> None:
    """Somebody changed something, and it was put back."""
    world.rules = Rules(drift="heal")
    await instantiated(client, world, deployment)
    await _logged(world, "watch edge+c1")
    world.drift.set()
    await _logged(world, "end heal done")


def _in_a_row(world: World) -> None:
    """The cart waits for redis, the frontend for the cart."""
    world.dependencies = (
        Dependency(app="cart", needs="redis", wait=1),
        Dependency(app="frontend", needs="cart", condition=Condition.DEPLOYED),
    )


async def ordered(client: Client, world: World, deployment: str) -> None:
    """Apps that wait for each other, up and removed again."""
    _in_a_row(world)
    await terminated(client, world, deployment)


async def gated(client: Client, world: World, deployment: str) -> None:
    """In the middle: one app waits, another one's delay runs."""
    _in_a_row(world)
    world.dependencies = (
        world.dependencies[0].model_copy(update={"wait": 3600}),
        world.dependencies[1],
    )
    await _start(client, deployment)
    async with asyncio.timeout(30):
        while not any(unit.until for unit in world.waiting.values()):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


async def broken(client: Client, world: World, deployment: str) -> None:
    """Under the policy `continue`, one app failed and those behind it with it."""
    _in_a_row(world)
    world.rules, world.refuse["ready redis"] = Rules(on_failure="continue"), "no"
    await _start(client, deployment)
    await _until(world, Progress.INSTANTIATE_FAILED)


async def hooked(client: Client, world: World, deployment: str) -> None:
    """Hooks around everything, a test that fails, and the end of it all."""
    world.hooks = {
        "frontend": ("pre-install a", "pre-install b", "post-install c", "pre-delete d", "test e"),
        "cart": ("post-delete f", "test g"),
    }
    world.refuse["test g and tidies up"] = "no"
    await instantiated(client, world, deployment)
    handle = _handle(client, deployment)
    _ = await handle.execute_update(DeploymentWorkflow.test, Request())
    await _logged(world, "end test failed")
    _ = await handle.execute_update(DeploymentWorkflow.terminate, Request())
    await handle.result()


async def previewed(client: Client, world: World, deployment: str) -> None:
    """A plan that is only looked at."""
    await client.execute_workflow(
        PlanPreviewWorkflow.run,
        PreviewRequest(deployment=deployment),
        id=f"{workflow_id(deployment)}/preview",
        task_queue=QUEUE,
    )


async def followed(client: Client, world: World, deployment: str) -> None:
    """A cluster that is followed, and wanted by one more deployment."""
    await _follow(client, world, deployment)
    await follow(client, [_cluster(deployment)], task_queue=QUEUE)
    await asyncio.sleep(0.3)


async def unused(client: Client, world: World, deployment: str) -> None:
    """A cluster that was followed for a day, and then until nobody used it."""
    await _follow(client, world, deployment)
    world.followed.put_nowait(Followed())
    await asyncio.sleep(0.5)
    world.followed.put_nowait(Followed(unused=True))
    await client.get_workflow_handle(status_id(_cluster(deployment))).result()


async def _follow(client: Client, world: World, deployment: str) -> None:
    await follow(client, [_cluster(deployment)], task_queue=QUEUE)
    await _logged(world, f"follow {_cluster(deployment)}")


def _cluster(deployment: str) -> str:
    return f"{deployment.rpartition('/')[2]}+c1"


async def listened(client: Client, world: World, deployment: str) -> None:
    """A listener that rests for a moment, is paused, woken, tried, and gone in the end."""
    world.deliveries = [
        Delivered(cursor=7, again_in=0.1, note="it answered 500"),
        Delivered(cursor=9, standing=Standing.PAUSED),
        Delivered(cursor=9, standing=Standing.GONE),
    ]
    listening = Listening(subscription="shop/hook")
    handle = await client.start_workflow(
        SubscriptionWorkflow.run,
        listening,
        id=f"{workflow_id(deployment)}/listener",
        task_queue=QUEUE,
    )
    _ = await handle.execute_update(SubscriptionWorkflow.test, listening)
    while world.log.count("deliver") < 2:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    await handle.signal(SubscriptionWorkflow.look_again)
    await handle.result()


SCENARIOS: tuple[Scenario, ...] = (
    instantiated,
    instantiating,
    refused,
    terminated,
    cancelled,
    updated,
    updating,
    untouched,
    returned,
    compensated,
    resumed,
    superseded,
    migrated,
    swept,
    healed,
    ordered,
    gated,
    broken,
    hooked,
    previewed,
    listened,
    unused,
    followed,  # last: it stays open, and would take from whoever comes after it
)


async def record(
    environment: WorkflowEnvironment, scenario: Scenario
) -> dict[str, WorkflowHistory]:
    """Run one scenario; the histories of the deployment and of its clusters, by file name."""
    name, world = scenario.__name__, World()
    deployment = f"shop/boutique/v1/{name}"
    async with Worker(
        environment.client,
        task_queue=QUEUE,
        workflows=WORKFLOWS,
        activities=activities(world),
        workflow_runner=SANDBOX,
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        await scenario(environment.client, world, deployment)
        found: dict[str, WorkflowHistory] = {}
        ids = (workflow_id(deployment), f"status/{name}/")
        query = " OR ".join(f"WorkflowId STARTS_WITH '{start}'" for start in ids)
        async for execution in environment.client.list_workflows(query):
            handle = environment.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            part = execution.id.rpartition("+")[2] if "+" in execution.id else "deployment"
            part = "cluster" if execution.id.startswith("status/") else part
            key = f"{name}-{execution.workflow_type}-{part}"
            number = sum(known.startswith(key) for known in found)
            found[f"{key}-{number}" if number else key] = await handle.fetch_history()
        for hold in world.hold.values():
            hold.set()
        await asyncio.sleep(0.2)
    return found


def _without_host(history: WorkflowHistory) -> dict[str, Any]:
    """The history's JSON; which process in which folder of which machine made it is nobody's business."""
    text = re.sub(r'("identity":\s*)"[^"]*"', r'\1"worker"', history.to_json())
    text = re.sub(r'"\d+@[^"]*"', '"sticky"', text)
    text = re.sub(r'("stackTrace":\s*)"(?:[^"\\]|\\.)*"', r'\1""', text)
    document: dict[str, Any] = json.loads(text)
    return document


async def main(names: list[str]) -> None:
    """Record the named scenarios, or all."""
    chosen = [s for s in SCENARIOS if not names or s.__name__ in names]
    HISTORIES.mkdir(exist_ok=True)
    for scenario in chosen:
        for old in HISTORIES.glob(f"{scenario.__name__}-*.json"):
            old.unlink()
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(temporal_binary()),
        data_converter=pydantic_data_converter,
        search_attributes=list(SEARCH_ATTRIBUTES),
        dev_server_log_level="error",
    ) as environment:
        for scenario in chosen:
            for name, history in (await record(environment, scenario)).items():
                document = {"workflowId": history.workflow_id, **_without_host(history)}
                (HISTORIES / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
