"""The states of a deployment and of a logical cloud, and which verb may follow which: one table.

A *state* is what was asked for last and accepted (EMCO's `actions`); *progress* is how far the
clusters have come (EMCO's `deployedStatus`). Everything that moves a deployment asks
`after(lifecycle, verb)` first, so the table is the only place where a transition is decided; the
page in the documentation and the tests are made from it.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.errors import IllegalTransition


class State(StrEnum):
    """What was last asked for and accepted; the words are EMCO's."""

    CREATED = "Created"
    APPROVED = "Approved"
    INSTANTIATED = "Instantiated"
    INSTANTIATE_STOPPED = "InstantiateStopped"
    TERMINATED = "Terminated"
    TERMINATE_STOPPED = "TerminateStopped"
    UPDATED = "Updated"
    """The old side of an update, and a deployment that was migrated away."""


class Progress(StrEnum):
    """How far the clusters have come; EMCO's `deployedStatus`, and two words for what was stopped."""

    CREATED = "Created"
    INSTANTIATING = "Instantiating"
    INSTANTIATED = "Instantiated"
    INSTANTIATE_FAILED = "InstantiateFailed"
    INSTANTIATE_STOPPED = "InstantiateStopped"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"
    TERMINATE_FAILED = "TerminateFailed"
    TERMINATE_STOPPED = "TerminateStopped"
    UPDATED = "Updated"


class Verb(StrEnum):
    """An operation somebody can ask for; `heal` is asked for by the system itself."""

    APPROVE = "approve"
    INSTANTIATE = "instantiate"
    UPDATE = "update"
    ROLLBACK = "rollback"
    MIGRATE = "migrate"
    HEAL = "heal"
    TEST = "test"
    STOP = "stop"
    RESUME = "resume"
    TERMINATE = "terminate"


class OnBusy(StrEnum):
    """What becomes of a verb that is asked for while another operation runs."""

    REFUSE = "refuse"
    QUEUE = "queue"
    SUPERSEDE = "supersede"


class Outcome(StrEnum):
    """How an operation ended."""

    DONE = "done"
    FAILED = "failed"
    UNTOUCHED = "untouched"
    """Refused before anything on a cluster was changed."""
    STOPPED = "stopped"
    ROLLED_BACK = "rolledBack"
    """It failed, and what it had changed was put back."""
    SUPERSEDED = "superseded"
    """Another operation took its place while it ran."""


RUNNING: Final = frozenset({Progress.INSTANTIATING, Progress.TERMINATING})
"""Progress values during which an operation is under way."""

BRING_UP: Final = frozenset({Verb.INSTANTIATE, Verb.UPDATE, Verb.ROLLBACK, Verb.MIGRATE, Verb.HEAL})
"""The verbs that bring a plan about. To EMCO's clients all of them look like an instantiate."""


def begun(verb: Verb) -> Progress:
    """The progress while the operation of `verb` runs."""
    return Progress.TERMINATING if verb is Verb.TERMINATE else Progress.INSTANTIATING


def done(verb: Verb) -> Progress:
    """The progress after it succeeded."""
    return Progress.TERMINATED if verb is Verb.TERMINATE else Progress.INSTANTIATED


def failed(verb: Verb) -> Progress:
    """The progress after it failed."""
    return Progress.TERMINATE_FAILED if verb is Verb.TERMINATE else Progress.INSTANTIATE_FAILED


def stopped(verb: Verb) -> Progress:
    """The progress after it was stopped."""
    return Progress.TERMINATE_STOPPED if verb is Verb.TERMINATE else Progress.INSTANTIATE_STOPPED


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
    verb: Verb | None = Field(default=None, description="What that operation is to bring about")
    message: str = Field(default="", description="Why the last operation failed; empty otherwise")
    numbered: int = Field(default=0, description="The highest revision number given so far")
    effective: str = Field(
        default="", description="The operation whose plan was last brought about completely"
    )
    effective_revision: int = Field(default=0, description="The revision which that was")
    identity: str = Field(
        default="", description="The deployment whose mark the objects carry, after a migration"
    )
    release: str = Field(default="", description="The release name that came with a migration")
    before: "Lifecycle | None" = Field(
        default=None, description="The record to return to if the operation touches nothing"
    )

    @property
    def state(self) -> State:
        """The state of the last action; `Created` before any."""
        return self.actions[-1].state if self.actions else State.CREATED

    @property
    def revision(self) -> int:
        """The revision that is to be on the clusters; 0 when none is."""
        return next((a.revision for a in reversed(self.actions) if a.revision), 0)

    @property
    def is_running(self) -> bool:
        """True while an operation is under way."""
        return self.progress in RUNNING

    @property
    def is_live(self) -> bool:
        """True while something of it may be on a cluster."""
        return self.progress not in (
            None,
            Progress.CREATED,
            Progress.TERMINATED,
            Progress.UPDATED,
        )


