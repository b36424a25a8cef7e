"""Operations, revisions, previews, leases and migrations, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emco.domain import lifecycle
from emco.domain.errors import Conflict, IllegalTransition, InUse, NotFound
from emco.domain.history import OperationRow, PreviewRow, RevisionRow
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import Action, Lifecycle, Outcome, Progress, State, Verb
from emco.domain.resource import Address
from emco.domain.status import Footprint, ObjectKey, Phase, UnitRow
from emco.store import history
from emco.store.store import Store
from tests.contract.conftest import CLUSTER, DEPLOYMENT, add_app, app, named, spec_of_deployment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TARGET = Address.of(Deployment, ["p", "ca", "v1", "e"])
EDGE = "+".join(CLUSTER.path.split("/")[1::2])


def begin(store: Store, operation: str = "op", plan: str = "") -> Lifecycle:
    def change(life: Lifecycle) -> Lifecycle:
        if life.operation == operation:
            return life
        approved = life.model_copy(update={"actions": (Action(state=State.APPROVED, time=NOW),)})
        return lifecycle.accept(approved, Verb.INSTANTIATE, "d", now=NOW, operation=operation)

    return store.begin_operation(DEPLOYMENT, change, lambda life: row(life.operation), plan=plan)


def row(operation: str, **members: Any) -> OperationRow:
    return OperationRow(id=operation, verb=Verb.INSTANTIATE, began=NOW, **members)


def test_an_operation_begins_once_with_its_record_and_its_plan(shop: Store) -> None:
    digest = shop.put_blob(b"plan")
    for _ in range(2):
        assert begin(shop, plan=digest).operation == "op"
    assert [o.id for o in shop.operations(DEPLOYMENT)] == ["op"]
    assert shop.plan_of(DEPLOYMENT, "op") == digest
    assert shop.lifecycle(DEPLOYMENT).progress is Progress.INSTANTIATING


def test_what_is_refused_leaves_no_operation_behind(shop: Store) -> None:
    def change(life: Lifecycle) -> Lifecycle:
        return lifecycle.accept(life, Verb.UPDATE, "d", now=NOW, operation="op")

    with pytest.raises(IllegalTransition):
        shop.begin_operation(DEPLOYMENT, change, lambda life: row("op"))
    assert shop.operations(DEPLOYMENT) == []


def test_operations_are_newest_first_and_the_oldest_go(
    shop: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "OPERATIONS_KEPT", 3)
    for number in range(5):
        shop.note_operation(DEPLOYMENT, row(str(number)))
    assert [o.id for o in shop.operations(DEPLOYMENT)] == ["4", "3", "2"]


def revision(store: Store, number: int, content: bytes = b"plan") -> RevisionRow:
    return RevisionRow(
        number=number,
        digest=store.put_blob(content),
        operation=f"op{number}",
        verb=Verb.UPDATE,
        time=NOW,
    )


def test_revisions_are_kept_by_count_but_never_lose_what_is_in_effect(shop: Store) -> None:
    shop.change_lifecycle(
        DEPLOYMENT, lambda life: life.model_copy(update={"effective_revision": 1})
    )
    for number in range(1, 6):
        shop.record_revision(DEPLOYMENT, revision(shop, number), keep=2)
    assert [r.number for r in shop.revisions(DEPLOYMENT)] == [1, 4, 5]
    with pytest.raises(NotFound, match="there are: 1, 4, 5"):
        shop.revision(DEPLOYMENT, 2)


def test_a_number_that_was_given_back_names_the_next_revision(shop: Store) -> None:
    for content in (b"refused", b"accepted"):
        shop.record_revision(DEPLOYMENT, revision(shop, 2, content), keep=5)
    assert shop.revision(DEPLOYMENT, 2).digest == shop.put_blob(b"accepted")


def test_previews_are_found_by_digest_until_there_are_too_many(
    shop: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PREVIEWS_KEPT", 2)
    blob = shop.put_blob(b"plan")
    for number in range(3):
        made = PreviewRow(
            digest=f"{number}" * 64,
            plan=blob,
            report=blob,
            inputs="i",
            time=NOW + timedelta(seconds=number),
        )
        shop.put_preview(DEPLOYMENT, made)
    assert shop.preview(DEPLOYMENT, "2" * 64).inputs == "i"
    with pytest.raises(Conflict, match="There is no such plan"):
        shop.preview(DEPLOYMENT, "0" * 64)


def test_a_lease_holds_a_resource_until_the_operation_ends(shop: Store) -> None:
    begin(shop)
    held = app("spare")
    add_app(shop, "spare")
    gone = app("gone")
    assert shop.lease(DEPLOYMENT, "op", [held, gone]) == [gone]
    with pytest.raises(InUse, match="the instantiate op of"):
        shop.delete(held)
    shop.end_operation(
        DEPLOYMENT, "op", lambda life: lifecycle.ended(life, Outcome.DONE, now=NOW), row("op")
    )
    shop.delete(held)


def test_a_hand_over_moves_everything_in_one_transaction(shop: Store) -> None:
    shop.create(TARGET, named("e"), spec_of_deployment())
    begin(shop, plan=shop.put_blob(b"plan"))
    key = ObjectKey(api_version="v1", kind="ConfigMap", name="x")
    shop.claim(DEPLOYMENT, [Footprint(app="a", cluster=EDGE, namespace="n", objects=(key,))])
    shop.put_unit(DEPLOYMENT, UnitRow(app="a", cluster=EDGE, since=NOW, phase=Phase.READY))
    shop.record_revision(DEPLOYMENT, revision(shop, 1), keep=5)

    def refused(old: Lifecycle, new: Lifecycle) -> tuple[Lifecycle, Lifecycle]:
        raise Conflict("no")

    with pytest.raises(Conflict):
        shop.hand_over(DEPLOYMENT, TARGET, refused, row("op2"))
    assert shop.footprint(TARGET) == []

    def change(old: Lifecycle, new: Lifecycle) -> tuple[Lifecycle, Lifecycle]:
        return old, new.model_copy(update={"numbered": 7})

    assert shop.hand_over(DEPLOYMENT, TARGET, change, row("op2")).numbered == 7
    assert [f.app for f in shop.footprint(TARGET)] == ["a"]
    assert [u.phase for u in shop.units(TARGET)] == [Phase.READY]
    assert [r.number for r in shop.revisions(TARGET)] == [1]
    assert shop.plan_of(TARGET, "op")
    for left in (shop.footprint, shop.units, shop.revisions):
        assert left(DEPLOYMENT) == []


def test_a_target_that_holds_something_takes_nothing_over(shop: Store) -> None:
    shop.create(TARGET, named("e"), spec_of_deployment())
    shop.claim(TARGET, [Footprint(app="a", cluster=EDGE, namespace="n")])
    with pytest.raises(Conflict, match="still has something"):
        shop.hand_over(DEPLOYMENT, TARGET, lambda old, new: (old, new), row("op2"))


def test_units_that_never_came_about_are_forgotten_and_others_calmed(shop: Store) -> None:
    def unit(name: str, **members: Any) -> UnitRow:
        return UnitRow(app=name, cluster=EDGE, since=NOW, phase=Phase.RETRYING, **members)

    shop.put_unit(DEPLOYMENT, unit("new"))
    shop.put_unit(DEPLOYMENT, unit("old", manifest="m", applied="m", message="away"))
    shop.change_lifecycle(DEPLOYMENT, lambda life: life.model_copy(update={"numbered": 1}))
    for number in (1, 2):
        shop.record_revision(DEPLOYMENT, revision(shop, number), keep=5)
    shop.forget_untouched(DEPLOYMENT)
    assert [r.number for r in shop.revisions(DEPLOYMENT)] == [1]
    (left,) = shop.units(DEPLOYMENT)
    assert (left.app, left.phase, left.message) == ("old", Phase.READY, "")


def test_a_unit_that_is_there_as_planned_keeps_how_far_it_has_come(shop: Store) -> None:
    def unit(plan: str, manifest: str, **members: Any) -> UnitRow:
        return UnitRow(app="a", cluster=EDGE, since=NOW, plan=plan, manifest=manifest, **members)

    shop.put_unit(DEPLOYMENT, unit("p1", "m1", phase=Phase.READY, applied="m1"))
    shop.announce(DEPLOYMENT, [unit("p2", "m1")])
    (same,) = shop.units(DEPLOYMENT)
    assert (same.plan, same.phase, same.applied) == ("p2", Phase.READY, "m1")
    shop.announce(DEPLOYMENT, [unit("p3", "m2")])
    (other,) = shop.units(DEPLOYMENT)
    assert (other.phase, other.manifest, other.applied) == (Phase.PENDING, "m2", "m1")
