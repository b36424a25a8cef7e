"""`emco get`, `describe` and `references` show any kind in a form for people or for programs."""

import json

import yaml

from tests.unit.cli.conftest import Emco, Served

APPS = "shop/online-boutique/v1"
DEPLOYMENT = f"{APPS}/boutique"


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_all_of_a_kind_are_found_without_naming_their_parents(boutique: Served, emco: Emco) -> None:
    shown = lines(emco("get", "deployments").stdout)
    assert shown == [
        ["NAME", "COMPOSITE", "PROFILE", "VERSION", "LOGICAL", "CLOUD"],
        [DEPLOYMENT, "two-clusters", "boutique", "edge-cloud"],
    ]
    assert len(lines(emco("get", "apps").stdout)) == 1 + 12


def test_names_narrow_what_is_shown(boutique: Served, emco: Emco) -> None:
    assert lines(emco("get", "labels", "edge/c1").stdout)[1:] == [["edge/c1/front"]]
    assert len(lines(emco("get", "app-placements", "shop/online-boutique").stdout)) == 1 + 12
    assert emco("get", "apps", "shop/other").stdout == ""


def test_an_anchor_does_as_well(boutique: Served, emco: Emco) -> None:
    by_kind = emco("get", "apps", APPS).stdout
    assert emco("get", "projects/shop/composite-apps/online-boutique/v1/apps").stdout == by_kind


def test_group_intents_have_names_though_emcos_list_has_none(boutique: Served, emco: Emco) -> None:
    assert lines(emco("get", "intents").stdout)[1:] == [
        [f"{DEPLOYMENT}/intents", "genericPlacementIntent=placement"]
    ]


def test_a_query_is_sent_as_it_is(boutique: Served, emco: Emco) -> None:
    result = emco("get", "cluster-providers/edge/clusters?label=front", "-o", "json")
    assert json.loads(result.stdout) == ["c1"]


def test_programs_get_json_or_yaml(boutique: Served, emco: Emco) -> None:
    one = json.loads(emco("get", "deployment", DEPLOYMENT, "-o", "json").stdout)
    assert one["spec"]["version"] == "boutique"
    assert yaml.safe_load(emco("get", "deployments", "-o", "yaml").stdout) == [one]


def test_what_is_not_there_is_named(served: Served, emco: Emco) -> None:
    result = emco("get", "project", "nobody")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "error: Project not found",
        "  there is no projects/nobody",
    ]


def test_an_empty_list_says_so_beside_the_answer(served: Served, emco: Emco) -> None:
    result = emco("get", "projects")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no projects\n")
    assert json.loads(emco("get", "projects", "-o", "json").stdout) == []


def test_describe_tells_body_state_and_references(boutique: Served, emco: Emco) -> None:
    shown = emco("describe", "deployment", DEPLOYMENT).stdout
    body, _, uses = shown.partition("\n\nRefers to\n")
    told = yaml.safe_load(body)
    assert (told["kind"], told["state"], told["progress"]) == ("Deployment", "Created", "Created")
    assert told["spec"]["logicalCloud"] == "edge-cloud"
    assert "projects/shop/logical-clouds/edge-cloud  (spec.logicalCloud)" in uses
    assert "/generic-placement-intents/placement" in uses.partition("Holds")[2]


def test_references_go_both_ways(boutique: Served, emco: Emco) -> None:
    shown = emco("references", "cluster", "edge/c1").stdout
    reference = "projects/shop/logical-clouds/edge-cloud/cluster-references/c1"
    assert f"referred to by  {reference}  spec.cluster" in shown
    assert "holds           cluster-providers/edge/clusters/c1/labels/front" in shown
    data = json.loads(emco("references", "cluster", "edge/c1", "-o", "json").stdout)
    assert set(data) == {"incoming", "outgoing", "children"}


def test_nothing_is_cut_when_nobody_sees_the_width(boutique: Served, emco: Emco) -> None:
    shown = emco("get", "app-placements").stdout
    assert "allOf=(clusterProvider=edge clusterLabel=front)" in shown
    assert "…" not in shown
    assert "\x1b" not in shown
