"""The order, the refusals and the endings of a deployment's workflow, on a real Temporal server."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError

from emco.domain.contracts import Rules
from emco.domain.lifecycle import Progress, State
from emco.domain.names import workflow_id
from tests.workflows.fakes import World
from workflows.deployment import DeploymentWorkflow, Overview, Request, Start

Handle = WorkflowHandle[DeploymentWorkflow, Overview]


async def start(client: Client, deployment: str, queue: str) -> Handle:
    """As a person would from the temporal CLI."""
    return await client.start_workflow(
        DeploymentWorkflow.run,
        Start(deployment=deployment),
        id=workflow_id(deployment),
        task_queue=queue,
    )


async def ask(client: Client, deployment: str, queue: str, verb: Any, operation: str) -> Any:
    """As the API does: start the workflow when there is none, and send the verb with it."""
    operation_start = WithStartWorkflowOperation(
        DeploymentWorkflow.run,
        Start(deployment=deployment, instantiate=False),
        id=workflow_id(deployment),
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    return await client.execute_update_with_start_workflow(
        verb, Request(operation=operation), start_workflow_operation=operation_start
    )


async def until(world: World, progress: Progress) -> None:
    """Wait until the record says so."""
    async with asyncio.timeout(20):
        while world.life.progress is not progress:
            await asyncio.sleep(0.02)


def handle_of(client: Client, deployment: str) -> Handle:
    return client.get_workflow_handle_for(DeploymentWorkflow.run, workflow_id(deployment))


async def test_starting_it_instantiates_every_unit_on_every_cluster(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    assert world.present == {("edge+c1", "frontend"), ("edge+c1", "redis"), ("edge+c2", "cart")}
    for app in ("frontend", "redis", "cart"):
        assert world.log.index(f"apply {app}") < world.log.index(f"ready {app}")
    assert world.log[0] == "begin instantiate"
    assert world.log[-1] == "end instantiate done"


async def test_terminate_removes_everything_and_ends_the_workflow(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    _ = await handle.execute_update(DeploymentWorkflow.terminate, Request())
    overview = await handle.result()
    assert overview.progress is Progress.TERMINATED
    assert world.present == set()
    assert world.life.state is State.TERMINATED


async def test_cancelling_the_workflow_is_a_graceful_terminate(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert world.present == set()
    assert world.life.progress is Progress.TERMINATED


async def test_cancelling_in_the_middle_of_an_apply_removes_what_was_applied(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hold["apply redis"] = asyncio.Event()
    handle = await start(client, deployment, queue)
    async with asyncio.timeout(10):
        while "apply redis" not in world.log:
            await asyncio.sleep(0.02)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert world.present == set()
    assert world.life.progress is Progress.TERMINATED


async def test_terminate_overtakes_a_running_instantiate(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hold["ready frontend"] = asyncio.Event()
    await ask(client, deployment, queue, DeploymentWorkflow.instantiate, "op1")
    async with asyncio.timeout(10):
        while "ready frontend" not in world.log:
            await asyncio.sleep(0.02)
    await ask(client, deployment, queue, DeploymentWorkflow.terminate, "op2")
    assert (await handle_of(client, deployment).result()).progress is Progress.TERMINATED
    assert world.present == set()
    assert "end instantiate done" not in world.log


async def test_an_update_with_start_answers_once_the_verb_is_recorded(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    begun = await ask(client, deployment, queue, DeploymentWorkflow.instantiate, "op1")
    assert begun.operation == "op1"
    assert world.life.operation == "op1"
    assert world.life.progress in (Progress.INSTANTIATING, Progress.INSTANTIATED)


async def test_a_second_instantiate_is_refused_and_leaves_the_first_alone(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    await ask(client, deployment, queue, DeploymentWorkflow.instantiate, "op1")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await ask(client, deployment, queue, DeploymentWorkflow.instantiate, "op2")
    assert isinstance(refused.value.cause, ApplicationError)
    await until(world, Progress.INSTANTIATED)
    assert world.life.operation == "op1"


async def test_starting_what_was_never_approved_fails_at_once_with_the_reason(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.life = world.life.model_copy(update={"actions": ()})
    handle = await start(client, deployment, queue)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert "must be Approved" in str(failed.value.cause)


async def test_a_refused_update_ends_the_workflow_that_was_started_for_it(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    with pytest.raises(WorkflowUpdateFailedError, match=r"Workflow update failed"):
        await ask(client, deployment, queue, DeploymentWorkflow.terminate, "op1")
    assert (await handle_of(client, deployment).result()).progress is Progress.CREATED


async def test_a_malformed_start_fails_instead_of_hanging(
    client: Client, queue: str, deployment: str
) -> None:
    handle = await client.start_workflow(
        "Deployment",
        {"deployment": "not-a-deployment"},
        id=workflow_id(deployment),
        task_queue=queue,
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert "deployment" in str(failed.value.cause)


async def test_continue_lets_the_other_clusters_go_on(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(on_failure="continue")
    world.refuse["apply cart"] = "no"
    world.hold["ready frontend"] = asyncio.Event()
    await start(client, deployment, queue)
    async with asyncio.timeout(20):
        while not {"apply cart", "ready frontend"} <= set(world.log):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    assert world.life.progress is Progress.INSTANTIATING, "the other cluster is still at it"
    world.hold["ready frontend"].set()
    await until(world, Progress.INSTANTIATE_FAILED)


async def test_a_failed_unit_fails_the_operation_and_names_the_app_and_the_cluster(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.refuse["apply cart"] = "the API server refuses Deployment cart"
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    for part in ("edge+c2", "cart", "the API server refuses Deployment cart"):
        assert part in world.life.message
    assert (await handle.query(DeploymentWorkflow.status)).message == world.life.message


async def test_a_failed_instantiate_can_be_terminated(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.refuse["plan"] = "no compatible clusters"
    await ask(client, deployment, queue, DeploymentWorkflow.instantiate, "op1")
    await until(world, Progress.INSTANTIATE_FAILED)
    await ask(client, deployment, queue, DeploymentWorkflow.terminate, "op2")
    assert (await handle_of(client, deployment).result()).progress is Progress.TERMINATED


async def test_after_a_forced_end_the_next_instantiate_adopts_what_is_there(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    await handle.terminate("by force")
    await ask(client, deployment, queue, DeploymentWorkflow.instantiate, "op2")
    await until(world, Progress.INSTANTIATED)
    assert world.life.operation == "op2"
    assert [a.state for a in world.life.actions].count(State.INSTANTIATED) == 1


async def test_after_a_forced_end_terminate_still_cleans_up(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    await handle.terminate("by force")
    await ask(client, deployment, queue, DeploymentWorkflow.terminate, "op2")
    assert (await handle_of(client, deployment).result()).progress is Progress.TERMINATED
    assert world.present == set()


async def test_the_same_operation_id_twice_runs_once(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    for _ in range(2):
        _ = await handle.execute_update(
            DeploymentWorkflow.terminate, Request(operation="op9"), id="op9"
        )
    await handle.result()
    assert world.log.count("begin terminate") == 1


async def test_the_ui_tells_the_story(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    project = deployment.split("/")[0]
    async with asyncio.timeout(10):
        while True:
            query = f"EmcoProject = '{project}' AND EmcoState = 'Instantiated' AND WorkflowId = '{workflow_id(deployment)}'"
            if [w async for w in client.list_workflows(query)]:
                break
            await asyncio.sleep(timedelta(milliseconds=50).total_seconds())
    children = [
        w
        async for w in client.list_workflows(
            f"EmcoCluster = 'edge+c2' AND WorkflowType = 'ClusterRollout' AND WorkflowId STARTS_WITH '{workflow_id(deployment)}'"
        )
    ]
    assert len(children) == 1
