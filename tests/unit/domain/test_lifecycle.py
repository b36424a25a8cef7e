"""The transition table: what is allowed, what is refused, and in EMCO's words."""

from datetime import UTC, datetime

import pytest

from emco.domain.errors import IllegalTransition
from emco.domain.lifecycle import (
    TRANSITIONS,
    Action,
    Lifecycle,
    Outcome,
    Progress,
    Refusal,
    State,
    Verb,
    accept,
    after,
    ended,
    migrate,
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


def up() -> Lifecycle:
    """Instantiated, and all of it in effect."""
    return ended(
        accept(life(State.APPROVED), Verb.INSTANTIATE, "d", operation="op1", now=NOW),
        Outcome.DONE,
        now=NOW,
    )


def test_an_update_is_two_actions_and_the_next_revision() -> None:
    begun = accept(up(), Verb.UPDATE, "d", operation="op2", now=NOW)
    assert [(a.state, a.instance, a.revision) for a in begun.actions[-2:]] == [
        (State.UPDATED, "op1", 1),
        (State.INSTANTIATED, "op2", 2),
    ]
    assert (begun.progress, begun.status_context_id) == (Progress.INSTANTIATING, "op1")


def test_what_touched_nothing_leaves_the_record_as_it_was_but_for_the_reason() -> None:
    begun = accept(up(), Verb.UPDATE, "d", operation="op2", now=NOW)
    after_ = ended(begun, Outcome.UNTOUCHED, now=NOW, failure="no")
    assert after_ == up().model_copy(update={"message": "no", "operation": "op2"})
    again = accept(after_, Verb.UPDATE, "d", operation="op3", now=NOW)
    assert again.revision == 2, "the number was given back"


def test_numbers_go_on_after_terminate() -> None:
    gone = ended(accept(up(), Verb.TERMINATE, "d", operation="op2", now=NOW), Outcome.DONE, now=NOW)
    assert (gone.progress, gone.effective) == (Progress.TERMINATED, "")
    begun = accept(gone, Verb.INSTANTIATE, "d", operation="op3", now=NOW)
    assert (begun.revision, begun.status_context_id) == (2, "op3")


def test_a_rolled_back_update_is_at_the_revision_before() -> None:
    begun = accept(up(), Verb.UPDATE, "d", operation="op2", now=NOW)
    back = ended(begun, Outcome.ROLLED_BACK, now=NOW, failure="it crashed")
    assert (back.progress, back.revision, back.effective) == (Progress.INSTANTIATED, 1, "op1")
    assert back.message == "it crashed"


def test_a_rolled_back_instantiate_is_terminated() -> None:
    begun = accept(life(State.APPROVED), Verb.INSTANTIATE, "d", operation="op", now=NOW)
    back = ended(begun, Outcome.ROLLED_BACK, now=NOW, failure="it crashed")
    assert (back.state, back.progress) == (State.TERMINATED, Progress.TERMINATED)


def test_a_stopped_operation_is_resumed_with_its_goal() -> None:
    begun = accept(up(), Verb.TERMINATE, "d", operation="op2", now=NOW)
    stopping = accept(begun, Verb.STOP, "d", now=NOW)
    assert (stopping.state, stopping.progress) == (State.TERMINATE_STOPPED, Progress.TERMINATING)
    halted = ended(stopping, Outcome.STOPPED, now=NOW)
    assert halted.progress is Progress.TERMINATE_STOPPED
    resumed = accept(halted, Verb.RESUME, "d", operation="op3", now=NOW)
    assert (resumed.verb, resumed.state) == (Verb.TERMINATE, State.TERMINATED)


def test_stopping_twice_is_one_stop_until_it_has_stopped() -> None:
    begun = accept(up(), Verb.UPDATE, "d", operation="op2", now=NOW)
    stopping = accept(begun, Verb.STOP, "d", now=NOW)
    assert accept(stopping, Verb.STOP, "d", now=NOW) == stopping
    with pytest.raises(IllegalTransition, match="already stopped"):
        accept(ended(stopping, Outcome.STOPPED, now=NOW), Verb.STOP, "d", now=NOW)


def test_what_was_over_before_the_stop_is_simply_over() -> None:
    begun = accept(up(), Verb.UPDATE, "d", operation="op2", now=NOW)
    stopping = accept(begun, Verb.STOP, "d", now=NOW)
    done_ = ended(stopping, Outcome.DONE, now=NOW)
    assert (done_.state, done_.progress) == (State.INSTANTIATED, Progress.INSTANTIATED)


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.ROLLBACK, Verb.MIGRATE, Verb.RESUME])
def test_one_operation_at_a_time_unless_it_is_superseded(verb: Verb) -> None:
    busy = accept(up(), Verb.UPDATE, "d", operation="op2", now=NOW)
    with pytest.raises(IllegalTransition, match="under way"):
        after(busy, verb, "d")
    if verb is not Verb.RESUME:
        assert after(busy, verb, "d", supersede=True)


def test_a_migrate_hands_over_context_and_numbers() -> None:
    left, taken = migrate(up(), life(State.APPROVED), ("d", "e"), operation="op2", now=NOW)
    assert (left.state, left.progress, left.is_live) == (State.UPDATED, Progress.UPDATED, False)
    assert (taken.status_context_id, taken.revision) == ("op1", 2)
    assert (taken.effective, taken.effective_revision) == ("op1", 1)
    with pytest.raises(IllegalTransition, match="is not approved :e"):
        migrate(up(), life(State.CREATED), ("d", "e"), operation="op2", now=NOW)


def test_a_heal_is_no_revision() -> None:
    begun = accept(up(), Verb.HEAL, "d", operation="op2", now=NOW)
    healed = ended(begun, Outcome.DONE, now=NOW)
    assert (healed.revision, healed.effective, healed.actions) == (1, "op1", up().actions)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("progress", [None, *Progress])
def test_whatever_is_asked_in_whatever_state_is_accepted_or_refused_with_reasons(
    state: State, verb: Verb, progress: Progress | None
) -> None:
    refusal: IllegalTransition | None = None
    try:
        after(life(state, progress), verb, "d")
    except IllegalTransition as refused:
        refusal = refused
    if refusal is not None:
        assert refusal.title.startswith("DeploymentIntentGroup")
        assert refusal.detail
    elif (verb, progress) != (Verb.TERMINATE, Progress.TERMINATE_FAILED):
        assert not isinstance(TRANSITIONS[state][verb], Refusal)
