"""Who starts when: gates of a deployment's workflow, on a real Temporal server."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from emco.domain.contracts import Rules
from emco.domain.dependencies import Dependency, OnTimeout, Scope
from emco.domain.lifecycle import Progress
from emco.domain.names import DEPENDENCIES_SIGNAL
from tests.workflows.fakes import World
from tests.workflows.test_deployment import start, until
from tests.workflows.test_operations import ask, eventually, up
from workflows.deployment import DeploymentWorkflow

C1, C2 = "edge+c1", "edge+c2"


def waits(app: str, needs: str, condition: str = "Ready", **more: object) -> Dependency:
    return Dependency.model_validate({"app": app, "needs": needs, "condition": condition, **more})


@pytest.fixture
def world() -> World:
    """The cart waits for redis on both clusters, the frontend for the cart; nobody for the mail."""
    return World(
        clusters={C1: ("cart", "frontend", "mail", "redis"), C2: ("cart", "mail", "redis")},
        dependencies=(waits("cart", "redis"), waits("frontend", "cart")),
    )


def hold(world: World, step: str) -> asyncio.Event:
    return world.hold.setdefault(step, asyncio.Event())


async def test_an_app_starts_after_those_it_needs_are_ready_everywhere(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    hold(world, f"ready redis on {C2}")
    await start(client, deployment, queue)
    await eventually(lambda: f"ready redis on {C1}" in world.times and "ready mail" in world.log)
    await eventually(lambda: (C1, "frontend") in world.waiting)
    await asyncio.sleep(0.5)
    assert "apply cart" not in world.log, "one copy of redis is not ready yet"
    assert [str(one) for one in world.waiting[C1, "cart"].awaits] == ["redis Ready"]
    assert [str(one) for one in world.waiting[C1, "frontend"].awaits] == ["cart Ready"]
    world.hold[f"ready redis on {C2}"].set()
    await until(world, Progress.INSTANTIATED)
    order = world.log
    assert order.index("ready redis") < order.index("apply cart")
    assert order.index("apply frontend") > max(i for i, s in enumerate(order) if s == "ready cart")
    assert not any(unit.awaits for unit in world.waiting.values())


async def test_deployed_does_not_ask_for_readiness_but_for_every_cluster(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", "Deployed"),)
    hold(world, f"apply redis on {C2}")
    hold(world, "ready redis")
    await start(client, deployment, queue)
    await eventually(lambda: f"ready redis on {C1}" in world.times)
    await asyncio.sleep(0.5)
    assert "apply cart" not in world.log
    world.hold[f"apply redis on {C2}"].set()
    await eventually(lambda: world.log.count("apply cart") == 2)
    world.hold["ready redis"].set()
    await until(world, Progress.INSTANTIATED)


async def test_the_copy_beside_it_is_enough_where_that_is_asked_for(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (
        waits("cart", "redis", scope=Scope.SAME_CLUSTER),
        waits("frontend", "cart"),
    )
    hold(world, f"ready redis on {C2}")
    await start(client, deployment, queue)
    await eventually(lambda: f"ready cart on {C1}" in world.times)
    await asyncio.sleep(0.5)
    assert f"apply cart on {C2}" not in world.times
    assert "apply frontend" not in world.log
    world.hold[f"ready redis on {C2}"].set()
    await until(world, Progress.INSTANTIATED)


async def test_a_delay_counts_from_the_moment_the_condition_became_true(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", wait=2), waits("frontend", "cart", "Deployed"))
    await start(client, deployment, queue)
    await eventually(lambda: world.waiting.get((C1, "cart")) is not None)
    await until(world, Progress.INSTANTIATED)
    ready = max(world.times[f"ready redis on {c}"] for c in (C1, C2))
    started = min(world.times[f"apply cart on {c}"] for c in (C1, C2))
    assert timedelta(seconds=2) <= started - ready < timedelta(seconds=3)


async def test_what_is_written_while_an_app_waits_counts_at_once(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", wait=3600),)
    handle = await start(client, deployment, queue)
    await eventually(lambda: getattr(world.waiting.get((C1, "cart")), "until", None) is not None)
    world.dependencies = (waits("cart", "redis", wait=1), waits("frontend", "mail"))
    await handle.signal(DEPENDENCIES_SIGNAL)
    await until(world, Progress.INSTANTIATED)


async def test_a_dependency_that_is_added_is_met_by_what_was_there_before(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis"),)
    hold(world, "ready redis")
    handle = await start(client, deployment, queue)
    await eventually(lambda: world.log.count("ready mail") == 2)
    world.dependencies = (waits("cart", "mail"),)
    await handle.signal(DEPENDENCIES_SIGNAL)
    await eventually(lambda: world.log.count("apply cart") == 2)
    world.hold["ready redis"].set()
    await until(world, Progress.INSTANTIATED)


async def test_under_continue_a_failure_ends_what_waits_for_it_and_nothing_else(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(on_failure="continue")
    world.refuse[f"ready redis on {C2}"] = "the disk is full"
    await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    assert "apply cart" not in world.log
    assert "apply frontend" not in world.log
    assert world.log.count("ready mail") == 2
    assert world.waiting[C1, "frontend"].failure == (
        f"not started: redis failed on {C2}: the disk is full"
    )
    assert "the disk is full" in world.life.message


async def test_under_hold_a_failure_ends_the_waiting_and_resume_goes_on(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.refuse[f"ready redis on {C2}"] = "the disk is full"
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    assert "apply cart" not in world.log
    world.refuse.clear()
    await ask(handle, DeploymentWorkflow.resume)
    await until(world, Progress.INSTANTIATED)


async def test_waiting_too_long_fails_with_the_chain_to_what_is_late(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis"), waits("frontend", "cart", timeout=1))
    hold(world, f"ready redis on {C2}")
    await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    assert (
        f"gave up after 1 s, cart is not Ready on {C1}, because redis is not Ready on {C2}"
        in world.life.message
    )


async def test_waiting_too_long_goes_on_where_that_is_asked_for(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", timeout=1, on_timeout=OnTimeout.PROCEED),)
    hold(world, "ready redis")
    await start(client, deployment, queue)
    await eventually(lambda: world.log.count("ready cart") == 2)
    world.hold["ready redis"].set()
    await until(world, Progress.INSTANTIATED)


async def test_readiness_that_has_to_last_is_watched_and_the_delay_follows(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", stable_for=30, wait=1),)
    hold(world, f"steady redis on {C2}")
    await start(client, deployment, queue)
    await eventually(lambda: world.log.count("steady redis") == 2)
    await asyncio.sleep(1.5)
    assert "apply cart" not in world.log
    world.hold[f"steady redis on {C2}"].set()
    await until(world, Progress.INSTANTIATED)
    assert world.log.count("steady redis") == 2


async def test_stop_ends_the_waiting_and_resume_takes_it_up(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    hold(world, f"ready redis on {C2}")
    handle = await start(client, deployment, queue)
    await eventually(lambda: (C1, "frontend") in world.waiting)
    await ask(handle, DeploymentWorkflow.stop)
    await until(world, Progress.INSTANTIATE_STOPPED)
    world.hold[f"ready redis on {C2}"].set()
    await ask(handle, DeploymentWorkflow.resume)
    await until(world, Progress.INSTANTIATED)
    assert world.log.index("apply frontend") > world.log.index("apply cart")


async def test_an_update_waits_for_what_it_changes_and_not_for_what_stays(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.version, world.log[:] = 2, []
    world.clusters = {**world.clusters, C2: ("cart", "mail", "redis", "frontend")}
    hold(world, f"ready redis on {C2}")
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: f"apply redis on {C2}" in world.times and "ready mail" in world.log)
    await asyncio.sleep(0.5)
    assert "apply cart" not in world.log
    world.hold[f"ready redis on {C2}"].set()
    await eventually(lambda: "end update done" in world.log)
    assert world.log.index("apply frontend") > world.log.index("ready cart")
    world.applied = dict.fromkeys(world.applied, "v2")
    del world.applied[C2, "frontend"]
    world.log[:] = []
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    assert [s for s in world.log if s.startswith("apply")] == ["apply frontend"]


async def test_a_rollback_waits_for_what_it_changes_and_not_for_what_stays(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (*world.dependencies, waits("cart", "mail"))
    handle = await up(client, world, queue, deployment)
    world.version = 2
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    world.applied |= {unit: "v1" for unit in world.applied if unit[1] in ("frontend", "mail")}
    world.log[:] = []
    hold(world, f"ready redis on {C2}")
    await ask(handle, DeploymentWorkflow.rollback, revision=1)
    await eventually(lambda: world.log.count("ready redis") == 2)
    await eventually(lambda: bool(world.waiting[C1, "cart"].awaits))
    await asyncio.sleep(0.5)
    assert "apply cart" not in world.log
    assert [str(one) for one in world.waiting[C1, "cart"].awaits] == ["redis Ready"]
    world.hold[f"ready redis on {C2}"].set()
    await eventually(lambda: "end rollback done" in world.log)
    applied = [step for step in world.log if step.startswith("apply")]
    assert applied == [*["apply redis"] * 2, *["apply cart"] * 2]


async def test_terminate_removes_an_app_when_all_that_need_it_are_gone(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    hold(world, f"remove cart on {C2}")
    await ask(handle, DeploymentWorkflow.terminate)
    await eventually(lambda: f"remove cart on {C2}" in world.times)
    await asyncio.sleep(0.5)
    assert "remove redis" not in world.log
    assert world.log.count("remove mail") == 2
    assert [str(a) for a in world.waiting[C1, "redis"].awaits] == ["cart to be removed"]
    world.hold[f"remove cart on {C2}"].set()
    await handle.result()
    order = [s for s in world.log if s.startswith("remove") and "mail" not in s]
    assert order == ["remove frontend", *["remove cart"] * 2, *["remove redis"] * 2]
    assert world.present == set()


async def test_a_cluster_that_is_away_holds_up_no_removal_elsewhere(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.clusters = {**world.clusters, C2: ("cart", "frontend", "mail", "redis")}
    handle = await up(client, world, queue, deployment)
    world.away.add(C2)
    await ask(handle, DeploymentWorkflow.terminate)
    await eventually(lambda: f"remove redis on {C1}" in world.times)
    await until(world, Progress.TERMINATED)
    assert {cluster for cluster, _ in world.present} == {C2}
    world.away.clear()
    await handle.result()
    assert world.present == set()


async def test_what_cannot_be_removed_keeps_what_it_needs(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.refuse[f"remove cart on {C2}"] = "a finalizer stays"
    await ask(handle, DeploymentWorkflow.terminate)
    await until(world, Progress.TERMINATE_FAILED)
    assert "remove redis" not in world.log
    assert world.waiting[C1, "redis"].failure == (
        f"not removed: cart could not be removed from {C2}: a finalizer stays"
    )
    world.refuse.clear()
    await ask(handle, DeploymentWorkflow.resume)
    await until(world, Progress.TERMINATED)


async def test_apps_that_leave_go_in_reverse_order_too(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    handle = await up(client, world, queue, deployment)
    world.version, world.clusters = 2, {C1: ("mail",)}
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    order = [s for s in world.log if s.startswith("remove") and "mail" not in s]
    assert order == ["remove frontend", *["remove cart"] * 2, *["remove redis"] * 2]


async def test_what_a_failed_instantiate_brought_about_goes_in_reverse_order(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(on_failure="rollback")
    world.refuse["ready frontend"] = "it crashes"
    handle = await start(client, deployment, queue)
    await handle.result()
    order = [s for s in world.log if s.startswith("remove") and "mail" not in s]
    assert order == ["remove frontend", *["remove cart"] * 2, *["remove redis"] * 2]


async def test_a_cluster_that_is_away_is_waited_for(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.rules = Rules(preflight="per-cluster")
    world.away.add(C2)
    await start(client, deployment, queue)
    await eventually(lambda: f"ready redis on {C1}" in world.times)
    await eventually(lambda: (C1, "cart") in world.waiting)
    assert "apply cart" not in world.log
    world.away.clear()
    await until(world, Progress.INSTANTIATED)


async def test_deployed_is_after_the_post_install_hooks(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.dependencies = (waits("cart", "redis", "Deployed"),)
    world.hooks = {"redis": ("post-install fill",)}
    hook = "post-install fill and tidies up"
    hold(world, f"{hook} on {C2}")
    await start(client, deployment, queue)
    await eventually(lambda: f"{hook} on {C2}" in world.times)
    await asyncio.sleep(0.5)
    assert "apply cart" not in world.log, "a hook of redis still runs on one of its clusters"
    world.hold[f"{hook} on {C2}"].set()
    await until(world, Progress.INSTANTIATED)
    assert world.log.index(hook) < world.log.index("apply cart")
