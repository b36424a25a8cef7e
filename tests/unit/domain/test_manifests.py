"""Rendered objects are sorted as Helm does, marked as ours, and refused where they are not objects."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.errors import Invalid
from emco.domain.plan import manifests


def item(kind: str, name: str = "x", api: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}


def kinds(objects: Any) -> list[str]:
    return [o["kind"] for o in objects]


def test_objects_come_in_helms_install_order_unknown_kinds_last() -> None:
    given_ = [
        item("Deployment"),
        item("Widget"),
        item("Service"),
        item("ServiceAccount"),
        item("Job"),
    ]
    rendered = manifests.sort((f"c/templates/{i}.yaml", o) for i, o in enumerate(given_))
    assert kinds(rendered.resources) == ["ServiceAccount", "Service", "Deployment", "Job", "Widget"]


def test_hooks_and_the_crds_folder_are_set_apart() -> None:
    hook = item("Job")
    hook["metadata"]["annotations"] = {"helm.sh/hook": "pre-install"}
    crd = item("CustomResourceDefinition", "w", "apiextensions.k8s.io/v1")
    own = item("CustomResourceDefinition", "v", "apiextensions.k8s.io/v1")
    rendered = manifests.sort(
        [("c/crds/w.yaml", crd), ("c/templates/v.yaml", own), ("c/templates/job.yaml", hook)]
    )
    assert [o["metadata"]["name"] for o in rendered.crds] == ["w"]
    assert [o["metadata"]["name"] for o in rendered.resources] == ["v"]
    assert kinds(rendered.hooks) == ["Job"]


def test_lists_are_taken_apart_and_empty_documents_left_out() -> None:
    listing = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [item("ConfigMap", "a"), item("Secret", "b")],
    }
    assert kinds(manifests.sort([("c/x", listing), ("c/y", None)]).resources) == [
        "Secret",
        "ConfigMap",
    ]


@pytest.mark.parametrize(
    "document",
    [
        "text",
        [1],
        {"kind": "X"},
        {"apiVersion": "v1", "kind": "X"},
        {"apiVersion": "v1", "kind": "X", "metadata": {}},
        {"apiVersion": 1, "kind": "X", "metadata": {"name": "x"}},
    ],
)
def test_what_is_no_object_is_refused_with_its_file(document: object) -> None:
    with pytest.raises(Invalid, match=r"c/templates/bad\.yaml"):
        manifests.sort([("c/templates/bad.yaml", document)])


def test_the_same_object_from_two_files_is_refused_naming_both() -> None:
    with pytest.raises(Invalid, match=r"a\.yaml.*b\.yaml"):
        manifests.sort([("a.yaml", item("Secret")), ("b.yaml", item("Secret"))])


def test_marks_reach_pod_templates_and_keep_the_charts_own_labels() -> None:
    deployment = item("Deployment", api="apps/v1")
    deployment["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    deployment["spec"] = {"template": {"metadata": {"labels": {"app": "x"}}, "spec": {}}}
    cron = item(
        "CronJob", "y", "batch/v1", spec={"jobTemplate": {"spec": {"template": {"spec": {}}}}}
    )
    rendered = manifests.mark(
        manifests.sort([("a", deployment), ("b", cron)]), deployment="p/a/v1/d", app="web"
    )
    ours = {"emco.io/app": "web", "emco.io/deployment": manifests.short_hash("p/a/v1/d")}
    marked, scheduled = rendered.resources
    assert marked["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "Helm", **ours}
    assert marked["metadata"]["annotations"] == {"emco.io/path": "p/a/v1/d"}
    assert marked["spec"]["template"]["metadata"]["labels"] == {"app": "x", **ours}
    job = scheduled["spec"]["jobTemplate"]
    assert job["metadata"]["labels"] == ours
    assert job["spec"]["template"]["metadata"]["labels"] == ours
    assert "labels" not in cron["metadata"], "the input stays as it was"


@given(
    st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=128)
)
def test_label_values_always_fit(name: str) -> None:
    assert 0 < len(manifests.label_value(name)) <= 63


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_deployments_have_different_marks(one: str, other: str) -> None:
    assert (manifests.short_hash(one) == manifests.short_hash(other)) == (one == other)


@given(
    st.permutations([item(k, k.lower()) for k in ("Service", "Secret", "Job", "Foo", "Bar", "Pod")])
)
def test_the_order_never_depends_on_how_a_chart_is_laid_out(objects: list[dict[str, Any]]) -> None:
    assert kinds(manifests.in_order(objects)) == ["Secret", "Service", "Pod", "Job", "Bar", "Foo"]
