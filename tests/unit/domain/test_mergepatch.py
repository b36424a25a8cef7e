"""Merge patches: lists of Kubernetes' own kinds are merged by key, everything else as RFC 7386 says."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.errors import Invalid
from emco.domain.plan.mergepatch import merged


def run(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy((target, patch))
    result = merged(target, patch)
    assert (target, patch) == before
    return result


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}


def pod_after(patch: dict[str, Any], **spec: Any) -> Any:
    return run(pod(**spec), {"spec": patch})["spec"]


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def test_containers_are_merged_by_name_and_new_ones_appended() -> None:
    patch = {"containers": [container("b", image="2"), container("c", image="3")]}
    assert pod_after(patch, containers=[container("a"), container("b", image="1", tty=True)]) == {
        "containers": [
            container("a"),
            container("b", image="2", tty=True),
            container("c", image="3"),
        ]
    }


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("env", "name"),
        ("ports", "containerPort"),
        ("volumeMounts", "mountPath"),
        ("volumeDevices", "devicePath"),
    ],
)
def test_lists_within_containers_are_merged_by_their_key(name: str, key: str) -> None:
    there = container("a", **{name: [{key: 1, "x": 1, "y": 1}, {key: 2}]})
    patch = {"containers": [container("a", **{name: [{key: 1, "x": 2}]})]}
    assert pod_after(patch, containers=[there]) == {
        "containers": [container("a", **{name: [{key: 1, "x": 2, "y": 1}, {key: 2}]})]
    }


def test_a_pod_template_is_merged_too() -> None:
    target = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"volumes": [{"name": "a"}, {"name": "b"}]}}},
    }
    patch = {"spec": {"template": {"spec": {"volumes": [{"name": "b", "emptyDir": {}}]}}}}
    assert run(target, patch)["spec"]["template"]["spec"]["volumes"] == [
        {"name": "a"},
        {"name": "b", "emptyDir": {}},
    ]


def test_a_services_ports_are_told_apart_by_port() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"ports": [{"port": 80, "name": "h"}]},
    }
    done = run(service, {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 443}]}})
    assert done["spec"]["ports"] == [
        {"port": 80, "name": "h", "targetPort": 8080},
        {"port": 443},
    ]


def test_other_lists_are_replaced_whole() -> None:
    patch = {"tolerations": [{"key": "b"}], "containers": [container("a", args=["-v"])]}
    there = {
        "tolerations": [{"key": "a"}],
        "containers": [container("a", args=["x", "y"])],
    }
    assert pod_after(patch, **there) == patch


def test_ports_of_a_network_policy_are_replaced_whole() -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"ingress": [{"ports": [{"port": 1}]}]},
    }
    patch = {"spec": {"ingress": [{"ports": [{"port": 2}]}]}}
    assert run(policy, patch)["spec"] == patch["spec"]


def test_elements_are_deleted_by_directive() -> None:
    patch = {"containers": [{"name": "a", "$patch": "delete"}, {"name": "z", "$patch": "delete"}]}
    there = [container("a"), container("b")]
    assert pod_after(patch, containers=there) == {"containers": [container("b")]}


def test_lists_and_maps_are_replaced_by_directive() -> None:
    patch = {
        "containers": [{"$patch": "replace"}, container("c")],
        "securityContext": {"$patch": "replace", "runAsUser": 1},
        "nodeSelector": {"$patch": "delete"},
    }
    done = pod_after(
        patch,
        containers=[container("a")],
        securityContext={"runAsGroup": 2},
        nodeSelector={"a": "b"},
    )
    assert done == {"containers": [container("c")], "securityContext": {"runAsUser": 1}}


def test_other_directives_of_kubectl_are_understood() -> None:
    patch = {
        "$setElementOrder/volumes": [{"name": "v"}],
        "volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}],
        "$deleteFromPrimitiveList/finalizers": ["a"],
    }
    done = pod_after(
        patch, volumes=[{"name": "v", "hostPath": {"path": "/"}}], finalizers=["a", "b"]
    )
    assert done == {"volumes": [{"name": "v", "emptyDir": {}}], "finalizers": ["b"]}


def test_finalizers_are_added_to() -> None:
    target = {"apiVersion": "v1", "kind": "Secret", "metadata": {"finalizers": ["a"]}}
    done = run(target, {"metadata": {"finalizers": ["b", "a"]}})
    assert done["metadata"]["finalizers"] == ["a", "b"]


def test_null_deletes() -> None:
    assert pod_after({"hostNetwork": None, "none": None}, hostNetwork=True, a=1) == {"a": 1}


def test_custom_resources_are_merged_as_rfc_7386_says() -> None:
    target = {
        "apiVersion": "example.com/v1",
        "kind": "Pod",
        "spec": {"containers": [container("a")], "x": 1, "y": {"z": 1}},
    }
    patch = {"spec": {"containers": [container("b")], "x": None, "y": {"w": {"v": None}}}}
    assert run(target, patch)["spec"] == {"containers": [container("b")], "y": {"z": 1, "w": {}}}


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"containers": [{"image": "x"}]}, "/spec/containers: elements of this list"),
        ({"$patch": "rplace"}, "/spec: $patch is delete, replace or merge"),
        ({"containers": [{"$patch": "delete"}]}, "`name`"),
    ],
)
def test_what_cannot_be_merged_is_refused(patch: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid) as refused:
        pod_after(patch, containers=[container("a")])
    assert told in refused.value.detail


def test_an_object_cannot_be_merged_away() -> None:
    with pytest.raises(Invalid, match="nothing of the object"):
        run(pod(), {"$patch": "delete"})


named = st.fixed_dictionaries(
    {"name": st.sampled_from("abc")},
    optional={"image": st.sampled_from("xy"), "env": st.just([{"name": "e", "value": "1"}])},
)
containers = st.lists(named, max_size=3, unique_by=lambda c: c["name"])


@given(there=containers, patch=containers)
def test_merging_twice_is_merging_once(
    there: list[dict[str, Any]], patch: list[dict[str, Any]]
) -> None:
    once = merged(pod(containers=there), {"spec": {"containers": patch}})
    assert merged(once, {"spec": {"containers": patch}}) == once
    names = [c["name"] for c in once["spec"]["containers"]]
    assert len(names) == len(set(names))
    assert set(names) == {c["name"] for c in [*there, *patch]}
