"""Hooks stand where Helm has them: around what is done to a unit, and in nobody else's way."""

from temporalio.client import Client

from emco.domain.contracts import Rules
from emco.domain.lifecycle import Progress
from tests.workflows.fakes import World
from tests.workflows.test_deployment import start, until
from tests.workflows.test_operations import ask, eventually, up
from workflows.deployment import DeploymentWorkflow

HOOKS: dict[str, tuple[str, ...]] = {
    "cart": (
        "pre-install a",
        "pre-install b",
        "post-install c",
        "pre-upgrade d",
        "pre-delete e",
        "post-delete f",
        "test g",
    )
}


def of_cart(world: World) -> list[str]:
    """What was done about the app with hooks, from one operation to the next."""
    known = ("apply cart", "ready cart", "remove cart", *HOOKS["cart"])
    return [step for step in world.log if step.startswith(known)]


async def test_hooks_run_around_what_is_done_one_after_the_other(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hooks = HOOKS
    handle = await up(client, world, queue, deployment)
    assert of_cart(world) == [
        "pre-install a",
        "pre-install b and tidies up",
        "apply cart",
        "ready cart",
        "post-install c and tidies up",
    ]
    world.log.clear()
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    assert of_cart(world) == [], "what does not change is not upgraded"
    world.version = 2
    world.log.clear()
    await ask(handle, DeploymentWorkflow.update)
    await eventually(lambda: "end update done" in world.log)
    assert of_cart(world) == ["pre-upgrade d and tidies up", "apply cart", "ready cart"]
    world.log.clear()
    await ask(handle, DeploymentWorkflow.terminate)
    await handle.result()
    assert of_cart(world) == [
        "pre-delete e and tidies up",
        "remove cart",
        "post-delete f and tidies up",
    ]


async def test_a_failed_hook_fails_its_unit_and_a_resume_goes_on(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hooks = HOOKS
    world.refuse["pre-install b and tidies up"] = "no such table"
    handle = await start(client, deployment, queue)
    await until(world, Progress.INSTANTIATE_FAILED)
    assert "no such table" in world.life.message
    assert "apply cart" not in world.log
    world.refuse.clear()
    await ask(handle, DeploymentWorkflow.resume)
    await until(world, Progress.INSTANTIATED)
    assert "apply cart" in world.log


async def test_a_failed_pre_delete_hook_leaves_its_unit_where_it_is(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hooks = HOOKS
    handle = await up(client, world, queue, deployment)
    world.refuse["pre-delete e and tidies up"] = "no backup"
    await ask(handle, DeploymentWorkflow.terminate)
    await until(world, Progress.TERMINATE_FAILED)
    assert world.present == {("edge+c2", "cart")}


async def test_a_test_changes_nothing_whatever_it_comes_to(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hooks = HOOKS
    handle = await up(client, world, queue, deployment)
    world.log.clear()
    await ask(handle, DeploymentWorkflow.test)
    await eventually(lambda: "end test done" in world.log)
    assert of_cart(world) == ["test g and tidies up"]
    assert (world.life.progress, world.life.message) == (Progress.INSTANTIATED, "")
    world.refuse["test g and tidies up"] = "nobody answers"
    before = world.life
    await ask(handle, DeploymentWorkflow.test)
    await eventually(lambda: "end test failed" in world.log)
    assert world.life.progress is Progress.INSTANTIATED
    assert "nobody answers" in world.life.message
    assert world.life.revision == before.revision


async def test_the_way_back_is_not_taken_for_what_was_never_begun(
    client: Client, world: World, queue: str, deployment: str
) -> None:
    world.hooks, world.rules = HOOKS, Rules(on_failure="rollback")
    world.refuse["pre-install a"] = "no"
    handle = await start(client, deployment, queue)
    overview = await handle.result()
    assert overview.progress is Progress.TERMINATED
    assert "no" in world.life.message
