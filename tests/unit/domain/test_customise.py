"""Generic intents change the objects of one app on one cluster, say why they cannot, and touch nothing else."""

import base64
import copy
from collections.abc import Mapping
from typing import Any

import pytest

from emco.domain.errors import Invalid, NotFound
from emco.domain.plan.customise import Attached, customised, patch_files, selects
from emco.domain.plan.model import ClusterInput, Customisation, GenericInput, Rendered

C1 = ClusterInput(provider="edge", cluster="c1", labels=frozenset({"east"}))
C2 = ClusterInput(provider="edge", cluster="c2", labels=frozenset({"west"}))
FAR = ClusterInput(provider="far", cluster="c1", labels=frozenset({"east"}))

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 1},
}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}}
RENDERED = Rendered(resources=(CONFIG, DEPLOYMENT))
REPLICAS = [{"op": "replace", "path": "/spec/replicas", "value": 3}]


def change(name: str = "c", files: str = "", **spec: Any) -> Customisation:
    return Customisation.model_validate({"name": name, "spec": spec, "files": files})


def resource(
    *changes: Customisation,
    gvk: str = "apps/v1 Deployment web",
    new: str = "false",
    file: str = "",
    app: str = "web",
) -> GenericInput:
    api, kind, name = gvk.split()
    spec = {
        "app": app,
        "newObject": new,
        "resourceGVK": {"apiVersion": api, "kind": kind, "name": name},
    }
    return GenericInput.model_validate(
        {"intent": "i", "name": "r", "spec": spec, "file": file, "customisations": changes}
    )


def nothing(path: str, key: str) -> Any:
    raise NotFound("Key value pair not found", f"{path} {key}")


def run(
    *inputs: GenericInput,
    cluster: ClusterInput = C1,
    files: Mapping[str, Attached] | None = None,
    rendered: Rendered = RENDERED,
    lookup: Any = nothing,
) -> dict[str, Any]:
    """The objects by kind and name."""
    before = rendered.model_dump()
    result = customised(rendered, "web", cluster, inputs=inputs, files=files or {}, lookup=lookup)
    assert rendered.model_dump() == before
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in result.resources}


def attached(**contents: bytes) -> Attached:
    return Attached({name.replace("_", "."): content for name, content in contents.items()})


def test_a_json_patch_changes_the_object() -> None:
    done = run(resource(change(patchType="json", patchJson=REPLICAS)))
    assert done["Deployment/web"]["spec"]["replicas"] == 3
    assert done["ConfigMap/conf"] == CONFIG


def test_another_apps_intents_change_nothing() -> None:
    given = resource(change(patchType="json", patchJson=REPLICAS), app="db")
    assert customised(RENDERED, "web", C1, inputs=[given], files={}, lookup=nothing) is RENDERED


def test_the_kind_is_compared_without_regard_to_case() -> None:
    given = resource(change(patchType="json", patchJson=REPLICAS), gvk="apps/v1 deployment web")
    assert run(given)["Deployment/web"]["spec"]["replicas"] == 3


def test_hooks_can_be_changed_too() -> None:
    hook = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "init", "annotations": {"helm.sh/hook": "pre-install"}},
    }
    label = [{"op": "add", "path": "/metadata/labels/a", "value": "b"}]
    given = resource(change(patchType="json", patchJson=label), gvk="batch/v1 Job init")
    result = customised(
        Rendered(hooks=(hook,)), "web", C1, inputs=[given], files={}, lookup=nothing
    )
    assert result.hooks[0]["metadata"]["labels"] == {"a": "b"}
    assert result.resources == ()


def test_customizations_follow_each_other_in_their_order() -> None:
    first = change("a", patchType="json", patchJson=REPLICAS)
    test = [{"op": "test", "path": "/spec/replicas", "value": 3}]
    run(resource(first, change("b", patchType="json", patchJson=test)))
    with pytest.raises(Invalid, match="customization b"):
        run(resource(change("b", patchType="json", patchJson=test), first))


