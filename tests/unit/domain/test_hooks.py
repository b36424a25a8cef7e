"""Hooks are read from annotations as Helm reads them, and run in its order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.errors import Invalid
from emco.domain.plan.hooks import (
    DeletePolicy,
    Event,
    Goal,
    Scope,
    check,
    end_of,
    events_of,
    hooks_of,
)


def hook(name: str, events: str, kind: str = "Job", **annotations: str) -> dict[str, Any]:
    """`weight`, `policy` of Helm; `scope`, `timeout` of ours."""
    names = {
        "weight": "helm.sh/hook-weight",
        "policy": "helm.sh/hook-delete-policy",
        "scope": "emco.io/hook-scope",
        "timeout": "emco.io/hook-timeout",
    }
    group = {"Job": "batch/v1", "ConfigMap": "v1", "Secret": "v1", "Pod": "v1"}
    return {
        "apiVersion": group.get(kind, "apiextensions.k8s.io/v1"),
        "kind": kind,
        "metadata": {
            "name": name,
            "annotations": {
                "helm.sh/hook": events,
                **{names[key]: value for key, value in annotations.items()},
            },
        },
    }


def test_hooks_run_by_weight_then_name_then_kind() -> None:
    items = [
        hook("b", "pre-install"),
        hook("late", "pre-install", weight="10"),
        hook("a", "pre-install"),
        hook("a", "pre-install", kind="Secret"),
        hook("early", "pre-install", weight="-3"),
        hook("zero", "pre-install", weight="not a number"),
        hook("other", "post-install"),
    ]
    order = [(h.key.kind, h.key.name) for h in hooks_of(items, Event.PRE_INSTALL)]
    assert order == [
        ("Job", "early"),
        ("Secret", "a"),
        ("Job", "a"),
        ("Job", "b"),
        ("Job", "zero"),
        ("Job", "late"),
    ]


@given(st.permutations([hook(n, "test", weight=w) for n in "abc" for w in ("-1", "0", "2")]))
def test_the_order_does_not_depend_on_that_of_the_chart(items: list[dict[str, Any]]) -> None:
    found = hooks_of(items, Event.TEST)
    assert [(h.weight, h.key.name) for h in found] == [(w, n) for w in (-1, 0, 2) for n in "abc"]
    assert [h.index for h in found] == list(range(9))


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("pre-install", ["pre-install"]),
        (" Pre-Install , post-upgrade", ["pre-install", "post-upgrade"]),
        ("test-success", ["test"]),
        ("pre-install,crd-install", []),
        ("", []),
    ],
)
def test_an_event_that_helm_does_not_know_makes_it_no_hook_at_all(
    text: str, events: list[str]
) -> None:
    assert list(events_of(hook("a", text))) == events


def test_without_a_policy_it_is_deleted_before_it_is_made_again() -> None:
    (plain,) = hooks_of([hook("a", "test")], Event.TEST)
    (kept,) = hooks_of([hook("a", "test", policy="hook-failed")], Event.TEST)
    (crd,) = hooks_of([hook("a", "test", kind="CustomResourceDefinition")], Event.TEST)
    assert plain.is_deleted(DeletePolicy.BEFORE_CREATION)
    assert not plain.is_deleted(DeletePolicy.SUCCEEDED)
    assert not kept.is_deleted(DeletePolicy.BEFORE_CREATION)
    assert not crd.is_deleted(DeletePolicy.BEFORE_CREATION)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400)]
)
def test_a_timeout_is_written_as_helm_writes_times(text: str, seconds: int) -> None:
    (found,) = hooks_of([hook("a", "test", timeout=text)], Event.TEST)
    assert found.timeout == seconds


@pytest.mark.parametrize(
    "annotations",
    [{"timeout": "soon"}, {"timeout": "0s"}, {"timeout": "-1s"}, {"scope": "everywhere"}],
)
def test_what_cannot_be_understood_is_refused_with_its_name(annotations: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=r"Job migrate of the app web.*emco\.io/hook-"):
        check([hook("migrate", "test", **annotations)], "web")


def test_a_scope_is_read() -> None:
    (found,) = hooks_of([hook("a", "test", scope="Deployment")], Event.TEST)
    assert found.scope is Scope.DEPLOYMENT


@pytest.mark.parametrize("goal", list(Goal))
def test_every_goal_has_its_events(goal: Goal) -> None:
    events = [goal.before, goal.after]
    assert events == ([Event.TEST, None] if goal is Goal.TEST else [f"pre-{goal}", f"post-{goal}"])


def condition(kind: str, of: str, **more: str) -> dict[str, Any]:
    return {"kind": kind, "status": {"conditions": [{"type": of, "status": "True", **more}]}}


def test_jobs_and_pods_end_by_their_status_crds_when_established_others_at_once() -> None:
    assert end_of({"kind": "Job"}) is None
    assert end_of(condition("Job", "Suspended")) is None
    done, failed = (
        end_of(condition("Job", "Complete")),
        end_of(condition("Job", "Failed", reason="DeadlineExceeded", message="too slow")),
    )
    assert done is not None
    assert done.is_success
    assert failed is not None
    assert (failed.is_success, failed.why) == (False, "DeadlineExceeded: too slow")
    assert end_of({"kind": "Pod", "status": {"phase": "Running"}}) is None
    state = {"terminated": {"exitCode": 3, "message": "no such table"}}
    broken = end_of(
        {"kind": "Pod", "status": {"phase": "Failed", "containerStatuses": [{"state": state}]}}
    )
    assert broken is not None
    assert broken.why == "exit code 3, no such table"
    assert end_of({"kind": "CustomResourceDefinition"}) is None
    assert end_of(condition("CustomResourceDefinition", "Established")) is not None
    assert end_of({"kind": "ConfigMap"}) is not None