class Refusal(NamedTuple):
    """A verb that a state does not allow, in EMCO's words; `{name}` and `{state}` are filled in."""

    text: str


_DIG: Final = "DeploymentIntentGroup"
_ALREADY: Final = Refusal(f"{_DIG} has already been instantiated{{name}}")
_NOT_APPROVED: Final = Refusal(f"{_DIG} must be Approved before instantiating{{name}}")
_NOT_UP: Final = Refusal(f"{_DIG} is not instantiated :{{name}}")
_NOT_MOVING: Final = Refusal(f"{_DIG} is not instantiating or terminating:{{name}}")
_UNKNOWN: Final = Refusal(f"{_DIG} is in an unknown state{{state}}")
_NOTHING_TO_RESUME: Final = Refusal(f"{_DIG} has nothing to resume: {{name}}")
_TERMINATING: Final = Refusal(f"{_DIG} has not completed terminating: {{name}}")
_NOT_COMPLETE: Final = Refusal(f"{_DIG} is not completely instantiated: {{name}}")
_BUSY: Final = Refusal(f"{_DIG} has an operation under way: {{name}}")

_DOWN: Final = {
    Verb.UPDATE: _NOT_UP,
    Verb.ROLLBACK: _NOT_UP,
    Verb.MIGRATE: _NOT_UP,
    Verb.HEAL: _NOT_UP,
    Verb.TEST: _NOT_UP,
    Verb.TERMINATE: _NOT_UP,
    Verb.RESUME: _NOTHING_TO_RESUME,
}
TRANSITIONS: Final[Mapping[State, Mapping[Verb, State | Refusal]]] = {
    State.CREATED: {
        **_DOWN,
        Verb.APPROVE: State.APPROVED,
        Verb.INSTANTIATE: _NOT_APPROVED,
        Verb.STOP: Refusal(f"{_DIG} have not been approved: {{name}}"),
    },
    State.APPROVED: {
        **_DOWN,
        Verb.APPROVE: State.APPROVED,
        Verb.INSTANTIATE: State.INSTANTIATED,
        Verb.STOP: Refusal(f"{_DIG} has not been instantiated:{{name}}"),
    },
    State.INSTANTIATED: {
        Verb.APPROVE: _ALREADY,
        Verb.INSTANTIATE: _ALREADY,
        Verb.UPDATE: State.INSTANTIATED,
        Verb.ROLLBACK: State.INSTANTIATED,
        Verb.MIGRATE: State.UPDATED,
        Verb.HEAL: State.INSTANTIATED,
        Verb.TEST: State.INSTANTIATED,
        Verb.STOP: State.INSTANTIATE_STOPPED,
        Verb.RESUME: State.INSTANTIATED,
        Verb.TERMINATE: State.TERMINATED,
    },
    State.INSTANTIATE_STOPPED: {
        Verb.APPROVE: _UNKNOWN,
        Verb.INSTANTIATE: Refusal(f"{_DIG} has already been instantiated and stopped{{name}}"),
        Verb.UPDATE: State.INSTANTIATED,
        Verb.ROLLBACK: State.INSTANTIATED,
        Verb.MIGRATE: _NOT_UP,
        Verb.HEAL: _NOT_UP,
        Verb.TEST: _NOT_COMPLETE,
        Verb.STOP: Refusal(f"{_DIG} instantiation already stopped: {{name}}"),
        Verb.RESUME: State.INSTANTIATED,
        Verb.TERMINATE: State.TERMINATED,
    },
    State.TERMINATED: {
        **_DOWN,
        Verb.APPROVE: State.APPROVED,
        Verb.INSTANTIATE: State.INSTANTIATED,
        Verb.STOP: State.TERMINATE_STOPPED,
        Verb.RESUME: State.TERMINATED,
    },
    State.TERMINATE_STOPPED: {
        **_DOWN,
        Verb.APPROVE: _UNKNOWN,
        Verb.INSTANTIATE: State.INSTANTIATED,
        Verb.STOP: Refusal(f"{_DIG} termination already stopped: {{name}}"),
        Verb.RESUME: State.TERMINATED,
        Verb.TERMINATE: State.TERMINATED,
    },
    State.UPDATED: {
        **_DOWN,
        Verb.APPROVE: State.APPROVED,
        Verb.INSTANTIATE: _NOT_APPROVED,
        Verb.STOP: _NOT_MOVING,
    },
}
"""Per state, what each verb leads to or is refused with. `after` adds what depends on progress."""

