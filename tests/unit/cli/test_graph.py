"""`emco graph`: who waits for whom, as people read it, as Mermaid draws it, and as a program wants it."""

import json
from datetime import UTC, datetime

import pytest

from emco.domain.dependencies import Condition, Dependency
from emco.domain.kinds.delivery import Deployment
from emco.domain.resource import Address
from emco.domain.status import Awaited, Phase, UnitRow
from tests.unit.cli.conftest import Emco, Served, unit

DEPLOYMENT = "shop/online-boutique/v1/boutique"
AT = Address.of(Deployment, DEPLOYMENT.split("/"))
CART = Dependency(app="cartservice", needs="redis-cart", condition=Condition.READY, wait=2)


@pytest.fixture
def delayed(boutique: Served) -> Served:
    """redis is ready on one cluster, and the cart's delay runs there."""
    unit("redis-cart", Phase.READY)(boutique.store, AT)
    waiting = UnitRow(
        app="cartservice",
        cluster="edge+c1",
        phase=Phase.WAITING,
        since=datetime.now(UTC),
        awaits=(Awaited(dependency=CART),),
        until=datetime(2026, 1, 1, 12, 30, 5, tzinfo=UTC),
    )
    boutique.store.put_unit(AT, waiting)
    return boutique


def test_the_text_is_a_tree_down_to_what_waits_for_nothing(delayed: Served, emco: Emco) -> None:
    lines = [line.strip("│ ") for line in emco("graph", DEPLOYMENT).stdout.splitlines()]
    cart = lines.index("└─ redis-cart (Ready + 2 s) ✓  ● edge+c1 Ready")
    assert "cartservice" in lines[cart - 1]
    assert lines[cart - 1].endswith("◷ edge+c1 Waiting until 12:30:05")
    assert lines[0].startswith("loadgenerator"), "nobody waits for it"


def test_mermaid_gets_nothing_but_a_flowchart(delayed: Served, emco: Emco) -> None:
    lines = emco("graph", DEPLOYMENT, "--format", "mermaid").stdout.splitlines()
    names = {
        line.split('"')[1].partition("<")[0]: line.split("[")[0].strip()
        for line in lines
        if "[" in line
    }
    assert lines[0] == "flowchart LR"
    assert f'  {names["redis-cart"]} -->|"Ready + 2 s"| {names["cartservice"]}' in lines
    redis = f'  {names["redis-cart"]}["redis-cart<br/>edge+c1: Ready"]:::ready'
    assert redis in lines


def test_json_is_what_the_api_answers(delayed: Served, emco: Emco) -> None:
    shown = json.loads(emco("graph", DEPLOYMENT, "-f", "json").stdout)
    (edge,) = [edge for edge in shown["edges"] if edge["app"] == "cartservice"]
    assert (edge["needs"], edge["opStatus"], edge["wait"], edge["open"]) == (
        "redis-cart",
        "Ready",
        2,
        True,
    )
    (node,) = [node for node in shown["nodes"] if node["app"] == "cartservice"]
    assert node["clusters"][0]["until"] == "2026-01-01T12:30:05Z"


def test_a_deployment_that_is_not_there_is_named(boutique: Served, emco: Emco) -> None:
    result = emco("graph", "shop/online-boutique/v1/other")
    assert result.exit_code != 0
    assert "other" in result.stderr
