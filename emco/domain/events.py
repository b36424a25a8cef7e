"""What is worth telling: events, and how they follow from what a row said before and says now.

Rows are written anew by whoever works on a unit, with values that only mean "not looked at yet".
So a row remembers what the log said of it last, and only news that somebody saw becomes an event.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.lifecycle import RUNNING, Lifecycle, Progress
from emco.domain.releases import HookRow, HookState
from emco.domain.status import (
    Deployed,
    ObjectKey,
    ObjectStatus,
    ObjectTold,
    Phase,
    Ready,
    Told,
    UnitRow,
)


class EventType(StrEnum):
    """What an event is about."""

    RESOURCE = "resource"
    """One Kubernetes object."""
    UNIT = "unit"
    """One app on one cluster."""
    HEALTH = "health"
    """A unit failed, or recovered from that: one of each in turn."""
    OPERATION = "operation"
    GATE = "gate"
    HOOK = "hook"
    TRAFFIC = "traffic"
    GAP = "gap"
    """Events were forgotten before this listener had read them; never in the log itself."""
    TEST = "test"
    """Asked for by a person to try a listener; never in the log itself."""


class View(StrEnum):
    """Which of EMCO's two questions the event answers; none for what is no matter of objects."""

    NONE = ""
    DEPLOYED = "deployed"
    READY = "ready"


class Severity(StrEnum):
    """How much it should worry a reader."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Greater is worse."""
        return _RANKS[self]


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}

WAITING, OPEN, SHUT = "waiting", "open", "shut"
"""What a gate tells: a unit waits for others, may start, or never will."""

_QUIET_HOOKS: Final = frozenset({HookState.WAITING, HookState.STARTING})
_BAD_HOOKS: Final = frozenset({HookState.FAILED, HookState.LOST})

FAILED: Final = "failed"
RECOVERED: Final = "recovered"


class Note(BaseModel):
    """What happened, as whoever saw it says so; the store adds whose it is, when, and its number.

    `source` and `target` are the values before and after (`from` and `to` on the wire).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    type: EventType
    view: View = View.NONE
    app: str = ""
    cluster: str = Field(default="", description="As provider+cluster")
    resource: ObjectKey | None = None
    source: str = Field(default="", alias="from")
    target: str = Field(default="", alias="to")
    reason: str = Field(default="", description="One word for programs")
    message: str = Field(default="", description="A sentence for people")
    severity: Severity = Severity.INFO


class Event(Note):
    """One entry of the log. `deployment` is project/compositeApp/version/name, empty for a cloud's."""

    sequence: int
    project: str
    deployment: str = ""
    logical_cloud: str = Field(default="", alias="logicalCloud")
    status_context: str = Field(default="", alias="statusContextId")
    revision: int = 0
    operation: str = Field(default="", description="Id of the operation under way or last ended")
    time: datetime
    snapshot: int = Field(
        default=0,
        description="Of the state at the start of a subscription: its place there, from 1",
    )

    @property
    def id(self) -> str:
        """The same whenever and wherever this event is told."""
        if self.type is EventType.TEST:
            return f"test-{self.time.isoformat()}"
        return f"{self.sequence}-{self.snapshot}" if self.snapshot else str(self.sequence)

    @property
    def subject(self) -> tuple[str, ...]:
        """Events of the same subject tell one story: each takes the place of the one before it."""
        resource = str(self.resource) if self.resource else ""
        return (self.type, self.view, self.deployment, self.app, self.cluster, resource)

    def wire(self) -> dict[str, Any]:
        """As readers see it: the members that say something."""
        told = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if self.resource is not None:
            named = self.resource.model_dump(exclude={"api_version"}, exclude_defaults=True)
            told["resource"] = {"apiVersion": self.resource.api_version, **named}
        return {"sequence": self.sequence, **told}


class News(NamedTuple):
    """A unit's row that remembers what was told of it, and what there is to tell."""

    row: UnitRow
    notes: list[Note]


_SETTLED: Final = frozenset({Phase.READY, Phase.DEGRADED, Phase.DRIFTED})
_FAILING: Final = frozenset({Phase.FAILED, Phase.RETRYING})
_COMPLETE: Final = frozenset({Phase.APPLIED, *_SETTLED})
"""Phases in which a row lists exactly what is on the cluster."""

