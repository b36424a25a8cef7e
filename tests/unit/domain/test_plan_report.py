"""A plan for people says in which order apps start."""

from emco.domain.dependencies import Dependency
from emco.domain.plan import diff
from emco.domain.plan.hooks import Goal
from emco.domain.plan.model import Plan, UnitPlan
from emco.domain.plan.report import plan_report
from emco.domain.status import ObjectKey

C1, C2 = "edge+c1", "edge+c2"


def change(name: str, kind: diff.Kind) -> list[diff.ObjectChange]:
    key = ObjectKey(api_version="v1", kind="ConfigMap", namespace="n", name=name)
    return [diff.ObjectChange(key=key, kind=kind)]


def test_a_unit_names_the_apps_it_starts_after() -> None:
    units = [("cart", C1), ("cart", C2), ("mail", C1), ("redis", C2)]
    plan = Plan(
        deployment="p/ca/v1/d",
        release="r",
        namespace="n",
        cloud="c",
        units=tuple(UnitPlan(app=app, cluster=at, manifest="m") for app, at in units),
        dependencies=(
            Dependency(app="cart", needs="redis", wait=2),
            Dependency(app="cart", needs="mail"),
            Dependency(app="cart", needs="nowhere"),
            Dependency(app="gone", needs="redis"),
        ),
    )
    report = plan_report(
        plan,
        {
            f"cart@{C1}": change("cart", diff.Kind.CHANGE),
            f"cart@{C2}": change("cart", diff.Kind.KEEP),
            f"mail@{C1}": change("mail", diff.Kind.CREATE),
            f"redis@{C2}": change("redis", diff.Kind.KEEP),
            f"gone@{C1}": change("gone", diff.Kind.DELETE),
        },
        {"m": ()},
        {("cart", C1): Goal.UPGRADE, ("cart", C2): None, ("mail", C1): Goal.INSTALL},
        digest="d",
        revision=1,
        passed_over=(),
    )
    assert {(unit.app, unit.cluster): unit.after for unit in report.units} == {
        ("cart", C1): ("mail", "redis"),
        ("cart", C2): (),
        ("mail", C1): (),
        ("redis", C2): (),
        ("gone", C1): (),
    }
