"""What a row tells that was not told yet, and what it only seems to tell."""

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emco.domain.events import (
    EventType,
    Note,
    Severity,
    farewell,
    hook_news,
    news,
    progress_news,
    standing,
)
from emco.domain.lifecycle import Lifecycle, Outcome, Verb, accept, ended
from emco.domain.plan.hooks import Event
from emco.domain.releases import HookRow, HookState
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(name: str = "web") -> ObjectKey:
    return ObjectKey(api_version="apps/v1", kind="Deployment", namespace="ns", name=name)


def one(
    ready: Ready, deployed: Deployed = Deployed.APPLIED, *, seen: bool = True, name: str = "web"
) -> ObjectStatus:
    return ObjectStatus(
        key=key(name), deployed=deployed, ready=ready, observed={} if seen else None
    )


def row(phase: Phase, *objects: ObjectStatus) -> UnitRow:
    return UnitRow(app="a", cluster="edge+c1", phase=phase, since=NOW, objects=objects)


def story(*rows: UnitRow) -> list[list[tuple[str, ...]]]:
    """What each of the rows tells after the ones before."""
    told, before = [], None
    for after in rows:
        found = news(before, after)
        told.append([_short(note) for note in found.notes])
        before = found.row
    return told


def _short(note: Note) -> tuple[str, ...]:
    return (note.type, note.view, note.source, note.target)


READY = row(Phase.READY, one(Ready.READY))


def test_a_unit_comes_up() -> None:
    assert story(
        row(Phase.PENDING, ObjectStatus(key=key())),
        row(Phase.APPLYING, ObjectStatus(key=key())),
        row(Phase.APPLIED, one(Ready.NOT_READY, seen=False)),
        row(Phase.APPLIED, one(Ready.NOT_READY)),
        READY,
    ) == [
        [],
        [("unit", "deployed", "", "Applying")],
        [
            ("resource", "deployed", "Pending", "Applied"),
            ("unit", "deployed", "Applying", "Applied"),
        ],
        [("resource", "ready", "NotPresent", "NotReady"), ("unit", "ready", "", "NotReady")],
        [("resource", "ready", "NotReady", "Ready"), ("unit", "ready", "NotReady", "Ready")],
    ]


def test_an_update_that_disturbs_nothing_says_only_that_it_applies() -> None:
    assert story(
        READY,
        row(Phase.PENDING),
        row(Phase.APPLYING, ObjectStatus(key=key())),
        row(Phase.APPLIED, one(Ready.NOT_PRESENT, seen=False)),
        READY,
    )[1:] == [
        [],
        [("unit", "deployed", "Applied", "Applying")],
        [("unit", "deployed", "Applying", "Applied")],
        [],
    ]


def test_a_flapping_unit_fails_and_recovers_in_turn() -> None:
    late = row(Phase.READY, one(Ready.NOT_READY))
    told = story(READY, late, late, READY, READY, late, READY)
    pairs = [note[3] for notes in told for note in notes if note[0] == "health"]
    assert pairs == ["failed", "recovered", "failed", "recovered"]


def test_a_unit_that_failed_recovers_when_it_is_ready_not_when_it_is_tried_again() -> None:
    told = story(
        row(Phase.FAILED), row(Phase.PENDING), row(Phase.APPLYING), row(Phase.RETRYING), READY
    )
    assert [[n[3] for n in notes if n[0] == "health"] for notes in told] == [
        ["failed"], [], [], [], ["recovered"],
    ]  # fmt: skip


def test_a_unit_that_comes_up_well_has_not_recovered() -> None:
    assert not [n for notes in story(row(Phase.APPLYING), READY) for n in notes if n[0] == "health"]


def test_an_object_that_the_row_has_no_more_is_gone_once_everything_is_there() -> None:
    two = row(Phase.READY, one(Ready.READY), one(Ready.READY, name="old"))
    told = story(two, row(Phase.APPLYING, one(Ready.READY)), READY)
    assert not [n for n in told[1] if n[0] == "resource"]
    assert told[2] == [
        ("resource", "deployed", "Applied", "Deleted"),
        ("resource", "ready", "Ready", "NotPresent"),
        ("unit", "deployed", "Applying", "Applied"),
    ]


def test_an_object_that_is_deleted_by_hand_is_not_present() -> None:
    assert story(READY, row(Phase.READY, one(Ready.NOT_PRESENT, seen=False)))[1] == [
        ("resource", "ready", "Ready", "NotPresent"),
        ("unit", "ready", "Ready", "NotReady"),
        ("health", "", "recovered", "failed"),
    ]


def test_a_farewell_takes_back_what_was_told() -> None:
    told = [_short(note) for note in farewell(news(None, READY).row)]
    assert told == [
        ("resource", "deployed", "Applied", "Deleted"),
        ("resource", "ready", "Ready", "NotPresent"),
        ("unit", "deployed", "Applied", "Deleted"),
        ("unit", "ready", "Ready", "NotPresent"),
    ]
    assert farewell(row(Phase.PENDING)) == []