_LATE: Final = frozenset({Ready.NOT_READY, Ready.NOT_PRESENT})
_DEPLOYED: Final[Mapping[Phase, str]] = {
    Phase.PENDING: "",
    Phase.WAITING: "",
    Phase.RUNNING_HOOK: "",
    Phase.APPLYING: "Applying",
    Phase.APPLIED: Deployed.APPLIED,
    Phase.READY: Deployed.APPLIED,
    Phase.DEGRADED: Deployed.APPLIED,
    Phase.DRIFTED: "Drifted",
    Phase.RETRYING: Deployed.RETRYING,
    Phase.FAILED: Deployed.FAILED,
    Phase.REMOVING: "Removing",
    Phase.REMOVED: Deployed.DELETED,
}
"""What a phase says to the question whether a unit is deployed; empty when it says nothing."""

_WARNED_OF: Final = frozenset({Deployed.RETRYING, "Drifted", Ready.NOT_READY, Ready.NOT_PRESENT})


def news(before: UnitRow | None, after: UnitRow) -> News:
    """What a unit's new row tells that was not told yet, objects first."""
    told = before.told if before else Told()
    notes: list[Note] = []
    objects = _objects(told, after, notes)
    deployed = _DEPLOYED[after.phase] or told.deployed
    ready = _ready(after) or told.ready
    health = _health(after) or told.health
    unit = _Subject(EventType.UNIT, after)
    gate = _gate(told.gate, after)
    if gate != told.gate:
        notes.append(_gate_note(after, told.gate, gate))
    notes += unit.change(View.DEPLOYED, told.deployed, deployed)
    notes += unit.change(View.READY, told.ready, ready)
    if health != told.health and (told.health or health == FAILED):
        notes.append(_health_note(after, told.health, health))
    remembered = Told(deployed=deployed, ready=ready, health=health, gate=gate, objects=objects)
    return News(after.model_copy(update={"told": remembered}), notes)


def _gate(told: str, row: UnitRow) -> str:
    """Whether a unit waits for others, or how that ended; as before while it does neither."""
    if row.phase is Phase.WAITING:
        return WAITING
    if told != WAITING:
        return told
    return SHUT if row.phase is Phase.FAILED else OPEN


def _gate_note(row: UnitRow, source: str, target: str) -> Note:
    return Note(
        type=EventType.GATE,
        app=row.app,
        cluster=row.cluster,
        source=source,
        target=target,
        reason=row.phase,
        message="" if target == OPEN else row.message,
        severity=Severity.ERROR if target == SHUT else Severity.INFO,
    )


def hook_news(before: HookRow | None, after: HookRow) -> list[Note]:
    """What a hook has come to, if that is new."""
    source = before.state if before else HookState.WAITING
    if source is after.state or after.state in _QUIET_HOOKS:
        return []
    return [
        Note(
            type=EventType.HOOK,
            app=after.app,
            cluster=after.cluster,
            resource=after.key,
            source=source,
            target=after.state,
            reason=after.event,
            message=after.message,
            severity=Severity.ERROR if after.state in _BAD_HOOKS else Severity.INFO,
        )
    ]


def farewell(row: UnitRow) -> list[Note]:
    """What the end of a unit tells: nothing of it is left."""
    notes = [note for one in row.told.objects for note in _gone(row, one)]
    unit = _Subject(EventType.UNIT, row)
    if row.told.deployed:
        notes += unit.change(View.DEPLOYED, row.told.deployed, Deployed.DELETED)
    if row.told.ready == Ready.READY:
        notes += unit.change(View.READY, row.told.ready, Ready.NOT_PRESENT)
    return notes


def standing(row: UnitRow) -> list[Note]:
    """What was told of a unit, as if all of it were news: how a subscription starts."""
    told = row.told
    notes: list[Note] = []
    for one in told.objects:
        subject = _Subject(EventType.RESOURCE, row, one.key)
        if one.deployed is not Deployed.PENDING:
            notes += subject.change(View.DEPLOYED, "", one.deployed)
        if one.ready is not Ready.NOT_PRESENT:
            notes += subject.change(View.READY, "", one.ready)
    unit = _Subject(EventType.UNIT, row)
    notes += unit.change(View.DEPLOYED, "", told.deployed)
    notes += unit.change(View.READY, "", told.ready)
    if told.gate:
        notes.append(_gate_note(row, "", told.gate))
    if told.health == FAILED:
        notes.append(_health_note(row, "", FAILED))
    return notes


class _Subject:
    """What changes are told of: a unit, or one of its objects."""

    def __init__(
        self, kind: EventType, row: UnitRow, key: ObjectKey | None = None, message: str = ""
    ) -> None:
        self._kind, self._row, self._key = kind, row, key
        self._message = message if key else row.message

    def change(self, view: View, source: str, target: str) -> list[Note]:
        """One note, or none when nothing changed."""
        if source == target:
            return []
        return [
            Note(
                type=self._kind,
                view=view,
                app=self._row.app,
                cluster=self._row.cluster,
                resource=self._key,
                source=source,
                target=target,
                reason=self._row.phase,
                message=self._message,
                severity=self._severity(source, target),
            )
        ]

    def _severity(self, source: str, target: str) -> Severity:
        if target == Deployed.FAILED:
            return Severity.ERROR
        is_worse = target in _WARNED_OF and (source == Ready.READY or target not in set(Ready))
        is_meant = self._row.phase in (Phase.APPLYING, Phase.REMOVING)
        return Severity.WARNING if is_worse and not is_meant else Severity.INFO


