"""What has to be done about a unit follows from what was recorded of it."""

from datetime import UTC, datetime

import pytest

from emco.domain.contracts import Step
from emco.domain.plan.model import Plan, UnitPlan
from emco.domain.plan.steps import outline, outline_of_removal
from emco.domain.status import Footprint, ObjectKey, Phase, UnitRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(name: str) -> ObjectKey:
    return ObjectKey(api_version="v1", kind="ConfigMap", name=name)


def plan(**apps: tuple[str, ...]) -> Plan:
    units = tuple(
        UnitPlan(app=app, cluster="e+1", manifest="new", objects=tuple(map(key, names)))
        for app, names in apps.items()
    )
    return Plan(deployment="p/c/v/d", release="r", namespace="n", cloud="l", units=units)


def left(app: str, *names: str) -> Footprint:
    return Footprint(app=app, cluster="e+1", namespace="n", objects=tuple(map(key, names)))


@pytest.mark.parametrize(
    ("applied", "phase", "force", "step"),
    [
        ("new", Phase.READY, False, Step.KEEP),
        ("new", Phase.READY, True, Step.KEEP),
        ("new", Phase.APPLIED, False, Step.AWAIT),
        ("new", Phase.RETRYING, False, Step.AWAIT),
        ("new", Phase.DRIFTED, False, Step.KEEP),
        ("new", Phase.DRIFTED, True, Step.APPLY),
        ("new", Phase.DEGRADED, False, Step.KEEP),
        ("new", Phase.DEGRADED, True, Step.KEEP),
        ("old", Phase.DEGRADED, False, Step.APPLY),
        ("old", Phase.READY, False, Step.APPLY),
        ("", Phase.APPLYING, False, Step.APPLY),
    ],
)
def test_steps(applied: str, phase: Phase, force: bool, step: Step) -> None:
    row = UnitRow(app="web", cluster="e+1", since=NOW, phase=phase, applied=applied)
    assert outline(plan(web=("a",)), "e+1", [row], [], force=force).steps == {"web": step}


def test_a_unit_without_a_record_is_applied() -> None:
    assert outline(plan(web=("a",)), "e+1", [], []).steps == {"web": Step.APPLY}


def test_only_apps_that_leave_objects_behind_are_pruned() -> None:
    wanted = plan(web=("a",), db=("d", "moved"))
    found = outline(wanted, "e+1", [], [left("web", "a", "moved"), left("db", "d", "gone")])
    assert found.prune == ("db",), "what another app has now is not left behind"


def test_a_removal_takes_what_the_plan_does_not_name() -> None:
    there = [left("web", "a"), left("old", "o")]
    assert outline_of_removal(None, "e+1", there).apps == ("old", "web")
    assert outline_of_removal(plan(web=("a",)), "e+1", there).apps == ("old",)