def test_severity_says_how_much_to_worry() -> None:
    def severities(*rows: UnitRow) -> set[Severity]:
        before = None
        found: set[Severity] = set()
        for after in rows:
            new = news(before, after)
            before, found = new.row, {note.severity for note in new.notes}
        return found

    late = row(Phase.READY, one(Ready.NOT_READY))
    assert severities(READY) == {Severity.INFO}
    assert severities(READY, late) == {Severity.WARNING, Severity.ERROR}
    assert severities(READY, late, READY) == {Severity.INFO}
    assert severities(row(Phase.APPLIED), row(Phase.FAILED)) == {Severity.ERROR}
    assert severities(READY, row(Phase.DRIFTED, one(Ready.READY))) == {Severity.WARNING}
    assert severities(READY, row(Phase.REMOVING, one(Ready.NOT_READY))) == {Severity.INFO}


def test_a_failure_names_the_objects_that_are_late() -> None:
    late = ObjectStatus(
        key=key(), deployed=Deployed.APPLIED, ready=Ready.NOT_READY, message="1 of 3", observed={}
    )
    (note,) = [
        n
        for n in news(news(None, READY).row, row(Phase.READY, late)).notes
        if n.type is EventType.HEALTH
    ]
    assert note.message == "Deployment ns/web: 1 of 3"


objects = st.builds(
    one,
    st.sampled_from(Ready),
    st.sampled_from(Deployed),
    seen=st.booleans(),
    name=st.sampled_from(["web", "db"]),
)
rows = st.builds(
    lambda phase, objects: row(phase, *{o.key: o for o in objects}.values()),
    st.sampled_from(Phase),
    st.lists(objects, max_size=3),
)


@given(st.lists(rows, max_size=12))
def test_every_story_hangs_together(told: list[UnitRow]) -> None:
    """Each event of a subject begins where the one before ended, and nothing is told twice."""
    before: UnitRow | None = None
    last: dict[tuple[object, ...], str] = {}
    for after in told:
        found = news(before, after)
        for note in found.notes:
            subject: tuple[object, ...] = (note.type, note.view, note.resource)
            if subject in last:
                assert note.source == last[subject]
            assert note.source != note.target
            last[subject] = note.target
            if note.target == Deployed.DELETED:  # what comes after that is another one
                del last[subject]
        before = found.row
        assert news(before, after).notes == []


@given(st.lists(rows, min_size=1, max_size=12))
def test_a_snapshot_is_where_the_events_ended(told: list[UnitRow]) -> None:
    before: UnitRow | None = None
    last: dict[tuple[object, ...], str] = {}
    for after in told:
        found = news(before, after)
        last |= {(n.type, n.view, n.resource): n.target for n in found.notes}
        before = found.row
    assert before is not None
    shown: dict[tuple[object, ...], str] = {
        (n.type, n.view, n.resource): n.target for n in standing(before)
    }
    for subject, value in shown.items():
        assert last[subject] == value
    for subject, value in last.items():
        assert shown.get(subject, value) == value


def test_operations_are_told_from_begin_to_end() -> None:
    created = Lifecycle()
    approved = accept(created, Verb.APPROVE, "d", now=NOW)
    begun = accept(approved, Verb.INSTANTIATE, "d", now=NOW, operation="op1")
    failed = ended(begun, Outcome.FAILED, now=NOW, failure="no")
    resumed = accept(failed, Verb.RESUME, "d", now=NOW, operation="op2")
    stopped = accept(resumed, Verb.STOP, "d", now=NOW)
    lives = [created, approved, begun, begun, failed, resumed, stopped]
    told = [progress_news(a, b) for a, b in pairwise(lives)]
    assert [[(n.source, n.target, n.severity) for n in notes] for notes in told] == [
        [("Created", "Approved", "info")],
        [("", "Instantiating", "info")],
        [],
        [("Instantiating", "InstantiateFailed", "error")],
        [("InstantiateFailed", "Instantiating", "info")],
        [("Instantiated", "InstantiateStopped", "info")],
    ]


def test_an_operation_that_takes_the_place_of_another_is_told_too() -> None:
    approved = accept(Lifecycle(), Verb.APPROVE, "d", now=NOW)
    first = accept(approved, Verb.INSTANTIATE, "d", now=NOW, operation="op1")
    second = accept(first, Verb.UPDATE, "d", now=NOW, operation="op2", supersede=True)
    (note,) = progress_news(first, second)
    assert (note.source, note.target, note.reason) == ("Instantiating", "Instantiating", "update")


def test_a_gate_tells_that_it_is_waited_at_and_how_that_ends() -> None:
    waiting = row(Phase.WAITING)
    assert story(waiting, waiting, row(Phase.APPLYING)) == [
        [("gate", "", "", "waiting")],
        [],
        [("gate", "", "waiting", "open"), ("unit", "deployed", "", "Applying")],
    ]
    assert ("gate", "", "waiting", "shut") in story(waiting, row(Phase.FAILED))[1]


def test_a_hook_tells_what_it_has_come_to_and_each_thing_once() -> None:
    def run(state: HookState) -> HookRow:
        return HookRow(
            id="1",
            run="1",
            event=Event.PRE_INSTALL,
            key=key("migrate"),
            app="a",
            cluster="edge+c1",
            state=state,
            since=NOW,
        )

    states = [HookState.STARTING, HookState.RUNNING, HookState.RUNNING, HookState.FAILED]
    rows = [None, *map(run, states)]
    told = [hook_news(old, new) for old, new in pairwise(rows) if new]
    assert [[(n.target, n.severity) for n in notes] for notes in told] == [
        [],
        [("Running", Severity.INFO)],
        [],
        [("Failed", Severity.ERROR)],
    ]
    assert told[1][0].reason == "pre-install"
