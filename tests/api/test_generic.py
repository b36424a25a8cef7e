"""Generic intents over HTTP: forms as EMCO's clients send them, what is refused, and what planning reads."""

import json
from typing import Any

import pytest
from httpx import Client, Response

from activities.generic import generic_files
from emco.domain import bundle
from emco.domain.errors import Invalid
from emco.domain.plan.customise import customised
from emco.domain.plan.model import ClusterInput, Rendered
from emco.domain.resource import Address
from emco.store.generic import generic_inputs, generic_lookup
from emco.store.store import Store
from tests.api.builders import named
from tests.api.world import DEPLOYMENT, GENERIC

RESOURCES = f"{GENERIC}/customisation/resources"
SETTINGS = f"{RESOURCES}/settings"
CUSTOMIZATIONS = f"{SETTINGS}/customizations"
AT = Address("Deployment", DEPLOYMENT.removeprefix("/v2/"))

POLICY = b"""\
---
# a comment
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
spec: {podSelector: {}}
"""
ALIASES = b"apiVersion: v1\nkind: X\nmetadata: {name: a}\na: &a [1]\nb: [*a]\n"

Files = list[tuple[str, tuple[str, bytes]]]


def gvk(text: str) -> dict[str, str]:
    return dict(zip(("apiVersion", "kind", "name"), text.split(), strict=True))


def resource(
    name: str, meant: str = "networking.k8s.io/v1 NetworkPolicy deny", new: str = "true"
) -> dict[str, Any]:
    return named(name, app="web", newObject=new, resourceGVK=gvk(meant))


def send(
    client: Client, path: str, body: dict[str, Any], files: Files, method: str = "POST"
) -> Response:
    """First the form value `metadata`, then the files."""
    return client.request(method, path, data={"metadata": json.dumps(body)}, files=files)


def one(content: bytes) -> Files:
    return [("file", ("filename", content))]


def many(**contents: bytes) -> Files:
    return [("files", (name.replace("_", "."), content)) for name, content in contents.items()]


def test_a_new_object_comes_with_its_yaml(shop: Client) -> None:
    answer = send(shop, RESOURCES, resource("policy"), one(POLICY))
    assert answer.status_code == 201
    assert answer.json()["spec"] == resource("policy")["spec"]


@pytest.mark.parametrize(
    ("meant", "new"), [("v1 ConfigMap c", "true"), ("v1 secret s", "true"), ("v1 Pod p", "false")]
)
def test_a_file_is_optional_where_the_object_is_known_without(
    shop: Client, meant: str, new: str
) -> None:
    assert shop.post(RESOURCES, json=resource("a", meant, new)).status_code == 201
    assert send(shop, RESOURCES, resource("b", meant, new), one(b"")).status_code == 201


@pytest.mark.parametrize(
    ("files", "code", "told"),
    [
        ([], 422, "multipart/form-data with the parts `metadata` (JSON) and `file`"),
        (one(b""), 400, "holds 0 YAML documents"),
        (one(b"a: ["), 400, "not valid YAML (line "),
        (one(b"\xff\xfe\x00"), 400, "not valid YAML"),
        (one(b"just text"), 400, "not a YAML mapping"),
        (one(b"[1, 2]"), 400, "not a YAML mapping"),
        (one(POLICY + POLICY), 400, "holds 2 YAML documents"),
        (one(POLICY.replace(b"kind", b"kin")), 400, "kind is missing"),
        (one(POLICY.replace(b"  name", b"  nam")), 400, "metadata.name is missing"),
        (one(ALIASES), 400, "aliases"),
        (one(b"a: " + b"[" * 100 + b"]" * 100), 400, "nested deeper than 64"),
        (many(a_yaml=POLICY), 422, "`file`"),
    ],
)
def test_a_bad_file_of_a_new_object_is_refused(
    shop: Client, files: Files, code: int, told: str
) -> None:
    if files:
        answer = send(shop, RESOURCES, resource("policy"), files)
    else:
        answer = shop.post(RESOURCES, json=resource("policy"))
    assert answer.status_code == code, answer.text
    assert told in answer.json()["detail"]
    assert shop.get(f"{RESOURCES}/policy").status_code == 404


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"app": "gone"}, 409, "apps/gone"),
        ({"newObject": True}, 400, "spec.newObject"),
        ({"newObject": "maybe"}, 400, "spec.newObject"),
        ({"newObject": None}, 400, "spec.newObject: is required"),
        ({"resourceGVK": None}, 400, "spec.resourceGVK: is required"),
        ({"resourceGVK": {"kind": "Pod", "name": "p"}}, 400, "spec.resourceGVK.apiVersion"),
        ({"resourceGVK": {"apiVersion": 1, "kind": "Pod", "name": "p"}}, 422, "put quotes"),
        ({"resourceGVK": {"apiVersion": "v1", "kind": "", "name": "p"}}, 400, "resourceGVK.kind"),
    ],
)
def test_a_bad_resource_is_refused(
    shop: Client, change: dict[str, Any], code: int, place: str
) -> None:
    body = resource("policy")
    body["spec"] = {k: v for k, v in {**body["spec"], **change}.items() if v is not None}
    answer = send(shop, RESOURCES, body, one(POLICY))
    assert answer.status_code == code, answer.text
    assert place in answer.json()["detail"]