@pytest.mark.parametrize(
    ("info", "chosen"),
    [
        ({"scope": "name", "clusterProvider": "edge", "cluster": "c1"}, [C1]),
        ({"scope": "name", "clusterProvider": "edge", "cluster": "c1", "mode": ""}, [C1]),
        ({"scope": "label", "clusterProvider": "edge", "clusterLabel": "east"}, [C1]),
        (
            {"scope": "label", "clusterProvider": "edge", "clusterLabel": "west", "cluster": "c1"},
            [C2],
        ),
        (
            {"scope": "name", "clusterProvider": "edge", "cluster": "c1", "mode": "deny"},
            [C2, FAR],
        ),
        (
            {"scope": "label", "clusterProvider": "far", "clusterLabel": "east", "mode": "deny"},
            [C1, C2],
        ),
    ],
)
def test_clusters_are_selected_by_name_or_label(
    info: dict[str, str], chosen: list[ClusterInput]
) -> None:
    spec = change(clusterSpecific="true", clusterInfo=info).spec
    assert [c for c in (C1, C2, FAR) if selects(spec, c)] == chosen
    general = change(clusterSpecific="false", clusterInfo=info).spec
    assert all(selects(general, c) for c in (C1, C2, FAR))


def test_a_new_object_comes_from_its_file_in_helms_order() -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "n"},
    }
    files = {"d": Attached({"file": b"-"}, {"file": (policy,)})}
    given = resource(gvk="networking.k8s.io/v1 NetworkPolicy n", new="true", file="d")
    assert list(run(given, files=files)) == ["NetworkPolicy/n", "ConfigMap/conf", "Deployment/web"]


def test_a_new_object_is_where_a_customization_selects_the_cluster() -> None:
    info = {"scope": "name", "clusterProvider": "edge", "cluster": "c1"}
    given = resource(
        change(clusterSpecific="true", clusterInfo=info), gvk="v1 ConfigMap new", new="true"
    )
    assert "ConfigMap/new" in run(given, cluster=C1)
    assert "ConfigMap/new" not in run(given, cluster=C2)


def test_a_new_object_that_is_there_already_is_refused() -> None:
    with pytest.raises(Invalid, match="ConfigMap conf is rendered by the chart"):
        run(resource(gvk="v1 ConfigMap conf", new="true"))


def test_a_config_map_is_made_of_files() -> None:
    options = {"dataKeyOptions": [{"fileName": "a.json", "keyName": "settings"}]}
    given = resource(
        change(files="f", configMapOptions=options), gvk="v1 configmap new", new="true"
    )
    files = {"f": attached(a_json=b'{"a": 1}', b_txt="ü".encode(), raw_bin=b"\xff\x00")}
    assert run(given, files=files)["ConfigMap/new"] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "new"},
        "data": {"settings": '{"a": 1}', "b.txt": "ü"},
        "binaryData": {"raw.bin": "/wA="},
    }


def test_a_secrets_file_is_encoded_once() -> None:
    given = resource(change(files="f"), gvk="v1 Secret new", new="true")
    made = run(given, files={"f": attached(token=b"dG9rZW4=")})["Secret/new"]
    assert base64.b64decode(made["data"]["token"]) == b"dG9rZW4="
    assert made["type"] == "Opaque"


def test_files_are_added_to_a_config_map_of_the_chart() -> None:
    there = {**CONFIG, "data": {"a": "old", "b": "kept"}}
    given = resource(change(files="f"), gvk="v1 ConfigMap conf")
    done = run(given, files={"f": attached(a=b"new")}, rendered=Rendered(resources=(there,)))
    assert done["ConfigMap/conf"]["data"] == {"a": "new", "b": "kept"}


def test_files_that_nothing_uses_are_ignored() -> None:
    patch = [{"op": "add", "path": "/data/k", "value": "v"}]
    given = resource(change(files="f", patchType="json", patchJson=patch), gvk="v1 ConfigMap conf")
    assert run(given, files={"f": attached(junk=b"x")})["ConfigMap/conf"]["data"] == {"k": "v"}
    same = resource(change(files="f"))
    assert run(same, files={"f": attached(junk=b"x")})["Deployment/web"] == DEPLOYMENT


def test_a_file_whose_name_is_no_data_key_is_refused() -> None:
    given = resource(change(files="f"), gvk="v1 ConfigMap new", new="true")
    with pytest.raises(Invalid, match="give it a keyName"):
        run(given, files={"f": Attached({"a b": b""})})


def test_merge_patches_are_the_files() -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}}}
    files = {"f": Attached({"p.yaml": b"-"}, {"p.yaml": (patch,)})}
    done = run(resource(change(files="f", patchType="merge")), files=files)
    assert done["Deployment/web"]["spec"] == {"replicas": 1, **patch["spec"]}


