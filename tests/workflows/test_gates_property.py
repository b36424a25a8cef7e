"""Whatever waits for whom: nothing starts too early, nothing waits for ever, and the way back is reversed."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import strategies as st
from temporalio.testing import WorkflowEnvironment

from emco.domain.contracts import Rules
from emco.domain.dependencies import Condition, Dependency, Scope
from emco.domain.lifecycle import Progress
from emco.domain.plan.gates import Unit
from tests.workflows.conftest import working
from tests.workflows.fakes import World
from tests.workflows.test_deployment import start, until
from tests.workflows.test_operations import ask, eventually
from workflows.deployment import DeploymentWorkflow

CLUSTERS = ("edge+c1", "edge+c2")


@dataclass(frozen=True)
class Case:
    """A deployment, and the one step of it that is held up: others wait for it."""

    units: frozenset[Unit]
    dependencies: tuple[Dependency, ...]
    hooked: frozenset[str]
    slow: Unit
    step: str

    def counted(self, one: Dependency, cluster: str) -> list[Unit]:
        """The copies of the needed app that a unit on `cluster` waits for."""
        copies = [unit for unit in self.units if unit[1] == one.needs]
        beside = [copy for copy in copies if copy[0] == cluster]
        return beside if one.scope is Scope.SAME_CLUSTER and beside else copies

    def waits(self) -> Iterator[tuple[Unit, Unit, Condition]]:
        """Which unit waits for which and for what of it; who is waited for comes first."""
        for one in sorted(self.dependencies, key=lambda one: one.app):
            for unit in self.units:
                if unit[1] == one.app:
                    yield from ((unit, c, one.condition) for c in self.counted(one, unit[0]))

    def late(self) -> set[Unit]:
        """The units that cannot start without the slow one."""
        is_deployed = self.step == "ready" and self.slow[1] not in self.hooked
        found: set[Unit] = set()
        for unit, needed, condition in self.waits():
            is_met = needed != self.slow or (is_deployed and condition is Condition.DEPLOYED)
            if needed in found or not is_met:
                found.add(unit)
        return found

    def reached(self, unit: Unit, condition: Condition) -> str:
        """The last step before the condition is met."""
        cluster, app = unit
        if app in self.hooked:
            return f"{hook(app)} and tidies up on {cluster}"
        return f"{'apply' if condition is Condition.DEPLOYED else 'ready'} {app} on {cluster}"


def hook(app: str) -> str:
    return f"post-install fill-{app}"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Three to five apps, each of which may wait for any of those before it."""
    apps = "abcde"[: draw(st.integers(3, 5))]
    some = st.sets(st.sampled_from(CLUSTERS), min_size=1)
    units = sorted((cluster, app) for app in apps for cluster in draw(some))
    dependencies = tuple(
        Dependency(
            app=app,
            needs=needs,
            condition=draw(st.sampled_from(Condition)),
            scope=draw(st.sampled_from(Scope)),
        )
        for app in apps
        for needs in apps
        if needs < app and draw(st.booleans())
    )
    hypothesis.assume(dependencies)
    needed = {one.needs for one in dependencies}
    case = Case(
        units=frozenset(units),
        dependencies=dependencies,
        hooked=frozenset(draw(st.sets(st.sampled_from(apps)))),
        slow=draw(st.sampled_from([unit for unit in units if unit[1] in needed])),
        step=draw(st.sampled_from(("apply", "ready"))),
    )
    hypothesis.assume(case.late())
    return case


@pytest.mark.parametrize("policy", ["", "hold", "continue", "rollback"])
@hypothesis.settings(
    derandomize=True,
    database=None,
    max_examples=3,
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
@hypothesis.given(case=cases())
async def test_every_graph_is_walked_in_order_and_to_its_end(
    server: WorkflowEnvironment, policy: str, case: Case
) -> None:
    """The slow step fails under `policy`, or is done after all where there is none."""
    released = asyncio.Event()
    slow = f"{case.step} {case.slow[1]} on {case.slow[0]}"
    world = World(
        clusters={c: tuple(sorted(a for at, a in case.units if at == c)) for c in CLUSTERS},
        dependencies=case.dependencies,
        hooks={app: (hook(app),) for app in case.hooked},
        hold={slow: released},
        refuse={slow: "the disk is full"} if policy else {},
        rules=Rules(on_failure=policy or "hold"),
    )
    async with working(server.client, world) as queue:
        handle = await start(server.client, f"shop/boutique/v1/{uuid.uuid4().hex[:8]}", queue)
        await eventually(lambda: slow in world.times and is_still(case, world))
        assert not applied(world) & case.late()
        released.set()
        if policy != "rollback":
            await until(world, Progress.INSTANTIATE_FAILED if policy else Progress.INSTANTIATED)
            await ask(handle, DeploymentWorkflow.terminate)
        async with asyncio.timeout(20):
            await handle.result()
    if policy == "":
        assert applied(world) == case.units
    else:
        assert applied(world) == case.units - case.late()
    assert_in_order(case, world)
    assert world.present == set()


def is_still(case: Case, world: World) -> bool:
    """True when all that can go on has, and every unit that waits says for what."""
    others = case.units - case.late() - {case.slow}
    return all(f"ready {app} on {cluster}" in world.times for cluster, app in others) and all(
        unit in world.waiting and world.waiting[unit].awaits for unit in case.late()
    )


def applied(world: World) -> set[Unit]:
    steps = (step.split() for step in world.times if step.startswith("apply "))
    return {(cluster, app) for _, app, _, cluster in steps}


def assert_in_order(case: Case, world: World) -> None:
    for unit, needed, condition in case.waits():
        if unit in applied(world):
            cluster, app = unit
            met = world.times[case.reached(needed, condition)]
            assert met < world.times[f"apply {app} on {cluster}"]
            gone = world.times[f"remove {app} on {cluster}"]
            assert gone < world.times[f"remove {needed[1]} on {needed[0]}"]