def test_a_resource_that_becomes_new_needs_a_file(shop: Client) -> None:
    shop.post(RESOURCES, json=resource("policy", new="false"))
    put = f"{RESOURCES}/policy"
    assert shop.put(put, json=resource("policy")).status_code == 422
    assert send(shop, put, resource("policy"), one(POLICY), "PUT").status_code == 200
    assert shop.put(put, json=resource("policy")).status_code == 200
    created = send(shop, f"{RESOURCES}/other", resource("other"), one(POLICY), "PUT")
    assert created.status_code == 201


SELECTION = {"scope": "label", "clusterProvider": "edge", "clusterLabel": "east", "mode": "allow"}


def customization(name: str = "c", **spec: Any) -> dict[str, Any]:
    return named(name, clusterSpecific="false", **spec)


def test_a_customization_keeps_its_files_by_name(shop: Client, store: Store) -> None:
    files = many(a_json=b"1", b_bin=b"\xff")
    assert send(shop, CUSTOMIZATIONS, customization(), files).status_code == 201
    at = Address("Customization", f"{CUSTOMIZATIONS}/c".removeprefix("/v2/"))
    packed = store.file(at)
    assert packed is not None
    assert bundle.unpack(packed) == {"a.json": b"1", "b.bin": b"\xff"}
    assert shop.put(f"{CUSTOMIZATIONS}/c", json=customization()).status_code == 200
    assert store.file(at) == packed
    assert send(shop, f"{CUSTOMIZATIONS}/c", customization(), many(c=b""), "PUT").is_success
    assert bundle.unpack(store.file(at) or b"") == {"c": b""}


def test_a_customization_needs_no_files(shop: Client) -> None:
    assert shop.post(CUSTOMIZATIONS, json=customization("a")).status_code == 201
    assert send(shop, CUSTOMIZATIONS, customization("b"), many(x=b"")).status_code == 201


@pytest.mark.parametrize("path", [SETTINGS, f"{CUSTOMIZATIONS}/east"])
@pytest.mark.parametrize("accept", ["application/octet-stream", "multipart/form-data"])
def test_files_are_never_returned(shop: Client, path: str, accept: str) -> None:
    assert shop.get(path, headers={"Accept": accept}).status_code == 403
    for wanted in ("application/json", "*/*"):
        answer = shop.get(path, headers={"Accept": wanted})
        assert answer.status_code == 200
        assert set(answer.json()) == {"metadata", "spec"}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "a"], "two files are called 'a'"),
        (["a/b"], "not a plain file name"),
        ([".."], "not a plain file name"),
        (["a\\b"], "not a plain file name"),
        (["a" * 254], "not a plain file name"),
    ],
)
def test_a_bad_file_name_is_refused(shop: Client, names: list[str], told: str) -> None:
    files = [("files", (name, b"")) for name in names]
    answer = send(shop, CUSTOMIZATIONS, customization(), files)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


def test_a_part_without_a_filename_is_refused(shop: Client) -> None:
    form = {"metadata": json.dumps(customization()), "files": "content"}
    answer = shop.post(CUSTOMIZATIONS, files={k: (None, v) for k, v in form.items()})
    assert (answer.status_code, "needs a filename" in answer.text) == (422, True)


def test_files_are_limited_together(shop: Client) -> None:
    files = many(a=b"x" * 540_000, b=b"x" * 540_000)
    answer = send(shop, CUSTOMIZATIONS, customization(), files)
    assert (answer.status_code, answer.json()["title"]) == (413, "File too large")


