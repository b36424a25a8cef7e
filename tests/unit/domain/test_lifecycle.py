"""The transition table: what is allowed, what is refused, and in EMCO's words."""

from datetime import UTC, datetime

import pytest

from emco.domain.errors import IllegalTransition
from emco.domain.lifecycle import (
    Action,
    Lifecycle,
    Outcome,
    Progress,
    State,
    Verb,
    accept,
    after,
    ended,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def life(state: State, progress: Progress | None = None) -> Lifecycle:
    return Lifecycle(actions=(Action(state=state, time=NOW),), progress=progress)


@pytest.mark.parametrize(
    ("state", "progress", "verb", "expected"),
    [
        (State.CREATED, None, Verb.APPROVE, State.APPROVED),
        (State.APPROVED, None, Verb.APPROVE, State.APPROVED),
        (State.TERMINATED, Progress.TERMINATED, Verb.APPROVE, State.APPROVED),
        (State.APPROVED, None, Verb.INSTANTIATE, State.INSTANTIATED),
        (State.TERMINATED, Progress.TERMINATED, Verb.INSTANTIATE, State.INSTANTIATED),
        (State.INSTANTIATED, Progress.INSTANTIATED, Verb.TERMINATE, State.TERMINATED),
        (State.INSTANTIATED, Progress.INSTANTIATING, Verb.TERMINATE, State.TERMINATED),
        (State.INSTANTIATED, Progress.INSTANTIATE_FAILED, Verb.TERMINATE, State.TERMINATED),
        (State.TERMINATED, Progress.TERMINATE_FAILED, Verb.TERMINATE, State.TERMINATED),
    ],
)
def test_allowed(state: State, progress: Progress | None, verb: Verb, expected: State) -> None:
    assert after(life(state, progress), verb, "d") is expected


@pytest.mark.parametrize(
    ("state", "progress", "verb", "title"),
    [
        (
            State.CREATED,
            None,
            Verb.INSTANTIATE,
            "DeploymentIntentGroup must be Approved before instantiatingd",
        ),
        (State.CREATED, None, Verb.TERMINATE, "DeploymentIntentGroup is not instantiated :d"),
        (State.APPROVED, None, Verb.TERMINATE, "DeploymentIntentGroup is not instantiated :d"),
        (
            State.INSTANTIATED,
            Progress.INSTANTIATED,
            Verb.APPROVE,
            "DeploymentIntentGroup has already been instantiatedd",
        ),
        (
            State.INSTANTIATED,
            Progress.INSTANTIATING,
            Verb.INSTANTIATE,
            "DeploymentIntentGroup has already been instantiatedd",
        ),
        (
            State.TERMINATED,
            Progress.TERMINATED,
            Verb.TERMINATE,
            "DeploymentIntentGroup is not instantiated :d",
        ),
        (
            State.TERMINATED,
            Progress.TERMINATING,
            Verb.INSTANTIATE,
            "DeploymentIntentGroup has not completed terminating: d",
        ),
        (
            State.TERMINATED,
            Progress.TERMINATING,
            Verb.APPROVE,
            "DeploymentIntentGroup has not completed terminating: d",
        ),
        (
            State.TERMINATED,
            Progress.TERMINATE_FAILED,
            Verb.INSTANTIATE,
            "DeploymentIntentGroup has not completed terminating: d",
        ),
    ],
)
def test_refused_with_emcos_text(
    state: State, progress: Progress | None, verb: Verb, title: str
) -> None:
    with pytest.raises(IllegalTransition) as refused:
        after(life(state, progress), verb, "d")
    assert refused.value.title == title


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("verb", list(Verb))
def test_every_state_and_verb_is_decided(state: State, verb: Verb) -> None:
    try:
        decision: object = after(life(state), verb, "d")
    except IllegalTransition as refused:
        decision = refused.title and refused.detail
    assert decision


def test_instantiate_records_revision_one_and_a_status_context_id() -> None:
    begun = accept(life(State.APPROVED), Verb.INSTANTIATE, "d", operation="op", now=NOW)
    assert begun.actions[-1] == Action(
        state=State.INSTANTIATED, instance="op", time=NOW, revision=1
    )
    assert (begun.status_context_id, begun.progress) == ("op", Progress.INSTANTIATING)


def test_a_failed_operation_keeps_its_reason_until_the_next_one_begins() -> None:
    begun = accept(life(State.APPROVED), Verb.INSTANTIATE, "d", operation="op", now=NOW)
    failed = ended(begun, Outcome.FAILED, now=NOW, failure="c1 is away")
    assert (failed.progress, failed.message) == (Progress.INSTANTIATE_FAILED, "c1 is away")
    assert accept(failed, Verb.TERMINATE, "d", operation="op2", now=NOW).message == ""


def test_adopting_adds_no_second_action_and_keeps_the_status_context_id() -> None:
    begun = accept(life(State.APPROVED), Verb.INSTANTIATE, "d", operation="op", now=NOW)
    adopted = accept(begun, Verb.INSTANTIATE, "d", operation="op2", now=NOW, adopt=True)
    assert adopted.actions == begun.actions
    assert (adopted.operation, adopted.status_context_id) == ("op2", "op")
