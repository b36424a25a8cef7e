"""What people type leads to a place in the API's tree, or to a sentence that says how to type it."""

import pytest

from emco.cli import places
from emco.cli.failures import Code, Failure
from emco.domain.kinds.apps import App, CompositeApp
from emco.domain.kinds.delivery import AppPlacement, Deployment
from emco.domain.kinds.fleet import ClusterLabel
from emco.domain.kinds.tenancy import LogicalCloud, Project
from emco.domain.resource import Resource, all_kinds

APP = "projects/p/composite-apps/ca/v1"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("projects", places.Place(None, (), collection=Project)),
        ("projects/p", places.Place(Project, ("p",))),
        ("/projects/p/", places.Place(Project, ("p",))),
        (f"{APP}/apps", places.Place(CompositeApp, ("p", "ca", "v1"), collection=App)),
        (f"{APP}/apps/a", places.Place(App, ("p", "ca", "v1", "a"))),
        (
            "projects/p/logical-clouds/c/instantiate",
            places.Place(LogicalCloud, ("p", "c"), tail=("instantiate",)),
        ),
        (
            "projects/p/composite-apps/ca",
            places.Place(Project, ("p",), tail=("composite-apps", "ca")),
        ),
        ("gadgets/g", places.Place(None, (), tail=("gadgets", "g"))),
    ],
)
def test_a_path_is_followed_as_far_as_the_kinds_go(path: str, expected: places.Place) -> None:
    assert places.locate(path) == expected


def test_every_kind_is_found_by_its_own_anchor() -> None:
    for kind in all_kinds():
        names = tuple(f"n{i}" for i in range(places.count(kind)))
        path = kind.template()
        for param, name in zip(
            [p for step in kind.lineage() for p in step.params], names, strict=True
        ):
            path = path.replace(f"{{{param}}}", name)
        assert places.locate(path) == places.Place(kind, names)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("projects", Project),
        ("Project", Project),
        ("deployments", Deployment),
        ("deployment-intent-groups", Deployment),
        ("app-intents", AppPlacement),
        ("app-placement", AppPlacement),
        ("labels", ClusterLabel),
        ("logical-cloud", LogicalCloud),
    ],
)
def test_a_kind_has_its_url_word_and_our_word(word: str, kind: type[Resource]) -> None:
    assert places.kind_called(word) is kind


def test_every_kind_has_a_word_of_its_own() -> None:
    for kind in all_kinds():
        assert places.kind_called(places.words(kind)[0]) is kind


def test_a_word_for_two_kinds_asks_which() -> None:
    with pytest.raises(Failure, match="several kinds") as failure:
        places.kind_called("kv-pairs")
    assert failure.value.detail == "say cluster-kvs or logical-cloud-kvs"


def test_an_unknown_word_lists_the_words_there_are() -> None:
    with pytest.raises(Failure) as failure:
        places.kind_called("gadgets")
    assert "logical-clouds" in failure.value.detail
    assert failure.value.code is Code.USAGE


@pytest.mark.parametrize(
    ("what", "path", "kind", "names"),
    [
        ("projects", "", Project, ()),
        ("apps", "p/ca", App, ("p", "ca")),
        ("app", "p/ca/v1/a", App, ("p", "ca", "v1", "a")),
        ("app/p/ca/v1/a", "", App, ("p", "ca", "v1", "a")),
        (f"{APP}/apps", "", App, ("p", "ca", "v1")),
        (f"/v2/{APP}/apps/a", "", App, ("p", "ca", "v1", "a")),
    ],
)
def test_a_kind_with_names_and_an_anchor_say_the_same(
    what: str, path: str, kind: type[Resource], names: tuple[str, ...]
) -> None:
    assert places.target(what, path) == places.Target(kind, names)


def test_a_query_and_what_is_no_resource_are_sent_as_they_are() -> None:
    assert places.target("projects/p/logical-clouds/c/status?output=all") == places.Target(
        None, raw="projects/p/logical-clouds/c/status", query="output=all"
    )
    assert places.target("projects/p/gadgets/g").raw == "projects/p/gadgets/g"


def test_too_many_names_are_answered_with_the_form() -> None:
    with pytest.raises(Failure) as failure:
        places.target("projects", "a/b")
    assert failure.value.detail == "write PROJECT"


def test_a_verb_for_one_resource_says_how_to_name_one() -> None:
    with pytest.raises(Failure) as failure:
        places.one(places.target("apps", "p"), "describe")
    assert (
        failure.value.detail
        == "name it: emco describe app PROJECT/COMPOSITE-APP/COMPOSITE-APP-VERSION/APP"
    )


@pytest.mark.parametrize("text", ["p/ca/v1/d", f"{APP}/deployment-intent-groups/d"])
def test_a_deployment_is_four_names_or_its_anchor(text: str) -> None:
    assert places.deployment(text).path == f"{APP}/deployment-intent-groups/d"


def test_a_deployment_of_another_form_is_refused_with_the_form() -> None:
    with pytest.raises(Failure, match="project/compositeApp/version/name"):
        places.deployment("p/ca/d")
