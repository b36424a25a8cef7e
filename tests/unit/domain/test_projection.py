"""Two writers of one row: the later version of each object stays, in whatever order they come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emco.domain.projection import Sighting, merged, sighted
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def key(name: str, kind: str = "Deployment", api: str = "apps/v1", where: str = "") -> ObjectKey:
    return ObjectKey(api_version=api, kind=kind, namespace=where, name=name)


def status(name: str, ready: Ready = Ready.READY, seen: int = 5, **more: Any) -> ObjectStatus:
    more = {"key": key(name), "deployed": Deployed.APPLIED, **more}
    return ObjectStatus(ready=ready, seen=seen, **more)


def row(*objects: ObjectStatus, phase: Phase = Phase.READY) -> UnitRow:
    return UnitRow(
        app="a", cluster="p+c", phase=phase, since=NOW, objects=objects, namespace="shop"
    )


def seen(name: str, ready: Ready, version: int, **more: Any) -> Sighting:
    more = {"key": key(name, where="shop"), **more}
    return Sighting(ready=ready, seen=version, **more)


def look(unit: UnitRow, *sightings: Sighting) -> UnitRow:
    return sighted(unit, sightings, now=LATER)


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        (status("x", Ready.NOT_READY, 7), status("x", Ready.READY, 6), Ready.NOT_READY),
        (status("x", Ready.NOT_READY, 7), status("x", Ready.READY, 7), Ready.READY),
        (status("x", Ready.NOT_READY, 7), status("x", Ready.READY, 8), Ready.READY),
        (status("x", Ready.UNKNOWN, 7), status("x", Ready.NOT_READY, 7), Ready.UNKNOWN),
        (status("x", Ready.UNKNOWN, 7), status("x", Ready.NOT_READY, 8), Ready.NOT_READY),
    ],
)
def test_an_operation_writes_over_what_it_knows_better_only(
    old: ObjectStatus, new: ObjectStatus, stays: Ready
) -> None:
    (found,) = merged(row(old), row(new, phase=Phase.APPLIED)).objects
    assert found.ready is stays


def test_an_operation_keeps_its_own_part_of_what_was_seen_later() -> None:
    old = status("x", Ready.READY, 9, message="seen", deployed=Deployed.APPLIED)
    new = status("x", Ready.NOT_PRESENT, 0, deployed=Deployed.PENDING)
    found = merged(row(old), row(new, phase=Phase.APPLYING))
    assert found.phase is Phase.APPLYING
    assert found.objects == (old.model_copy(update={"deployed": Deployed.PENDING}),)


def test_ready_is_not_told_of_a_unit_that_broke_while_it_was_waited_for() -> None:
    broken = merged(row(status("x", Ready.NOT_READY, 9), phase=Phase.APPLIED), row(status("x")))
    assert broken.phase is Phase.DEGRADED


def test_a_unit_at_rest_degrades_and_recovers() -> None:
    calm = row(status("x"), status("y"))
    broken = look(calm, seen("x", Ready.NOT_READY, 6, message="NotAvailable: 0 of 1"))
    assert (broken.phase, broken.since) == (Phase.DEGRADED, LATER)
    assert broken.message == "Deployment x: NotAvailable: 0 of 1"
    well = look(broken, seen("x", Ready.READY, 7))
    assert (well.phase, well.message) == (Phase.READY, "")


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.READY, Phase.DEGRADED)])
def test_the_phase_of_a_unit_belongs_to_its_operation(phase: Phase) -> None:
    found = look(row(status("x"), phase=phase), seen("x", Ready.NOT_READY, 6))
    assert found.phase is phase
    assert found.objects[0].ready is Ready.NOT_READY


def test_what_is_old_or_of_somebody_else_changes_nothing() -> None:
    calm = row(status("x"))
    elsewhere = seen("x", Ready.NOT_READY, 9, key=key("x", where="other"))
    stranger = seen("z", Ready.NOT_READY, 9)
    assert look(calm, seen("x", Ready.NOT_READY, 4), elsewhere, stranger) == calm


def test_a_cluster_that_was_restored_is_believed_though_its_versions_are_low() -> None:
    found = look(row(status("x")), seen("x", Ready.NOT_PRESENT, 2, is_anew=True))
    assert found.objects[0].ready is Ready.NOT_PRESENT
    assert found.objects[0].seen == 2


def test_silence_makes_everything_unknown_and_nothing_degraded() -> None:
    silent = look(row(status("x")), seen("x", Ready.UNKNOWN, 0, message="since then"))
    assert (silent.phase, silent.message) == (Phase.READY, "since then")
    assert silent.objects == (status("x", Ready.UNKNOWN, message="since then"),)
    assert look(silent, seen("x", Ready.READY, 5)) == row(status("x"))


def test_a_job_that_ended_well_may_be_cleared_away() -> None:
    job = key("j", "Job", "batch/v1")
    there = row(status("j", key=job))
    gone = seen("j", Ready.NOT_PRESENT, 9, key=job.model_copy(update={"namespace": "shop"}))
    assert look(there, gone) == there
    unfinished = row(status("j", Ready.NOT_READY, key=job))
    assert look(unfinished, gone).objects[0].ready is Ready.NOT_PRESENT
