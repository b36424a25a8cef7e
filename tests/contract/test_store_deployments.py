"""What is remembered of operations, on both databases."""

from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from emco.domain import lifecycle
from emco.domain.errors import Conflict, InUse, NotFound
from emco.domain.lifecycle import Lifecycle, Progress, State, Verb
from emco.domain.status import NAMESPACE_CLAIM, Footprint, ObjectKey, Phase, UnitRow
from emco.store.engine import Database
from emco.store.store import Store
from emco.store.tables import metadata
from tests.contract.conftest import (
    CLOUD,
    CLUSTER,
    DEPLOYMENT,
    PROJECT,
    app,
    named,
    spec_of_deployment,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def instantiate(store: Store) -> None:
    def change(life: Lifecycle) -> Lifecycle:
        approved = lifecycle.accept(life, Verb.APPROVE, "d", now=NOW)
        return lifecycle.accept(approved, Verb.INSTANTIATE, "d", now=NOW, operation="op")

    store.change_lifecycle(DEPLOYMENT, change)


def test_a_new_deployment_and_a_new_cloud_are_created_and_nothing_more(shop: Store) -> None:
    for address in (DEPLOYMENT, CLOUD):
        life = shop.lifecycle(address)
        assert [a.state for a in life.actions] == [State.CREATED]
        assert life.progress is None


def test_a_change_that_raises_leaves_no_trace(shop: Store) -> None:
    def change(life: Lifecycle) -> Lifecycle:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shop.change_lifecycle(DEPLOYMENT, change)
    assert shop.lifecycle(DEPLOYMENT).state is State.CREATED


def test_a_live_deployment_can_be_neither_edited_nor_deleted(shop: Store) -> None:
    instantiate(shop)
    assert shop.lifecycle(DEPLOYMENT).progress is Progress.INSTANTIATING
    with pytest.raises(InUse) as e:
        shop.delete(DEPLOYMENT)
    assert e.value.title == "DeploymentIntentGroup must be terminated before it can be deleted d"
    with pytest.raises(Conflict, match="not in Created status"):
        shop.replace(DEPLOYMENT, named("d"), spec_of_deployment())


def test_the_lifecycle_of_what_is_missing_is_refused(shop: Store) -> None:
    shop.delete(DEPLOYMENT)
    with pytest.raises(NotFound):
        shop.lifecycle(DEPLOYMENT)


def row(cluster: str, name: str, *, phase: Phase = Phase.PENDING, plan: str = "p1") -> UnitRow:
    return UnitRow(app=name, cluster=cluster, phase=phase, since=NOW, plan=plan)


def test_units_are_written_read_and_dropped(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, row("edge+c1", "b"))
    shop.put_unit(DEPLOYMENT, row("edge+c1", "a"))
    shop.put_unit(DEPLOYMENT, row("edge+c1", "a", phase=Phase.READY))
    assert [(u.app, u.phase) for u in shop.units(DEPLOYMENT)] == [
        ("a", Phase.READY),
        ("b", Phase.PENDING),
    ]
    for _ in range(2):
        shop.drop_unit(DEPLOYMENT, "edge+c1", "a")
    assert [u.app for u in shop.units(DEPLOYMENT)] == ["b"]


def test_announcing_keeps_what_a_unit_has_reached_under_the_same_plan(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, row("edge+c1", "a", phase=Phase.READY))
    shop.put_unit(DEPLOYMENT, row("edge+c1", "b", phase=Phase.READY, plan="old"))
    shop.announce(DEPLOYMENT, [row("edge+c1", name) for name in "abc"])
    phases = {u.app: u.phase for u in shop.units(DEPLOYMENT)}
    assert phases == {"a": Phase.READY, "b": Phase.PENDING, "c": Phase.PENDING}


def test_rows_are_changed_as_they_are_and_no_row_is_made(shop: Store) -> None:
    applying = row("edge+c1", "web", phase=Phase.APPLYING)
    shop.put_units([(DEPLOYMENT, row("edge+c1", "db")), (DEPLOYMENT, applying)])

    def wait(unit: UnitRow) -> UnitRow:
        is_early = unit.phase is Phase.PENDING
        return unit.model_copy(update={"phase": Phase.WAITING}) if is_early else unit

    keys = [("edge+c1", "db"), ("edge+c1", "web"), ("edge+c1", "gone")]
    shop.change_units(DEPLOYMENT, dict.fromkeys(keys, wait))
    assert {u.app: u.phase for u in shop.units(DEPLOYMENT)} == {
        "db": Phase.WAITING,
        "web": Phase.APPLYING,
    }


def key(name: str) -> ObjectKey:
    return ObjectKey(api_version="v1", kind="ConfigMap", name=name)


def footprint(name: str, *objects: str) -> Footprint:
    keys = tuple(map(key, objects))
    return Footprint(app=name, cluster="edge+c1", namespace="ns", objects=keys)


def test_a_footprint_only_grows_until_it_is_released(shop: Store) -> None:
    shop.claim(DEPLOYMENT, [footprint("a", "x", "y"), footprint(NAMESPACE_CLAIM)])
    shop.claim(DEPLOYMENT, [footprint("a", "y", "z")])
    namespace, unit = shop.footprint(DEPLOYMENT)
    assert namespace.app == NAMESPACE_CLAIM
    assert [k.name for k in unit.objects] == ["x", "y", "z"]
    assert shop.namespace_users(CLUSTER, "ns") == [DEPLOYMENT]
    for _ in range(2):
        shop.release(DEPLOYMENT, "edge+c1", "a")
        shop.release(DEPLOYMENT, "edge+c1", NAMESPACE_CLAIM)
    assert shop.footprint(DEPLOYMENT) == []
    assert shop.namespace_users(CLUSTER, "ns") == []


def test_a_footprint_keeps_its_cluster_from_being_deleted(shop: Store) -> None:
    shop.claim(DEPLOYMENT, [footprint("a", "x")])
    (reference,) = [r for _, r in shop.references(CLUSTER).incoming]
    shop.delete(reference)
    with pytest.raises(InUse, match=r"deployment-intent-groups/d may still have objects"):
        shop.delete(CLUSTER)
    shop.release(DEPLOYMENT, "edge+c1", "a")
    shop.delete(CLUSTER)


def test_the_first_plan_of_an_operation_is_its_plan(shop: Store) -> None:
    one, two = shop.put_blob(b"one"), shop.put_blob(b"two")
    assert shop.plan_of(DEPLOYMENT, "op") is None
    assert shop.record_plan(DEPLOYMENT, "op", one) == one
    assert shop.record_plan(DEPLOYMENT, "op", two) == one
    assert shop.plan_of(DEPLOYMENT, "op") == one


def test_facts_about_a_cluster_are_the_last_ones(shop: Store) -> None:
    assert shop.facts(CLUSTER) is None
    shop.put_facts(CLUSTER, {"kube_version": "v1"})
    shop.put_facts(CLUSTER, {"kube_version": "v2"})
    assert shop.facts(CLUSTER) == {"kube_version": "v2"}


def test_the_migrations_make_exactly_the_tables(store: Store, url: str) -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
    database.close()


def test_what_belongs_to_a_deployment_goes_with_it(shop: Store) -> None:
    shop.put_unit(DEPLOYMENT, row("edge+c1", "a"))
    shop.record_plan(DEPLOYMENT, "op", shop.put_blob(b"plan"))
    shop.delete(DEPLOYMENT)
    shop.create(DEPLOYMENT, named("d"), spec_of_deployment())
    assert shop.units(DEPLOYMENT) == []
    assert shop.plan_of(DEPLOYMENT, "op") is None
    assert shop.find(app("a"))
    assert shop.find(PROJECT)
