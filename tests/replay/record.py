"""Records the histories that `test_replay.py` replays: run it when workflows change on purpose.

    python -m tests.replay.record

Each history is one deployment's or one cluster's workflow in a given state, from a real server with
fake activities. Look at the difference before committing it: a changed history is a changed promise
to every deployment that runs.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from emco.domain.lifecycle import Progress
from emco.domain.names import SEARCH_ATTRIBUTES, workflow_id
from emco.main import SANDBOX, WORKFLOWS
from emco.sandbox.toolchain import temporal_binary
from tests.workflows.fakes import World, activities
from workflows.deployment import DeploymentWorkflow, Request, Start

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


SCENARIOS: tuple[Scenario, ...] = (instantiated, instantiating, refused, terminated, cancelled)


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
        found = {}
        query = f"WorkflowId STARTS_WITH '{workflow_id(deployment)}'"
        async for execution in environment.client.list_workflows(query):
            handle = environment.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            part = execution.id.rpartition("+")[2] if "+" in execution.id else "deployment"
            found[f"{name}-{execution.workflow_type}-{part}"] = await handle.fetch_history()
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


async def main() -> None:
    """Record every scenario."""
    HISTORIES.mkdir(exist_ok=True)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(temporal_binary()),
        data_converter=pydantic_data_converter,
        search_attributes=list(SEARCH_ATTRIBUTES),
        dev_server_log_level="error",
    ) as environment:
        for scenario in SCENARIOS:
            for name, history in (await record(environment, scenario)).items():
                document = {"workflowId": history.workflow_id, **_without_host(history)}
                (HISTORIES / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
