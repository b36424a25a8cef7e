"""Placement decides as EMCO's users expect, and says why."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.errors import Invalid
from emco.domain.kinds.delivery import PlacementRule
from emco.domain.plan.model import AppInput, ClusterInput, Snapshot
from emco.domain.plan.placement import NO_CLUSTERS, OUTSIDE_CLOUD, place


def snapshot(
    rule: Mapping[str, object] | None,
    *,
    cloud: tuple[str, ...] = ("edge+c1", "edge+c2", "edge+c3"),
    labels: dict[str, set[str]] | None = None,
) -> Snapshot:
    labels = labels or {"c1": {"east"}, "c2": {"east", "gpu"}, "c3": set(), "c4": {"east"}}
    return Snapshot(
        deployment="p/a/v1/d",
        release="r",
        namespace="n",
        cloud="projects/p/logical-clouds/l",
        cloud_clusters=cloud,
        apps=(AppInput(name="web", chart="x"),),
        clusters=tuple(
            ClusterInput(provider="edge", cluster=c, labels=frozenset(labels[c])) for c in labels
        ),
        rules={"web": (PlacementRule.model_validate(rule),)} if rule is not None else {},
    )


def chosen(rule: Mapping[str, object], **changes: object) -> list[str]:
    return list(place(snapshot(rule, **changes))["web"])  # type: ignore[arg-type]


def named(cluster: str) -> dict[str, str]:
    return {"clusterProvider": "edge", "cluster": cluster}


def labelled(label: str) -> dict[str, str]:
    return {"clusterProvider": "edge", "clusterLabel": label}


def test_all_of_takes_every_named_cluster() -> None:
    assert chosen({"allOf": [named("c2"), named("c1")]}) == ["edge+c1", "edge+c2"]


def test_all_of_with_a_label_takes_every_cluster_that_carries_it() -> None:
    cloud = ("edge+c1", "edge+c2", "edge+c4")
    assert chosen({"allOf": [labelled("east")]}, cloud=cloud) == ["edge+c1", "edge+c2", "edge+c4"]


def test_a_nested_any_of_takes_the_first_in_name_order() -> None:
    assert chosen({"allOf": [{"anyOf": [named("c3"), named("c2")]}]}) == ["edge+c2"]


def test_all_of_and_any_of_add_up() -> None:
    rule: dict[str, object] = {"allOf": [named("c3")], "anyOf": [named("c2"), named("c1")]}
    assert chosen(rule) == ["edge+c1", "edge+c3"]


def test_any_of_never_chooses_outside_the_cloud() -> None:
    assert chosen({"anyOf": [named("c4"), named("c3")]}) == ["edge+c3"]


def test_a_mandatory_cluster_named_twice_counts_once() -> None:
    assert chosen({"allOf": [named("c1"), named("c1")]}) == ["edge+c1"]


def test_a_mandatory_cluster_outside_the_cloud_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match=r"edge\+c4") as refused:
        chosen({"allOf": [named("c4")]})
    assert refused.value.title == OUTSIDE_CLOUD


@pytest.mark.parametrize("rule", [None, {}, {"allOf": [labelled("nowhere")]}])
def test_an_app_without_a_cluster_is_refused_by_name(rule: dict[str, object] | None) -> None:
    with pytest.raises(Invalid, match="web") as refused:
        place(snapshot(rule))
    assert refused.value.title == NO_CLUSTERS


def test_every_choice_has_a_reason() -> None:
    reasons = place(snapshot({"allOf": [named("c3")], "anyOf": [labelled("gpu")]}))["web"]
    assert reasons == {
        "edge+c2": "anyOf: label gpu of edge, first of 1 in name order",
        "edge+c3": "allOf: cluster edge+c3",
    }


leaf = st.one_of(
    st.sampled_from(["c1", "c2", "c3", "c4"]).map(named),
    st.sampled_from(["east", "gpu", "none"]).map(labelled),
)
rules = st.fixed_dictionaries(
    {
        "allOf": st.lists(
            st.one_of(leaf, st.lists(leaf, min_size=1, max_size=3).map(lambda x: {"anyOf": x})),
            max_size=3,
        ),
        "anyOf": st.lists(leaf, max_size=3),
    }
)


@given(rules)
def test_what_is_chosen_is_in_the_cloud_and_never_depends_on_order(
    rule: dict[str, list[object]],
) -> None:
    backwards = {key: list(reversed(entries)) for key, entries in rule.items()}
    try:
        forth = chosen(rule)
    except Invalid:
        with pytest.raises(Invalid):
            chosen(backwards)
        return
    assert set(forth) <= {"edge+c1", "edge+c2", "edge+c3"}
    assert forth == sorted(forth) == chosen(backwards)
