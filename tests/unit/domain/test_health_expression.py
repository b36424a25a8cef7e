"""Rules of users: what they may say, and what becomes of one that cannot work."""

from typing import Any

import pytest

from emco.domain.errors import Invalid
from emco.domain.health import Verdict, assess, check, essence


def widget(rule: str, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "annotations": {"emco.io/health": rule}},
        "status": status,
    }


@pytest.mark.parametrize(
    ("rule", "verdict", "told"),
    [
        ("self.status.phase == 'Up'", Verdict.CURRENT, ""),
        ("self.status.phase != 'Up'", Verdict.IN_PROGRESS, "RuleSaysNo: self.status.phase != 'Up'"),
        ("'Failed: ' + self.status.phase", Verdict.FAILED, "Rule: Up"),
        ("'Current'", Verdict.CURRENT, "Rule"),
        ("self.status.parts.all(p, p.done)", Verdict.CURRENT, ""),
        ("self.status.nope.deeper == 1", Verdict.IN_PROGRESS, "NotThereYet: the field 'nope' is not set"),
        ("self.status.phase", Verdict.IN_PROGRESS, "RuleBroken: it answers 'Up', neither true, false nor a verdict"),
    ],
)  # fmt: skip
def test_a_rule_decides(rule: str, verdict: Verdict, told: str) -> None:
    item = widget(rule, phase="Up", parts=[{"done": True}])
    found = assess(essence(item))
    assert (found.verdict, found.told) == (verdict, told)


def test_a_rule_that_breaks_on_the_object_keeps_it_in_progress() -> None:
    found = assess(widget("self.status.phase > 1", phase="Up"))
    assert (found.verdict, found.reason) == (Verdict.IN_PROGRESS, "RuleBroken")


def test_a_rule_waits_for_the_controller_to_look() -> None:
    item = widget("true", observedGeneration=1)
    item["metadata"]["generation"] = 2
    assert assess(item).reason == "NotObserved"


@pytest.mark.parametrize(
    ("rule", "told"),
    [("self.status.phase ==", "cannot work"), ("other.x", "cannot work"), ("'" + "x" * 2000 + "'", "too long")],
)  # fmt: skip
def test_a_rule_that_cannot_work_is_refused_with_its_object_named(rule: str, told: str) -> None:
    with pytest.raises(Invalid, match=f"annotation emco.io/health of Widget w .*{told}"):
        check(widget(rule))


def test_objects_without_a_rule_have_nothing_to_check() -> None:
    check({"kind": "Widget", "metadata": {"name": "w"}})