@pytest.mark.parametrize(
    ("spec", "code", "place"),
    [
        ({"clusterSpecific": "perhaps"}, 400, "spec.clusterSpecific"),
        ({"clusterSpecific": "true"}, 400, "clusterInfo.scope is required"),
        (
            {"clusterSpecific": "true", "clusterInfo": {**SELECTION, "clusterLabel": ""}},
            400,
            "clusterInfo.clusterLabel is required",
        ),
        (
            {"clusterSpecific": "true", "clusterInfo": {**SELECTION, "scope": "name"}},
            400,
            "clusterInfo.cluster is required",
        ),
        ({"clusterInfo": {**SELECTION, "scope": "zone"}}, 400, "spec.clusterInfo.scope"),
        ({"clusterInfo": {**SELECTION, "mode": "maybe"}}, 400, "spec.clusterInfo.mode"),
        ({"clusterInfo": {**SELECTION, "cluster": "a/b"}}, 400, "spec.clusterInfo.cluster"),
        (
            {"clusterSpecific": "true", "clusterInfo": {**SELECTION, "clusterProvider": "gone"}},
            409,
            "cluster-providers/gone",
        ),
        (
            {
                "clusterSpecific": "true",
                "clusterInfo": {**SELECTION, "scope": "name", "cluster": "gone"},
            },
            409,
            "clusters/gone",
        ),
        ({"patchType": "xml"}, 400, "spec.patchType"),
        ({"patchType": "json"}, 400, "patchJson needs at least one"),
        ({"patchType": "json", "patchJson": [{"op": "add", "path": "/a"}]}, 400, "needs a value"),
        ({"patchJson": [{"op": "copy", "path": "/a"}]}, 400, "spec.patchJson[0]"),
        ({"patchJson": [{"op": "set", "path": "/a", "value": 1}]}, 400, "spec.patchJson[0].op"),
        ({"patchJson": [{"op": "remove", "path": "a"}]}, 400, "not a JSON pointer"),
        ({"patchJson": {}}, 422, "spec.patchJson"),
        (
            {"configMapOptions": {"dataKeyOptions": [{"fileName": "f", "keyName": "a b"}]}},
            400,
            "spec.configMapOptions.dataKeyOptions[0].keyName",
        ),
        ({"secretOptions": {"dataKeyOptions": [{"keyName": "k"}]}}, 400, "fileName"),
        ({"secretOptions": {"dataKeyOptions": [{"fileName": "g"}]}}, 400, "no file 'g'"),
        ({"patchType": "merge"}, 400, "the file f is not valid YAML"),
    ],
)
def test_a_bad_customization_is_refused(
    shop: Client, spec: dict[str, Any], code: int, place: str
) -> None:
    body = named("c", **{"clusterSpecific": "false", **spec})
    answer = send(shop, CUSTOMIZATIONS, body, many(f=b"a: ["))
    assert answer.status_code == code, answer.text
    assert place in f"{answer.json()['title']} {answer.json()['detail']}"
    assert shop.get(f"{CUSTOMIZATIONS}/c").status_code == 404


def test_a_cluster_is_a_reference_only_when_it_is_chosen_by_name(shop: Client) -> None:
    by_label = {**SELECTION, "cluster": "gone"}
    body = named("c", clusterSpecific="true", clusterInfo=by_label)
    assert shop.post(CUSTOMIZATIONS, json=body).status_code == 201
    general = customization("d", clusterInfo={**SELECTION, "clusterProvider": "gone"})
    assert shop.post(CUSTOMIZATIONS, json=general).status_code == 201
    used = shop.get("/v2/cluster-providers/edge/clusters/c1/references").json()["incoming"]
    assert {"Customization"} == {u["kind"] for u in used if "/resources/settings/" in u["path"]}


def test_null_survives_a_round_trip(shop: Client) -> None:
    patch = [{"op": "add", "path": "/a", "value": None}, {"op": "remove", "path": "/a"}]
    shop.post(CUSTOMIZATIONS, json=customization(patchType="json", patchJson=patch))
    read = shop.get(f"{CUSTOMIZATIONS}/c").json()
    assert read["spec"]["patchJson"] == patch
    assert shop.put(f"{CUSTOMIZATIONS}/c", json=read).status_code == 200


# -- what planning reads ------------------------------------------------------------------------

C1 = ClusterInput(provider="edge", cluster="c1", labels=frozenset({"east"}))
PLAIN = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


