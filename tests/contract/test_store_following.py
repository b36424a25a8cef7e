"""What is followed on each cluster, on both databases."""

from datetime import UTC, datetime
from typing import Any

from emco.domain.projection import Sighting
from emco.domain.status import Deployed, Footprint, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.following import Claimed
from emco.store.store import Store
from tests.contract.conftest import CLUSTER, DEPLOYMENT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE = "edge+c1"


def key(name: str, where: str = "", kind: str = "ConfigMap") -> ObjectKey:
    return ObjectKey(api_version="v1", kind=kind, namespace=where, name=name)


def claim(shop: Store, app: str, *objects: ObjectKey, identity: str = "") -> None:
    one = Footprint(app=app, cluster=HERE, namespace="ns", objects=objects, identity=identity)
    shop.claim(DEPLOYMENT, [one])


def put(shop: Store, app: str, *names: str, phase: Phase = Phase.READY) -> None:
    objects = tuple(
        ObjectStatus(key=key(name), deployed=Deployed.APPLIED, ready=Ready.READY, seen=5)
        for name in names
    )
    more: dict[str, Any] = {"phase": phase, "since": NOW, "namespace": "ns"}
    shop.put_unit(DEPLOYMENT, UnitRow(app=app, cluster=HERE, objects=objects, **more))


def gone(name: str, version: int = 6) -> Sighting:
    return Sighting(key=key(name, "ns"), ready=Ready.NOT_PRESENT, seen=version)


def states(shop: Store) -> dict[str, Ready]:
    return {o.key.name: o.ready for row in shop.units(DEPLOYMENT) for o in row.objects}


def test_kinds_are_in_use_until_nobody_has_anything_there(shop: Store) -> None:
    claim(shop, "a", key("x"), key("y"), key("s", kind="Secret"))
    claim(shop, "a", key("x"))
    assert shop.kinds_in_use(HERE) == [("v1", "ConfigMap"), ("v1", "Secret")]
    assert shop.clusters_in_use() == [HERE]
    assert not shop.forget_if_unused(HERE)
    shop.release(DEPLOYMENT, HERE, "a")
    assert shop.forget_if_unused(HERE)
    assert shop.kinds_in_use(HERE) == []
    assert shop.clusters_in_use() == []


def test_whose_mark_the_objects_of_an_app_carry(shop: Store) -> None:
    claim(shop, "a", key("x"))
    claim(shop, "b", key("y"), identity="p/ca/v0/d")
    found = {claimed.app: claimed.owner for claimed in shop.claimed_on(HERE)}
    assert found == {"a": "p/ca/v1/d", "b": "p/ca/v0/d"}


def test_only_what_was_seen_is_written(shop: Store) -> None:
    put(shop, "a", "x", "y")
    put(shop, "b", "z", phase=Phase.APPLYING)
    seen = [(Claimed(DEPLOYMENT, "a"), [gone("x")]), (Claimed(DEPLOYMENT, "b"), [gone("z")])]
    assert shop.observe(HERE, seen) == []
    assert states(shop) == {"x": Ready.NOT_PRESENT, "y": Ready.READY, "z": Ready.NOT_PRESENT}
    phases = {row.app: row.phase for row in shop.units(DEPLOYMENT)}
    assert phases == {"a": Phase.DEGRADED, "b": Phase.APPLYING}


def test_an_operation_that_knows_less_does_not_undo_it(shop: Store) -> None:
    put(shop, "a", "x")
    shop.observe(HERE, [(Claimed(DEPLOYMENT, "a"), [gone("x")])])
    put(shop, "a", "x")
    assert states(shop) == {"x": Ready.NOT_PRESENT}


def test_one_unit_may_be_told_of_twice_at_once(shop: Store) -> None:
    put(shop, "a", "x", "y")
    twice = [
        (Claimed(DEPLOYMENT, "a"), [gone("x")]),
        (Claimed(DEPLOYMENT, "a", "p/ca/v0/d"), [gone("y")]),
    ]
    shop.observe(HERE, twice)
    assert states(shop) == {"x": Ready.NOT_PRESENT, "y": Ready.NOT_PRESENT}


def test_units_that_are_not_there_are_handed_back(shop: Store) -> None:
    put(shop, "a", "x")
    lost = (Claimed(DEPLOYMENT, "b"), [gone("x")])
    assert shop.observe(HERE, [lost]) == [lost]
    assert states(shop) == {"x": Ready.READY}


def test_facts_of_different_origin_stand_beside_each_other(shop: Store) -> None:
    shop.put_facts(CLUSTER, {"kube_version": "v1"})
    shop.put_facts(CLUSTER, {"connectivity": "Available"})
    assert shop.facts(CLUSTER) == {"kube_version": "v1", "connectivity": "Available"}