_RESUMABLE: Final = frozenset(
    {
        Progress.INSTANTIATE_FAILED,
        Progress.INSTANTIATE_STOPPED,
        Progress.TERMINATE_FAILED,
        Progress.TERMINATE_STOPPED,
    }
)
_ADOPTED: Final[Mapping[Verb, State]] = {
    Verb.APPROVE: State.APPROVED,
    Verb.INSTANTIATE: State.INSTANTIATED,
    Verb.TERMINATE: State.TERMINATED,
}
_RETURNING: Final = frozenset({Verb.UPDATE, Verb.ROLLBACK, Verb.HEAL, Verb.TEST})
"""Verbs after which everything may be as it was before."""

_STOPPED: Final[Mapping[State, State]] = {
    State.INSTANTIATE_STOPPED: State.INSTANTIATED,
    State.TERMINATE_STOPPED: State.TERMINATED,
}
_NEXT_STEP: Final[Mapping[State, str]] = {
    State.CREATED: "approve it first",
    State.APPROVED: "instantiate it first",
    State.INSTANTIATED: "update it, or terminate it first",
    State.INSTANTIATE_STOPPED: "resume, update or terminate it",
    State.TERMINATED: "it can be instantiated again or deleted",
    State.TERMINATE_STOPPED: "resume the terminate, or instantiate it again",
    State.UPDATED: "it was migrated away; approve it to use it again",
}


def after(
    life: Lifecycle, verb: Verb, name: str, *, adopt: bool = False, supersede: bool = False
) -> State:
    """The state that `verb` leads to; `IllegalTransition` with EMCO's text where it may not run.

    One operation runs at a time. A terminate may always take the place of a running bring-up, any
    other verb only with `supersede`. With `adopt` nobody is carrying out the recorded operation
    any more (its workflow was ended by force), so it may be taken over.
    """
    if verb is Verb.TERMINATE and life.progress is Progress.TERMINATE_FAILED:
        return State.TERMINATED
    if adopt and life.is_live and verb in _ADOPTED:
        return _ADOPTED[verb]
    outcome = TRANSITIONS[life.state][verb]
    if isinstance(outcome, Refusal):
        raise _illegal(outcome, life, name)
    is_leaving = life.progress in (Progress.TERMINATING, Progress.TERMINATE_FAILED)
    if is_leaving and outcome in (State.APPROVED, State.INSTANTIATED) and not adopt:
        step = "wait until it is Terminated, or terminate it again if that failed"
        raise _illegal(_TERMINATING, life, name, step)
    if verb is Verb.STOP:
        if not life.is_running:
            raise _illegal(_NOT_MOVING, life, name, "only what is under way can be stopped")
    elif life.is_running and not adopt and not (supersede or verb is Verb.TERMINATE):
        raise _illegal(
            _BUSY,
            life,
            name,
            f"{life.verb or 'it'}: wait for it, or ask with onBusy=queue or supersede",
        )
    elif verb is Verb.TEST and life.progress is not Progress.INSTANTIATED:
        raise _illegal(_NOT_COMPLETE, life, name, "only what is up as a whole can be tested")
    elif verb is Verb.RESUME and life.progress not in _RESUMABLE and not adopt:
        raise _illegal(_NOTHING_TO_RESUME, life, name, "nothing of it failed or was stopped")
    return outcome


def _illegal(refusal: Refusal, life: Lifecycle, name: str, step: str = "") -> IllegalTransition:
    progress = f", its progress {life.progress}" if life.progress else ""
    return IllegalTransition(
        refusal.text.format(name=name, state=life.state),
        f"its state is {life.state}{progress}; {step or _NEXT_STEP[life.state]}",
    )


def accept(
    life: Lifecycle,
    verb: Verb,
    name: str,
    *,
    now: datetime,
    operation: str = "",
    adopt: bool = False,
    supersede: bool = False,
) -> Lifecycle:
    """The record after `verb` was accepted, or `IllegalTransition`.

    Stopping what is being stopped changes nothing, so that the request may be repeated.
    Approve and stop start no operation. Instantiate, update and rollback get the next revision
    number; numbers go on through a deployment's whole life, so that one names one thing only.
    """
    if verb is Verb.STOP and life.state in _STOPPED and life.is_running:
        return life
    state = after(life, verb, name, adopt=adopt, supersede=supersede)
    if verb is Verb.APPROVE:
        return _noted(life, state, now)
    if verb is Verb.STOP:
        return _noted(life, state, now, life.operation)
    goal = life.verb or Verb.INSTANTIATE if verb is Verb.RESUME else verb
    is_new_life = verb is Verb.INSTANTIATE and life.state is not State.INSTANTIATED
    moved = _with_actions(life, verb, state, operation, now, is_new_life=is_new_life)
    return moved.model_copy(
        update={
            "status_context_id": operation if is_new_life else life.status_context_id,
            "progress": begun(goal),
            "operation": operation,
            "verb": goal,
            "message": "",
            "before": _settled(life) if verb in _RETURNING else None,
        }
    )


