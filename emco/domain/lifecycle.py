"""The states of a deployment and of a logical cloud, and which verb may follow which: one table.

A *state* is what was asked for last and accepted (EMCO's `actions`); *progress* is how far the
clusters have come (EMCO's `deployedStatus`). Everything that moves a deployment asks
`after(lifecycle, verb)` first, so the table is the only place where a transition is decided.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.errors import IllegalTransition


class State(StrEnum):
    """What was last asked for and accepted; the words are EMCO's."""

    CREATED = "Created"
    APPROVED = "Approved"
    INSTANTIATED = "Instantiated"
    TERMINATED = "Terminated"


class Progress(StrEnum):
    """How far the clusters have come; EMCO's `deployedStatus`."""

    CREATED = "Created"
    INSTANTIATING = "Instantiating"
    INSTANTIATED = "Instantiated"
    INSTANTIATE_FAILED = "InstantiateFailed"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"
    TERMINATE_FAILED = "TerminateFailed"


class Verb(StrEnum):
    """An operation somebody can ask for."""

    APPROVE = "approve"
    INSTANTIATE = "instantiate"
    TERMINATE = "terminate"


RUNNING: Final = frozenset({Progress.INSTANTIATING, Progress.TERMINATING})
"""Progress values during which an operation is under way."""

BEGUN: Final[Mapping[Verb, Progress]] = {
    Verb.INSTANTIATE: Progress.INSTANTIATING,
    Verb.TERMINATE: Progress.TERMINATING,
}
DONE: Final[Mapping[Verb, Progress]] = {
    Verb.INSTANTIATE: Progress.INSTANTIATED,
    Verb.TERMINATE: Progress.TERMINATED,
}
FAILED: Final[Mapping[Verb, Progress]] = {
    Verb.INSTANTIATE: Progress.INSTANTIATE_FAILED,
    Verb.TERMINATE: Progress.TERMINATE_FAILED,
}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Action(_Record):
    """One accepted verb, as EMCO lists it under `states.actions`."""

    state: State
    instance: str = ""
    time: datetime
    revision: int = 0


class Lifecycle(_Record):
    """Everything remembered about what was asked of one deployment or cloud."""

    actions: tuple[Action, ...] = ()
    status_context_id: str = ""
    progress: Progress | None = None
    operation: str = Field(default="", description="Id of the operation under way or last ended")
    message: str = Field(default="", description="Why the last operation failed; empty otherwise")

    @property
    def state(self) -> State:
        """The state of the last action; `Created` before any."""
        return self.actions[-1].state if self.actions else State.CREATED

    @property
    def is_running(self) -> bool:
        """True while an operation is under way."""
        return self.progress in RUNNING

    @property
    def is_live(self) -> bool:
        """True while something of it may be on a cluster."""
        return self.progress not in (None, Progress.CREATED, Progress.TERMINATED)


_NEXT: Final[Mapping[tuple[State, Verb], State]] = {
    (State.CREATED, Verb.APPROVE): State.APPROVED,
    (State.APPROVED, Verb.APPROVE): State.APPROVED,
    (State.TERMINATED, Verb.APPROVE): State.APPROVED,
    (State.APPROVED, Verb.INSTANTIATE): State.INSTANTIATED,
    (State.TERMINATED, Verb.INSTANTIATE): State.INSTANTIATED,
    (State.INSTANTIATED, Verb.TERMINATE): State.TERMINATED,
}

_INSTANTIATED_ALREADY = "DeploymentIntentGroup has already been instantiated"
_REFUSALS: Final[Mapping[tuple[State, Verb], str]] = {
    (State.INSTANTIATED, Verb.APPROVE): _INSTANTIATED_ALREADY + "{name}",
    (State.INSTANTIATED, Verb.INSTANTIATE): _INSTANTIATED_ALREADY + "{name}",
    (
        State.CREATED,
        Verb.INSTANTIATE,
    ): "DeploymentIntentGroup must be Approved before instantiating{name}",
    (State.CREATED, Verb.TERMINATE): "DeploymentIntentGroup is not instantiated :{name}",
    (State.APPROVED, Verb.TERMINATE): "DeploymentIntentGroup is not instantiated :{name}",
    (State.TERMINATED, Verb.TERMINATE): "DeploymentIntentGroup is not instantiated :{name}",
}

_ADOPTED: Final[Mapping[Verb, State]] = {
    Verb.APPROVE: State.APPROVED,
    Verb.INSTANTIATE: State.INSTANTIATED,
    Verb.TERMINATE: State.TERMINATED,
}

_NEXT_STEP: Final[Mapping[State, str]] = {
    State.CREATED: "approve it first",
    State.APPROVED: "instantiate it first",
    State.INSTANTIATED: "terminate it first",
    State.TERMINATED: "it can be instantiated again or deleted",
}


def after(life: Lifecycle, verb: Verb, name: str, *, adopt: bool = False) -> State:
    """The state that `verb` leads to; `IllegalTransition` with EMCO's text where it may not run.

    A terminate may overtake a running instantiate, and one that failed may be asked for again;
    otherwise one operation runs at a time. With `adopt` nobody is carrying out the recorded
    operation any more (its workflow was ended by force), so the same verb may take it over.
    """
    if verb is Verb.TERMINATE and life.progress is Progress.TERMINATE_FAILED:
        return State.TERMINATED
    if adopt and life.is_live:
        return _ADOPTED[verb]
    if (state := _NEXT.get((life.state, verb))) is None:
        raise IllegalTransition(
            _REFUSALS[life.state, verb].format(name=name),
            f"its state is {life.state}; {_NEXT_STEP[life.state]}",
        )
    if life.progress in (Progress.TERMINATING, Progress.TERMINATE_FAILED):
        raise IllegalTransition(
            f"DeploymentIntentGroup has not completed terminating: {name}",
            f"its progress is {life.progress}; wait until it is Terminated, or terminate it again "
            "if that failed",
        )
    return state


def accept(
    life: Lifecycle,
    verb: Verb,
    name: str,
    *,
    now: datetime,
    operation: str = "",
    adopt: bool = False,
) -> Lifecycle:
    """The record after `verb` was accepted, or `IllegalTransition`. Approve starts no operation."""
    state = after(life, verb, name, adopt=adopt)
    actions = life.actions
    if state is not life.state:
        revision = 1 if verb is Verb.INSTANTIATE else 0
        actions += (Action(state=state, instance=operation, time=now, revision=revision),)
    if verb is Verb.APPROVE:
        return life.model_copy(update={"actions": actions})
    is_new = verb is Verb.INSTANTIATE and not (adopt and life.is_live)
    return life.model_copy(
        update={
            "actions": actions,
            "status_context_id": operation if is_new else life.status_context_id,
            "progress": BEGUN[verb],
            "operation": operation,
            "message": "",
        }
    )


def ended(life: Lifecycle, verb: Verb, *, failure: str = "") -> Lifecycle:
    """The record after the operation of `verb` ended; `failure` says why it did not succeed."""
    progress = FAILED[verb] if failure else DONE[verb]
    return life.model_copy(update={"progress": progress, "message": failure})
