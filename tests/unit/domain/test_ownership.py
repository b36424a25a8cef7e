"""Whose a field is: what is left to others, and what is put back."""

import copy
from typing import Any

import pytest

from emco.domain.kinds.delivery import IgnoredDifference
from emco.domain.plan.ownership import last_writer, yielding

ITEM: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "w"},
    "spec": {
        "replicas": 1,
        "template": {"spec": {"containers": [{"name": "main", "image": "i:1"}]}},
    },
}
REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
IMAGE: dict[str, Any] = {
    "f:spec": {
        "f:template": {"f:spec": {"f:containers": {'k:{"name":"main"}': {".": {}, "f:image": {}}}}}
    }
}


def live(fields: dict[str, Any], **entry: Any) -> dict[str, Any]:
    found = copy.deepcopy(ITEM)
    found["spec"]["replicas"] = 5
    found["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2"
    managed = {"manager": "other", "operation": "Update", "fieldsV1": fields, **entry}
    found["metadata"]["managedFields"] = [managed]
    return found


@pytest.mark.parametrize("entry", [{"subresource": "scale"}, {"operation": "Apply"}])
def test_fields_of_a_scaler_or_of_whoever_applied_them_are_left(entry: dict[str, str]) -> None:
    kept = yielding(ITEM, live(REPLICAS, **entry))
    assert "replicas" not in kept["spec"]
    assert kept["spec"]["template"] == ITEM["spec"]["template"]


def test_entries_of_lists_are_found_by_their_key() -> None:
    kept = yielding(ITEM, live(IMAGE, operation="Apply"))
    assert kept["spec"]["template"]["spec"]["containers"] == [{"name": "main"}]
    assert kept["spec"]["replicas"] == 1


def test_what_somebody_edited_is_ours_to_put_back() -> None:
    assert yielding(ITEM, live(REPLICAS)) == ITEM


def test_our_own_fields_stay() -> None:
    assert yielding(ITEM, live(REPLICAS, manager="emco", operation="Apply")) == ITEM


def test_an_equal_value_stays_whoever_owns_it() -> None:
    same = live(REPLICAS, operation="Apply")
    same["spec"]["replicas"] = 1
    assert yielding(ITEM, same) == ITEM


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        ({"jsonPointer": "/spec/replicas"}, True),
        ({"jsonPointer": "/spec/replicas", "kind": "Deployment", "name": "w"}, True),
        ({"jsonPointer": "/spec/replicas", "kind": "StatefulSet"}, False),
        ({"jsonPointer": "/spec/replicas", "name": "x"}, False),
        ({"manager": "other"}, True),
        ({"manager": "another"}, False),
        ({"jsonPointer": "/spec/nothing/here"}, False),
    ],
)
def test_rules_of_the_deployment_ignore_differences(rule: dict[str, str], gone: bool) -> None:
    kept = yielding(ITEM, live(REPLICAS), [IgnoredDifference.model_validate(rule)])
    assert ("replicas" not in kept["spec"]) == gone


def test_nothing_given_is_ever_changed() -> None:
    before = copy.deepcopy(ITEM)
    yielding(ITEM, live(IMAGE, operation="Apply"))
    assert before == ITEM


def test_the_last_writer_is_named_but_not_us_and_not_a_status() -> None:
    found = live(REPLICAS)
    found["metadata"]["managedFields"] = [
        {"manager": "emco", "time": "2026-01-03T00:00:00Z"},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z"},
        {"manager": "kubelet", "time": "2026-01-04T00:00:00Z", "subresource": "status"},
    ]
    assert last_writer(found) == "kubectl-edit"