def _settled(life: Lifecycle) -> Lifecycle | None:
    """The record as one to return to: none unless everything that was planned is in effect."""
    if life.progress is not Progress.INSTANTIATED or life.effective == "":
        return None
    return life.model_copy(update={"before": None})


def _noted(life: Lifecycle, state: State, now: datetime, operation: str = "") -> Lifecycle:
    if state is life.state:
        return life
    action = Action(state=state, instance=operation, time=now)
    return life.model_copy(update={"actions": (*life.actions, action)})


def _with_actions(
    life: Lifecycle, verb: Verb, state: State, operation: str, now: datetime, *, is_new_life: bool
) -> Lifecycle:
    if verb in (Verb.UPDATE, Verb.ROLLBACK) or is_new_life:
        old = () if is_new_life else (_old_side(life, now),)
        number = life.numbered + 1
        new = Action(state=state, instance=operation, time=now, revision=number)
        return life.model_copy(update={"actions": (*life.actions, *old, new), "numbered": number})
    return _noted(life, state, now, operation)


def _old_side(life: Lifecycle, now: datetime) -> Action:
    """EMCO lists an update as two actions: the old instance is left, the new one is entered."""
    left = next((a for a in reversed(life.actions) if a.revision), None)
    return Action(
        state=State.UPDATED,
        instance=left.instance if left else "",
        time=now,
        revision=left.revision if left else 0,
    )


def migrate(
    source: Lifecycle, target: Lifecycle, names: tuple[str, str], *, operation: str, now: datetime
) -> tuple[Lifecycle, Lifecycle]:
    """The records of both deployments after `source` was handed over to `target`.

    The target goes on with the source's status context and revision numbers. Raises
    `IllegalTransition` with EMCO's text when one of the two is not in the state for it.
    """
    after(source, Verb.MIGRATE, names[0])
    if target.state is not State.APPROVED:
        raise IllegalTransition(
            f"DeploymentIntentGroup is not approved :{names[1]}",
            f"its state is {target.state}; approve it first",
        )
    number = source.numbered + 1
    left = source.model_copy(
        update={
            "actions": (*source.actions, _old_side(source, now)),
            "progress": Progress.UPDATED,
            "effective": "",
            "effective_revision": 0,
            "operation": operation,
            "verb": Verb.MIGRATE,
            "message": "",
        }
    )
    entered = Action(state=State.INSTANTIATED, instance=operation, time=now, revision=number)
    taken = target.model_copy(
        update={
            "actions": (*target.actions, entered),
            "status_context_id": source.status_context_id,
            "progress": begun(Verb.MIGRATE),
            "operation": operation,
            "verb": Verb.MIGRATE,
            "message": "",
            "numbered": number,
            "effective": source.effective,
            "effective_revision": source.effective_revision,
            "before": None,
        }
    )
    return left, taken


def ended(life: Lifecycle, outcome: Outcome, *, now: datetime, failure: str = "") -> Lifecycle:
    """The record after its operation ended; `failure` says why it did not succeed.

    After a roll back what was in effect before is so again; if nothing was, everything is gone.
    """
    verb = life.verb or Verb.INSTANTIATE
    update: dict[str, object] = {"message": failure, "before": None}
    if outcome is not Outcome.STOPPED and life.state in _STOPPED:  # it was over before the stop
        life = _noted(life, _STOPPED[life.state], now)
    if (outcome is Outcome.UNTOUCHED or verb is Verb.TEST) and life.before is not None:
        return life.before.model_copy(update={"message": failure, "operation": life.operation})
    if outcome is Outcome.DONE:
        update |= {"progress": done(verb), **_in_effect(life, verb)}
    elif outcome is Outcome.STOPPED:
        update |= {"progress": stopped(verb)}
    elif outcome is Outcome.ROLLED_BACK:
        update |= _rolled_back(life, now)
    else:
        update |= {"progress": failed(verb)}
    return life.model_copy(update=update)


def _in_effect(life: Lifecycle, verb: Verb) -> dict[str, object]:
    if verb is Verb.TERMINATE:
        return {"effective": "", "effective_revision": 0, "identity": "", "release": ""}
    if verb is Verb.HEAL:
        return {}
    return {"effective": life.operation, "effective_revision": life.revision}


def _rolled_back(life: Lifecycle, now: datetime) -> dict[str, object]:
    if not life.effective:
        gone = Action(state=State.TERMINATED, instance=life.operation, time=now)
        return {"actions": (*life.actions, gone), "progress": Progress.TERMINATED}
    again = Action(
        state=State.INSTANTIATED,
        instance=life.effective,
        time=now,
        revision=life.effective_revision,
    )
    return {
        "actions": (*life.actions, _old_side(life, now), again),
        "progress": Progress.INSTANTIATED,
    }