def planned(store: Store) -> dict[str, Any]:
    """The app's objects on the one cluster, by kind and name."""
    with store.snapshot() as view:
        inputs = generic_inputs(view, AT)
        lookup = generic_lookup(view, AT, inputs)
    files = generic_files(store, inputs)
    rendered = Rendered(resources=(PLAIN,))
    result = customised(rendered, "web", C1, inputs=inputs, files=files, lookup=lookup)
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in result.resources}


def test_what_was_sent_becomes_objects(shop: Client, store: Store) -> None:
    send(shop, RESOURCES, resource("policy"), one(POLICY))
    merge = named("web", app="web", newObject="false", resourceGVK=gvk("apps/v1 deployment web"))
    shop.post(RESOURCES, json=merge)
    patch = b"spec:\n  template:\n    spec:\n      containers:\n      - {name: a, image: 1.10}\n"
    body = customization(patchType="merge")
    send(shop, f"{RESOURCES}/web/customizations", body, many(p_yaml=patch))
    done = planned(store)
    assert sorted(done) == ["ConfigMap/settings", "Deployment/web", "NetworkPolicy/deny"]
    assert done["ConfigMap/settings"]["data"] == {"a": "{}", "b.txt": "b", "zone": "east"}
    pod = done["Deployment/web"]["spec"]["template"]["spec"]
    assert pod == {"containers": [{"name": "a", "image": 1.1}]}
    assert done["NetworkPolicy/deny"]["spec"] == {"podSelector": {}}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("cluster-providers/{clusterProvider}/clusters/{cluster}/kv-pairs/facts?key=rack", "7"),
        ("projects/shop/logical-clouds/edge-cloud/kv-pairs/kv1?key=a", "b"),
    ],
)
def test_a_value_is_read_from_the_store_whatever_host_it_names(
    shop: Client, store: Store, url: str, found: str
) -> None:
    patch = [{"op": "add", "path": "/data/found", "value": f"$(http://nowhere.invalid/v2/{url})$"}]
    body = customization("late", patchType="json", patchJson=patch)
    assert shop.post(CUSTOMIZATIONS, json=body).status_code == 201
    assert planned(store)["ConfigMap/settings"]["data"]["found"] == found


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("$(http://h/v2/projects/shop/logical-clouds/gone/kv-pairs/k?key=a)$", "there is no"),
        ("$(http://h/v2/projects/shop/logical-clouds/edge-cloud/kv-pairs/kv1?key=z)$", "key 'z'"),
        ("$(http://127.0.0.1:9015/v2/projects)$", "other addresses are not fetched"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_with_its_intent(
    shop: Client, store: Store, value: str, told: str
) -> None:
    patch = [{"op": "add", "path": "/data/found", "value": value}]
    shop.post(CUSTOMIZATIONS, json=customization("late", patchType="json", patchJson=patch))
    with pytest.raises(Invalid) as refused:
        planned(store)
    assert told in refused.value.detail
    assert "customisation/settings for the app web (v1 ConfigMap/settings)" in refused.value.detail


def test_values_of_another_projects_cloud_stay_there(shop: Client, store: Store) -> None:
    shop.post("/v2/projects", json=named("rivals"))
    shop.post("/v2/projects/rivals/logical-clouds", json=named("lc", level="0"))
    values = named("kv", kv=[{"secret": "recipe"}])
    there = "projects/rivals/logical-clouds/lc/kv-pairs"
    assert shop.post(f"/v2/{there}", json=values).status_code == 201
    value = f"$(http://h/v2/{there}/kv?key=secret)$"
    patch = [{"op": "add", "path": "/data/found", "value": value}]
    shop.post(CUSTOMIZATIONS, json=customization("late", patchType="json", patchJson=patch))
    with pytest.raises(Invalid, match="there is no"):
        planned(store)


def test_intents_that_no_group_names_change_nothing(shop: Client, store: Store) -> None:
    group = named("group1", intent={"genericPlacementIntent": "placement"})
    assert shop.put(f"{DEPLOYMENT}/intents/group1", json=group).status_code == 200
    assert planned(store) == {"Deployment/web": PLAIN}


def test_an_intent_that_is_gone_is_named(shop: Client, store: Store) -> None:
    shop.delete(f"{CUSTOMIZATIONS}/east")
    shop.delete(SETTINGS)
    assert shop.delete(f"{GENERIC}/customisation").status_code == 204
    with pytest.raises(Invalid, match="generic-k8s-intents/customisation, which is not there"):
        planned(store)
