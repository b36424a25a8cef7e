"""Update, rollback, migrate, stop, resume, failure policies, queueing and drift, on a real Temporal server."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError

from emco.domain import lifecycle
from emco.domain.contracts import Rules
from emco.domain.lifecycle import OnBusy, Progress, State, Verb
from emco.domain.names import workflow_id
from tests.workflows.fakes import TIME, World
from tests.workflows.test_deployment import Handle, handle_of, start, until
from workflows.deployment import DeploymentWorkflow, Request

EVERYTHING = {("edge+c1", "frontend"), ("edge+c1", "redis"), ("edge+c2", "cart")}


async def up(client: Client, world: World, queue: str, deployment: str) -> Handle:
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATED)
    return handle


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def ask(handle: Handle, verb: Any, **request: Any) -> Any:
    return await handle.execute_update(verb, Request(**request))


async def test_an_update_touches_what_changed_and_removes_what_is_unwanted(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.version, world.clusters = 2, {"edge+c1": ("frontend",), "edge+c3": ("cart",)}
    begun = await ask(handle, DeploymentWorkflow.update)
    assert begun.revision == 2
    await eventually(lambda: "end update done" in world.log)
    assert world.present == {("edge+c1", "frontend"), ("edge+c3", "cart")}
    order = world.log
    assert order.index("ready cart") < order.index("remove redis"), (
        "nothing goes before it is replaced"
    )
    assert "release edge+c2" in order


async def test_an_update_that_changes_nothing_applies_nothing(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    before = [step for step in world.log if step.startswith("apply")]
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    assert [step for step in world.log if step.startswith("apply")] == before


async def test_a_refused_plan_leaves_no_trace(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.refuse["preflight edge+c2"] = "the quota is used up"
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update untouched" in world.log)
    assert (world.life.progress, world.life.revision) == (Progress.INSTANTIATED, 1)
    assert "the quota is used up" in world.life.message
    assert world.log.count("claim") == 1
    assert (await handle.query(DeploymentWorkflow.status)).progress is Progress.INSTANTIATED


async def test_a_rollback_brings_the_old_plan_back(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.version = 2
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: world.life.effective_revision == 2)
    begun = await ask(handle, DeploymentWorkflow.rollback, revision=1)
    await eventually(lambda: "end rollback done" in world.log)
    assert begun.revision == 3, "a rollback is a revision of its own"
    assert set(world.applied.values()) == {"v1"}


async def test_stop_halts_and_resume_goes_on_with_the_same_plan(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hold["ready frontend"] = asyncio.Event()
    handle = await start(client, deployment, queue)
    await eventually(lambda: "ready frontend" in world.log)
    await ask(handle, DeploymentWorkflow.stop)
    await until(world, Progress.INSTANTIATE_STOPPED)
    assert world.life.actions[-1].state is State.INSTANTIATE_STOPPED
    world.hold["ready frontend"].set()
    world.version = 2
    await ask(handle, DeploymentWorkflow.resume)
    await until(world, Progress.INSTANTIATED)
    assert set(world.applied.values()) == {"v1"}, "resume plans nothing anew"
    assert world.life.state is State.INSTANTIATED


async def test_a_terminate_can_be_stopped_and_resumed(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.hold["remove cart"] = asyncio.Event()
    await ask(handle, DeploymentWorkflow.terminate)
    await eventually(lambda: "remove cart" in world.log)
    await ask(handle, DeploymentWorkflow.stop)
    await until(world, Progress.TERMINATE_STOPPED)
    world.hold["remove cart"].set()
    await ask(handle, DeploymentWorkflow.resume)
    await handle.result()
    assert world.present == set()
    assert world.life.progress is Progress.TERMINATED


async def test_hold_stops_where_it_is_and_resume_goes_on(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.refuse["ready redis"] = "Job redis failed"
    world.hold["ready cart"] = asyncio.Event()
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    assert "Job redis failed" in world.life.message
    world.refuse.clear()
    world.hold["ready cart"].set()
    await ask(handle, DeploymentWorkflow.resume)
    await until(world, Progress.INSTANTIATED)
    assert world.present == EVERYTHING


async def test_rollback_policy_puts_an_update_back_on_every_cluster(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(on_failure="rollback")
    handle = await up(client, world, queue, deployment)
    world.version, world.refuse["ready cart"] = 2, "cart crashes"
    world.hold["ready cart"] = asyncio.Event()
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: set(world.applied.values()) == {"v2"})
    world.hold["ready cart"].set()
    await eventually(lambda: world.applied.get(("edge+c2", "cart")) == "v1")
    world.refuse.clear()
    await eventually(lambda: any(s.startswith("end update") for s in world.log))
    assert world.life.progress in (Progress.INSTANTIATED, Progress.INSTANTIATE_FAILED)
    assert "cart crashes" in world.life.message


async def test_rollback_policy_removes_what_a_failed_instantiate_put_there(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(on_failure="rollback")
    world.refuse["ready cart"] = "cart crashes"
    handle = await start(client, deployment, queue)
    overview = await handle.result()
    assert overview.progress is Progress.TERMINATED
    assert world.present == set()
    assert "cart crashes" in world.life.message


async def test_during_an_operation_a_second_is_refused_queued_or_takes_its_place(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hold["ready frontend"] = asyncio.Event()
    handle = await start(client, deployment, queue)
    await eventually(lambda: "ready frontend" in world.log)
    with pytest.raises(WorkflowUpdateFailedError):
        await ask(handle, DeploymentWorkflow.update)
    queued = await ask(handle, DeploymentWorkflow.update, on_busy=OnBusy.QUEUE)
    assert queued.queued
    assert (await handle.query(DeploymentWorkflow.status)).waiting == ("update",)
    world.version = 3
    taken = await ask(handle, DeploymentWorkflow.update, on_busy=OnBusy.SUPERSEDE)
    assert not taken.queued
    world.hold["ready frontend"].set()
    await eventually(lambda: world.log.count("end update done") == 2)
    assert "end instantiate superseded" in world.log
    assert world.life.revision == 3


async def test_what_waits_too_long_is_dropped_and_noted(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hold["ready frontend"] = asyncio.Event()
    handle = await start(client, deployment, queue)
    await eventually(lambda: "ready frontend" in world.log)
    await ask(handle, DeploymentWorkflow.update, on_busy=OnBusy.QUEUE)
    await ask(handle, DeploymentWorkflow.terminate)
    await handle.result()
    assert "end update untouched" in world.log
    assert world.life.progress is Progress.TERMINATED


async def test_a_cluster_that_is_away_delays_only_itself(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.away.add("edge+c2")
    await start(client, deployment, queue)
    await eventually(lambda: {"ready frontend", "ready redis"} <= set(world.log))
    assert world.life.progress is Progress.INSTANTIATING
    world.away.clear()
    await until(world, Progress.INSTANTIATED)
    assert world.log.index("preflight edge+c2") < world.log.index("apply cart")


async def test_strict_preflight_wants_every_cluster_first(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(preflight="strict")
    world.away.add("edge+c2")
    await start(client, deployment, queue)
    await eventually(lambda: "preflight edge+c1" in world.log)
    await asyncio.sleep(0.5)
    assert "apply frontend" not in world.log
    world.away.clear()
    await until(world, Progress.INSTANTIATED)


async def test_per_cluster_preflight_lets_the_others_go_on(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(preflight="per-cluster", on_failure="continue")
    world.refuse["preflight edge+c2"] = "no room"
    await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    assert {"ready frontend", "ready redis"} <= set(world.log)
    assert "apply cart" not in world.log


async def test_terminate_names_what_it_left_and_clears_it_when_the_cluster_is_back(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.away.add("edge+c2")
    await ask(handle, DeploymentWorkflow.terminate)
    await until(world, Progress.TERMINATED)
    assert world.present == {("edge+c2", "cart")}
    await asyncio.sleep(0.2)
    assert (await handle.query(DeploymentWorkflow.status)).remnants == ("edge+c2",)
    world.away.clear()
    await handle.result()
    assert world.present == set()


async def test_an_instantiate_ends_the_sweep_of_the_life_before(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.away.add("edge+c2")
    await ask(handle, DeploymentWorkflow.terminate)
    await until(world, Progress.TERMINATED)
    await ask(handle, DeploymentWorkflow.instantiate)
    world.away.clear()
    await until(world, Progress.INSTANTIATED)
    assert world.present == EVERYTHING
    planned = len(world.log) - world.log[::-1].index("plan")
    assert "remove cart" not in world.log[planned:], "the sweep is over before anything begins"


async def test_drift_is_healed_as_an_operation_with_a_reason(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(drift="heal")
    await up(client, world, queue, deployment)
    await eventually(lambda: "watch edge+c1" in world.log)
    world.drift.set()
    await eventually(lambda: "end heal done" in world.log)
    assert world.life.progress is Progress.INSTANTIATED
    assert world.life.revision == 1


async def test_the_watch_begins_anew_when_policies_change(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    await asyncio.sleep(0.3)
    assert "watch edge+c1" not in world.log
    world.rules = Rules(drift="warn")
    await handle.signal(DeploymentWorkflow.look_again)
    await eventually(lambda: "watch edge+c1" in world.log)


async def test_migrate_hands_over_to_the_other_deployments_workflow(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.version = 2
    target = deployment + "-b"
    await ask(handle, DeploymentWorkflow.migrate, target=target)
    overview = await handle.result()
    assert overview.progress is Progress.UPDATED
    await eventually(lambda: "end migrate done" in world.log)
    assert set(world.applied.values()) == {"v2"}
    there = client.get_workflow_handle_for(DeploymentWorkflow.run, workflow_id(target))
    assert (await there.query(DeploymentWorkflow.status)).progress is Progress.INSTANTIATED


async def test_an_operation_that_ends_as_it_is_stopped_is_simply_over(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    with pytest.raises(WorkflowUpdateFailedError):
        await ask(handle, DeploymentWorkflow.stop)
    assert (await handle_of(client, deployment).query(DeploymentWorkflow.status)).progress is (
        Progress.INSTANTIATED
    )


async def test_a_sweep_that_is_refused_makes_the_terminate_a_failure_to_be_asked_for_again(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.away.add("edge+c2")
    await ask(handle, DeploymentWorkflow.terminate)
    await until(world, Progress.TERMINATED)
    world.refuse["remove cart"] = "our rights were taken away"
    world.away.clear()
    await until(world, Progress.TERMINATE_FAILED)
    assert "our rights were taken away" in world.life.message
    world.refuse.clear()
    await ask(handle, DeploymentWorkflow.terminate)
    await handle.result()
    assert world.present == set()


async def test_a_migrate_waits_for_its_turn_but_takes_nobodys_place(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hold["ready frontend"] = asyncio.Event()
    handle = await start(client, deployment, queue)
    await eventually(lambda: "ready frontend" in world.log)
    target = deployment + "-b"
    with pytest.raises(WorkflowUpdateFailedError):
        await ask(handle, DeploymentWorkflow.migrate, target=target, on_busy=OnBusy.SUPERSEDE)
    queued = await ask(handle, DeploymentWorkflow.migrate, target=target, on_busy=OnBusy.QUEUE)
    assert queued.queued
    world.hold["ready frontend"].set()
    await eventually(lambda: "end migrate done" in world.log)
    assert world.log.index("end instantiate done") < world.log.index("hand over")


async def test_a_cluster_that_refuses_to_be_watched_is_not_asked_without_end(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(drift="warn")
    world.refuse |= {f"watch edge+c{n}": "no rights" for n in (1, 2)}
    handle = await up(client, world, queue, deployment)
    await eventually(lambda: "watch edge+c1" in world.log)
    await asyncio.sleep(1)
    assert world.log.count("watch edge+c1") == 1
    await ask(handle, DeploymentWorkflow.terminate)
    await handle.result()


async def test_a_deployment_without_anything_on_a_cluster_is_not_watched_without_end(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules, world.clusters = Rules(drift="warn"), {}
    handle = await up(client, world, queue, deployment)
    await asyncio.sleep(1)
    assert (await handle.describe()).history_length < 60


async def test_an_operation_that_was_recorded_and_then_lost_is_in_nobodys_way(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    await eventually(lambda: "end instantiate done" in world.log)
    world.life = lifecycle.accept(world.life, Verb.UPDATE, "d", now=TIME, operation="lost")
    world.version = 3
    begun = await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    assert world.life.operation == begun.operation
    assert set(world.applied.values()) == {"v3"}
