"""Install or upgrade is decided by what was recorded, and one run of a hook is one run."""

from datetime import UTC, datetime

import pytest

from emco.domain.plan.hooks import Event, Goal, Hook, Scope
from emco.domain.plan.model import Plan, UnitPlan
from emco.domain.releases import (
    MAX_NAME,
    Answer,
    HookRow,
    HookState,
    ReleaseRow,
    ReleaseStatus,
    advanced,
    answered,
    begun,
    ending,
    hook_id,
    next_leader,
    release_name,
    run_of,
)
from emco.domain.status import ObjectKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = ObjectKey(api_version="batch/v1", kind="Job", name="migrate")


def plan(manifest: str) -> tuple[Plan, UnitPlan]:
    unit = UnitPlan(app="web", cluster="e+1", manifest=manifest, hooked=True)
    made = Plan(deployment="p/a/v/d", release="r1", namespace="ns", cloud="c", units=(unit,))
    return made, unit


def advance(row: ReleaseRow | None, manifest: str, run: str, *, back: bool = False) -> ReleaseRow:
    return advanced(row, *plan(manifest), run=run, is_rollback=back, now=NOW)


def done(row: ReleaseRow) -> ReleaseRow:
    return row.model_copy(update={"status": ReleaseStatus.DEPLOYED})


def test_a_life_is_counted_as_helm_counts_it() -> None:
    first = advance(None, "a", "1")
    assert (first.version, first.goal, first.status) == (1, "install", "pending-install")
    second = advance(done(first), "b", "2")
    assert (second.version, second.goal, second.status) == (2, "upgrade", "pending-upgrade")
    third = advance(done(second), "a", "3", back=True)
    assert (third.version, third.goal, third.status) == (3, "rollback", "pending-rollback")
    assert ending(done(third), run="3/delete", now=NOW).status == "uninstalling"


def test_a_unit_that_is_as_it_should_be_is_left_alone() -> None:
    row = done(advance(None, "a", "1"))
    assert advance(row, "a", "2") == row


def test_a_resume_goes_on_with_the_same_version_and_another_operation_begins_the_next() -> None:
    failed = advance(None, "a", "1").model_copy(update={"status": ReleaseStatus.FAILED})
    again = advance(failed, "a", "1")
    assert (again.version, again.goal, again.status) == (1, "install", "pending-install")
    assert advance(failed, "a", "2").goal is Goal.UPGRADE, "as with Helm: it was released once"


def test_what_counts_as_the_same_run() -> None:
    assert run_of(3, "op", Goal.UPGRADE) == run_of(3, "another", Goal.UPGRADE)
    different = {
        run_of(3, "op", Goal.UPGRADE),
        run_of(3, "op/back", Goal.ROLLBACK),
        run_of(3, "op", Goal.DELETE),
        run_of(3, "op", Goal.TEST),
        run_of(3, "another", Goal.TEST),
        run_of(4, "op", Goal.UPGRADE),
    }
    assert len(different) == 6


def hook(scope: Scope, event: Event = Event.PRE_INSTALL) -> Hook:
    return Hook(event=event, index=0, key=JOB, scope=scope, manifest={})


@pytest.mark.parametrize(
    ("scope", "ids"), [(Scope.RELEASE, 4), (Scope.CLUSTER, 2), (Scope.DEPLOYMENT, 2)]
)
def test_a_scope_says_what_is_one_run(scope: Scope, ids: int) -> None:
    places = [(app, cluster) for app in ("web", "db") for cluster in ("e+1", "e+2")]
    assert len({hook_id(hook(scope), "1", app, cluster) for app, cluster in places}) == ids


def test_with_a_wider_scope_an_upgrade_here_and_an_install_there_are_one_occasion() -> None:
    upgrade = hook(Scope.DEPLOYMENT, Event.PRE_UPGRADE)
    assert hook_id(hook(Scope.DEPLOYMENT), "2", "web", "e+1") == hook_id(upgrade, "2", "web", "e+2")


def row(state: HookState, operation: str = "op") -> HookRow:
    return HookRow(
        id="1",
        run="1",
        event=Event.PRE_INSTALL,
        key=JOB,
        app="web",
        cluster="e+1",
        attempt=1,
        operation=operation,
        state=state,
        uid="u",
        since=NOW,
    )


@pytest.mark.parametrize(
    ("state", "operation", "attempts"),
    [
        (HookState.WAITING, "op", 2),
        (HookState.ABANDONED, "op", 2),
        (HookState.FAILED, "op", 1),
        (HookState.FAILED, "next", 2),
        (HookState.STARTING, "next", 1),
        (HookState.RUNNING, "next", 1),
        (HookState.SUCCEEDED, "next", 1),
        (HookState.LOST, "next", 1),
    ],
)
def test_only_what_failed_before_this_operation_is_tried_again(
    state: HookState, operation: str, attempts: int
) -> None:
    after = begun(row(state), operation, NOW)
    assert after.attempt == attempts
    assert (after == row(state)) is (attempts == 1)


def test_a_person_answers_what_is_lost_and_nothing_else() -> None:
    lost = row(HookState.LOST)
    assert answered(lost, Answer.DONE, NOW).state is HookState.SUCCEEDED
    assert begun(answered(lost, Answer.AGAIN, NOW), "op", NOW).attempt == 2
    with pytest.raises(ValueError, match="Running"):
        answered(row(HookState.RUNNING), Answer.DONE, NOW)


def test_leaders_follow_each_other_in_name_order() -> None:
    clusters = ("e+3", "e+1", "e+2")
    assert next_leader(row(HookState.WAITING), clusters) == "e+2"
    last = row(HookState.WAITING).model_copy(update={"cluster": "e+3"})
    assert next_leader(last, clusters) == "e+1"


def test_a_release_has_a_name_that_helm_takes() -> None:
    assert release_name("r1", "web") == "r1-web"
    long = [release_name("r1", "x" * 60 + end) for end in "ab"]
    assert all(len(name) <= MAX_NAME for name in long)
    assert long[0] != long[1]