def _objects(told: Told, after: UnitRow, notes: list[Note]) -> tuple[ObjectTold, ...]:
    known = {one.key: one for one in told.objects}
    remembered = []
    for status in after.objects:
        old = known.pop(status.key, ObjectTold(key=status.key))
        deployed = old.deployed if status.deployed is Deployed.PENDING else status.deployed
        ready = status.ready if _was_seen(status, after.phase) else old.ready
        subject = _Subject(EventType.RESOURCE, after, status.key, status.message)
        notes += subject.change(View.DEPLOYED, old.deployed, deployed)
        notes += subject.change(View.READY, old.ready, ready)
        remembered.append(ObjectTold(key=status.key, deployed=deployed, ready=ready))
    if after.phase not in _COMPLETE:
        return (*remembered, *known.values())
    notes += [note for old in known.values() for note in _gone(after, old)]
    return tuple(remembered)


def _was_seen(status: ObjectStatus, phase: Phase) -> bool:
    """False for a value that only means that nobody has looked yet."""
    return status.ready is Ready.READY or status.observed is not None or phase in _SETTLED


def _gone(row: UnitRow, one: ObjectTold) -> Iterator[Note]:
    subject = _Subject(EventType.RESOURCE, row, one.key)
    if one.deployed not in (Deployed.PENDING, Deployed.DELETED):
        yield from subject.change(View.DEPLOYED, one.deployed, Deployed.DELETED)
    if one.ready is not Ready.NOT_PRESENT:
        yield from subject.change(View.READY, one.ready, Ready.NOT_PRESENT)


def _present(row: UnitRow) -> Iterator[ObjectStatus]:
    return (status for status in row.objects if status.deployed is not Deployed.DELETED)


def _ready(row: UnitRow) -> str:
    """Whether a unit is ready; empty when the row does not know."""
    if row.phase in _SETTLED:
        late = any(status.ready in _LATE for status in _present(row))
        return Ready.NOT_READY if late else Ready.READY
    seen_late = any(
        status.ready in _LATE and _was_seen(status, row.phase) for status in _present(row)
    )
    return Ready.NOT_READY if seen_late and row.phase in _COMPLETE else ""


def _health(row: UnitRow) -> str:
    """Failed or recovered; empty while a unit is on its way."""
    if row.phase in _FAILING:
        return FAILED
    if row.phase not in _SETTLED:
        return ""
    return FAILED if _ready(row) == Ready.NOT_READY else RECOVERED


def _health_note(row: UnitRow, source: str, target: str) -> Note:
    late = [status for status in _present(row) if status.ready in _LATE]
    why = "; ".join(
        f"{status.key}: {status.message or status.ready}" for status in late[:MAX_REASONS]
    )
    return Note(
        type=EventType.HEALTH,
        app=row.app,
        cluster=row.cluster,
        source=source,
        target=target,
        reason=row.phase,
        message=(row.message or why) if target == FAILED else "",
        severity=Severity.ERROR if target == FAILED else Severity.INFO,
    )


MAX_REASONS: Final = 3
"""Objects named in the message of a failed unit."""

_BAD_ENDS: Final = frozenset({Progress.INSTANTIATE_FAILED, Progress.TERMINATE_FAILED})


def progress_news(before: Lifecycle | None, after: Lifecycle) -> list[Note]:
    """What a change of the lifecycle record tells: an operation began or ended, or a state was entered."""
    is_other = before is None or before.operation != after.operation
    moved = before is None or before.progress is not after.progress
    began = is_other and after.progress in RUNNING
    if not (moved or began):
        return _state_news(before, after)
    failed = after.progress in _BAD_ENDS
    return [
        Note(
            type=EventType.OPERATION,
            source=(before.progress if before else None) or "",
            target=after.progress or Progress.CREATED,
            reason=after.verb or "",
            message=after.message,
            severity=Severity.ERROR if failed else Severity.INFO,
        )
    ]


def _state_news(before: Lifecycle | None, after: Lifecycle) -> list[Note]:
    if before is None or before.state is after.state:
        return []
    return [
        Note(
            type=EventType.OPERATION,
            source=before.state,
            target=after.state,
            reason="state",
            message=after.message,
        )
    ]