def test_an_option_tells_data_and_patch_apart() -> None:
    options = {
        "dataKeyOptions": [
            {"fileName": "data", "keyName": "k"},
            {"fileName": "p.yaml", "mergePatch": "true"},
        ]
    }
    given = resource(
        change(files="f", patchType="merge", configMapOptions=options), gvk="v1 ConfigMap conf"
    )
    patch = {"data": {"other": "o"}}
    files = {"f": Attached({"data": b"d", "p.yaml": b"-"}, {"p.yaml": (patch,)})}
    assert run(given, files=files)["ConfigMap/conf"]["data"] == {"k": "d", "other": "o"}
    spec = given.customisations[0].spec
    assert patch_files(given.spec, spec, ["data", "p.yaml", "q"]) == ["p.yaml", "q"]


def test_what_is_not_there_is_told_with_what_is_near() -> None:
    with pytest.raises(Invalid) as refused:
        run(resource(change(patchType="json", patchJson=REPLICAS), gvk="apps/v1 Deployment wbe"))
    told = refused.value.detail
    assert "i/r for the app web (apps/v1 Deployment/wbe) on edge+c1" in told
    assert "nearest are apps/v1 Deployment/web" in told


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "replace", "path": "/metadata/name", "value": "other"},
        {"op": "remove", "path": "/metadata"},
        {"op": "replace", "path": "", "value": []},
        {"op": "replace", "path": "/kind", "value": "Pod"},
    ],
)
def test_an_object_stays_that_object(patch: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="cannot make another object"):
        run(resource(change(patchType="json", patchJson=[patch])))


CLUSTER_KV = "cluster-providers/edge/clusters/c1/kv-pairs/facts"


def looked_up(value: Any, cluster: ClusterInput = C1) -> Any:
    known = {
        (CLUSTER_KV, "zone"): "a",
        ("projects/p/logical-clouds/c/kv-pairs/n", "k"): {"deep": [1]},
    }

    def lookup(path: str, key: str) -> Any:
        if (path, key) not in known:
            raise NotFound("Key value pair not found", f"there is no {path}")
        return known[path, key]

    patch = [{"op": "add", "path": "/data/k", "value": value}]
    given = resource(change(patchType="json", patchJson=patch), gvk="v1 ConfigMap conf")
    return run(given, cluster=cluster, lookup=lookup)["ConfigMap/conf"]["data"]["k"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("$(http://clm:9061/v2/cluster-providers/edge/clusters/c1/kv-pairs/facts?key=zone)$", "a"),
        (
            "$(https://x/v2/cluster-providers/{clusterProvider}/clusters/{cluster}/kv-pairs/facts"
            "?key=zone)$",
            "a",
        ),
        ("$(http://[::1]:1/v2/projects/p/logical-clouds/c/kv-pairs/n?key=k)$", {"deep": [1]}),
        (["$(http://h/v2/projects/p/logical-clouds/c/kv-pairs/n?key=k)$"], [{"deep": [1]}]),
        ("$(POD_IP)", "$(POD_IP)"),
        ("see http://h/$(x)$", "see http://h/$(x)$"),
    ],
)
def test_a_value_can_be_looked_up(value: Any, found: Any) -> None:
    assert looked_up(value) == found


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://h/v2/cluster-providers/edge/clusters/c1/kv-pairs/facts",
        "http://h/v2/cluster-providers/edge/clusters/c1/kv-pairs/..%2Ffacts?key=zone",
        "http://h/v2/cluster-providers/edge/clusters/c1?key=zone",
        "http://h:9015/v2/projects/p?key=x",
        "http://[/v2?key=x",
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is_fetched(url: str) -> None:
    with pytest.raises(Invalid, match="Only key-value pairs of emco can be looked up"):
        looked_up(f"$({url})$")


def test_a_key_that_does_not_exist_is_named() -> None:
    value = "$(http://h/v2/cluster-providers/edge/clusters/{cluster}/kv-pairs/facts?key=zone)$"
    with pytest.raises(Invalid, match="there is no cluster-providers/edge/clusters/c2"):
        looked_up(value, cluster=C2)


def test_credentials_of_a_url_are_not_repeated() -> None:
    with pytest.raises(Invalid) as refused:
        looked_up("$(http://user:hunter2@h/x?key=hunter2)$")
    assert "hunter2" not in refused.value.detail


def test_inputs_are_never_changed() -> None:
    document = copy.deepcopy(DEPLOYMENT)
    document["metadata"] = {"name": "new"}
    attached_ = {"d": Attached({"file": b""}, {"file": (document,)})}
    given = resource(
        change(patchType="json", patchJson=REPLICAS),
        gvk="apps/v1 Deployment new",
        new="true",
        file="d",
    )
    before = copy.deepcopy((attached_["d"].documents, given))
    for _ in range(2):
        assert run(given, files=attached_)["Deployment/new"]["spec"]["replicas"] == 3
    assert (attached_["d"].documents, given) == before
