"""Every kind over HTTP: EMCO's codes, the echo, lists, references, generations."""

import json

import pytest
from httpx import Client

from emco.domain.kinds import all as _every_kind  # noqa: F401  defines the kinds
from emco.domain.resource import all_kinds
from emco.store.store import Store
from tests.api.builders import CHART, KUBECONFIG, PROFILE, named, tgz
from tests.api.world import APP, BY_KIND, CLOUD, CLUSTER, DEPLOYMENT, PROVIDER, WORLD, Item

PUT_CODES = {
    "Project": 200,
    "ClmController": 200,
    "Deployment": 200,
    "GroupIntent": 200,
    "GenericPlacementIntent": 200,
    "AppPlacement": 200,
    "GenericK8sIntent": 200,
    "GenericResource": 200,
    "Customization": 200,
    "StatusSubscription": 200,
}
NO_PUT = {"Cluster", "ClusterReference", "UserPermission", "ClusterQuota", "LogicalCloudKv"}

every_kind = pytest.mark.parametrize("item", BY_KIND.values(), ids=lambda i: i.kind)


def test_the_world_has_every_kind() -> None:
    assert set(BY_KIND) == {kind.kind for kind in all_kinds()}


@every_kind
def test_what_was_created_is_read_back_with_all_of_its_metadata(shop: Client, item: Item) -> None:
    got = shop.get(item.path)
    assert got.status_code == 200
    assert got.headers["content-type"] == "application/json"
    if "metadata" in item.body:
        empty = {"description": "", "userData1": "", "userData2": ""}
        assert got.json()["metadata"] == {**empty, **item.body["metadata"]}
        sent = item.body.get("spec", {})
        assert {k: got.json()["spec"][k] for k in sent} == sent
    else:
        assert got.json() == item.body


@every_kind
def test_a_second_create_is_a_conflict(shop: Client, item: Item) -> None:
    answer = item.post(shop)
    assert answer.status_code == 409
    assert "already" in answer.json()["title"]


@every_kind
def test_lists_hold_what_was_created(shop: Client, item: Item) -> None:
    listed = shop.get(item.collection)
    assert listed.status_code == 200
    if item.kind == "GroupIntent":
        assert listed.json() == {"intent": [item.body["spec"]["intent"]]}
    else:
        assert shop.get(item.path).json() in listed.json()


@every_kind
def test_put_answers_as_emco_does(shop: Client, item: Item) -> None:
    answer = item.put(shop)
    assert answer.status_code == (405 if item.kind in NO_PUT else PUT_CODES.get(item.kind, 201))
    if item.kind in NO_PUT:
        assert answer.headers["allow"] == "DELETE, GET"
    else:
        assert answer.json() == shop.get(item.path).json()
        assert answer.headers["etag"] == '"2"'


@every_kind
def test_what_was_deleted_is_not_found(shop: Client, item: Item) -> None:
    for one in reversed(WORLD[WORLD.index(item) :]):
        answer = shop.delete(one.path)
        assert (answer.status_code, answer.content) == (204, b""), answer.text
    gone = shop.get(item.path)
    assert gone.status_code == 404
    assert gone.json()["title"].endswith("not found")
    assert shop.delete(item.path).status_code == 404


@every_kind
def test_creating_below_a_missing_parent_is_a_conflict(client: Client, item: Item) -> None:
    if item.collection.count("/") == 2:
        assert client.get(item.collection).json() == []
        return
    answer = item.post(client)
    assert answer.status_code == 409
    assert answer.json()["title"] == (
        "Cannot perform requested operation. Parent resource not found"
    )
    assert client.get(item.collection).status_code == 404


def test_a_put_creates_what_is_not_there_with_its_own_code(shop: Client) -> None:
    path = f"{DEPLOYMENT}/generic-placement-intents/other"
    assert shop.put(path, json=named("other")).status_code == 201
    assert shop.put(path, json=named("other")).status_code == 200


def test_a_created_resource_says_where_it_is(client: Client) -> None:
    created = client.post("/v2/projects", json=named("shop"))
    assert created.headers["location"] == "/v2/projects/shop"
    assert created.headers["etag"] == '"1"'


def test_an_unknown_field_is_kept_out_and_named_in_a_warning(client: Client) -> None:
    body = {**named("shop", colour="red"), "naïve\r\nInjected: x": 1}
    created = client.post("/v2/projects", json=body)
    assert created.status_code == 201
    warnings = created.headers.get_list("warning")
    assert '299 - "unknown field spec.colour"' in warnings
    assert "injected" not in created.headers
    assert "colour" not in client.get("/v2/projects/shop").text


def test_strict_refuses_an_unknown_field(client: Client) -> None:
    answer = client.post("/v2/projects?fieldValidation=Strict", json=named("shop", colour="red"))
    assert answer.status_code == 400
    assert "spec.colour" in answer.json()["detail"]
    assert client.get("/v2/projects").json() == []


def test_keys_match_in_any_case_and_null_is_nothing(client: Client) -> None:
    body = {"Metadata": {"NAME": "shop", "description": None}, "spec": None}
    assert client.post("/v2/projects", json=body).status_code == 201


def test_if_match_makes_a_write_conditional(shop: Client) -> None:
    def put(if_match: str) -> int:
        body = named("boutique", compositeAppVersion="v1")
        return shop.put(APP, json=body, headers={"If-Match": if_match}).status_code

    assert put('"7"') == 412
    assert put('"1"') == 201
    assert put('"1"') == 412
    assert put("*") == 201
    assert put("garbage") == 412
    assert shop.get(APP).headers["etag"] == '"3"'


def test_if_match_on_what_is_not_there_fails(client: Client) -> None:
    answer = client.put("/v2/projects/a", json=named("a"), headers={"If-Match": "*"})
    assert answer.status_code == 412
    assert client.get("/v2/projects").json() == []


def test_delete_heeds_if_match(client: Client) -> None:
    client.post("/v2/projects", json=named("shop"))
    assert client.delete("/v2/projects/shop", headers={"If-Match": '"2"'}).status_code == 412
    assert client.delete("/v2/projects/shop", headers={"If-Match": '"1"'}).status_code == 204


def test_what_has_children_or_users_is_not_deleted_and_says_who(shop: Client) -> None:
    parent = shop.delete("/v2/projects/shop")
    assert parent.status_code == 409
    assert parent.json()["title"] == (
        "Cannot delete parent without deleting child references first"
    )
    shop.delete(f"{APP}/composite-profiles/production/profiles/web-profile")
    used = shop.delete(f"{APP}/composite-profiles/production")
    assert used.status_code == 409
    assert used.json()["title"] == (
        "Cannot delete without deleting or updating referencing resources first"
    )
    assert "deployment-intent-groups/prod" in used.json()["detail"]


def test_a_dry_run_says_what_is_in_the_way_and_deletes_nothing(shop: Client) -> None:
    assert shop.delete("/v2/projects/shop?dryRun=true").status_code == 409
    assert shop.delete("/v2/dtc-controllers/its?dryRun=true").status_code == 204
    assert shop.get("/v2/dtc-controllers/its").status_code == 200
    assert shop.delete("/v2/dtc-controllers/none?dryRun=true").status_code == 404


def test_references_tell_both_directions_and_the_children(shop: Client) -> None:
    answer = shop.get(f"{APP}/apps/web/references").json()
    users = {u["path"].rsplit("/", 1)[-1] for u in answer["incoming"]}
    assert users == {"web-profile", "prod", "web-placement", "settings"}
    assert [c["kind"] for c in answer["children"]] == ["AppDependency"]
    outgoing = shop.get(f"{DEPLOYMENT}/references").json()["outgoing"]
    assert {"field": "spec.logicalCloud", "kind": "LogicalCloud"} in [
        {"field": u["field"], "kind": u["kind"]} for u in outgoing
    ]


def test_pages_follow_each_other_in_name_order(client: Client) -> None:
    for name in "cabed":
        client.post("/v2/projects", json=named(name))
    seen: list[str] = []
    url = "/v2/projects?limit=2"
    while url:
        page = client.get(url)
        seen += [p["metadata"]["name"] for p in page.json()]
        url = page.links["next"]["url"] if "next" in page.links else ""
    assert seen == list("abcde")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1"])
def test_a_wrong_limit_is_refused(client: Client, query: str) -> None:
    answer = client.get(f"/v2/projects?{query}")
    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid query limit")


@pytest.mark.parametrize("cursor", ["x", "AA=="])
def test_a_wrong_cursor_is_refused(client: Client, cursor: str) -> None:
    assert client.get(f"/v2/projects?limit=1&cursor={cursor}").status_code == 400


def test_clusters_are_listed_by_label_and_with_labels(shop: Client) -> None:
    shop.post(
        f"{PROVIDER}/clusters",
        data={"metadata": json.dumps(named("c2"))},
        files={"file": ("k", KUBECONFIG)},
    )
    assert shop.get(f"{PROVIDER}/clusters?label=east").json() == ["c1"]
    assert shop.get(f"{PROVIDER}/clusters?label=west").json() == []
    labelled = shop.get(f"{PROVIDER}/clusters?withLabels=true").json()
    assert [(c["metadata"]["name"], c["labels"]) for c in labelled] == [
        ("c1", [{"clusterLabel": "east"}]),
        ("c2", []),
    ]


def test_a_profile_is_found_by_its_app(shop: Client) -> None:
    url = f"{APP}/composite-profiles/production/profiles"
    assert shop.get(f"{url}?app=web").json()["metadata"]["name"] == "web-profile"
    missing = shop.get(f"{url}?app=db")
    assert (missing.status_code, missing.json()["title"]) == (404, "AppProfile not found")


def test_a_value_is_found_by_its_key(shop: Client) -> None:
    assert shop.get(f"{CLUSTER}/kv-pairs/facts?key=rack").json() == {"value": "7"}
    missing = shop.get(f"{CLUSTER}/kv-pairs/facts?key=none")
    assert (missing.status_code, missing.json()["title"]) == (
        404,
        "Cluster key value pair key value not found",
    )


def test_intents_are_found_by_key_and_by_app(shop: Client) -> None:
    assert shop.get(f"{DEPLOYMENT}/intents/?intent=gac").json() == {
        "intent": {"gac": "customisation"}
    }
    assert shop.get(f"{DEPLOYMENT}/intents?intent=none").status_code == 404
    placements = f"{DEPLOYMENT}/generic-placement-intents/placement/app-intents"
    assert len(shop.get(f"{placements}?app=web").json()) == 1
    assert shop.get(f"{placements}?app=db").json() == []


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*, text/html"])
def test_a_resource_with_a_file_is_json_unless_asked_otherwise(
    shop: Client, accept: str | None
) -> None:
    shop.headers.pop("accept", None)
    answer = shop.get(f"{APP}/apps/web", headers={"Accept": accept} if accept else {})
    assert answer.json()["metadata"]["name"] == "web"


def test_the_file_comes_alone_or_in_a_form(shop: Client) -> None:
    url = f"{APP}/apps/web"
    raw = shop.get(url, headers={"Accept": "application/octet-stream"})
    assert raw.content == CHART
    form = shop.get(url, headers={"Accept": "multipart/form-data"})
    assert form.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="metadata"' in form.content
    assert b'name="file"; filename="fileContent"' in form.content
    assert CHART in form.content
    none = shop.get(url, headers={"Accept": "image/png"})
    assert none.status_code == 406


@pytest.mark.parametrize("accept", ["application/octet-stream", "multipart/form-data"])
def test_a_kubeconfig_is_never_returned(shop: Client, accept: str) -> None:
    answer = shop.get(CLUSTER, headers={"Accept": accept})
    assert answer.status_code == 403
    assert "very-secret-token" not in answer.text
    assert "very-secret-token" not in shop.get(CLUSTER).text


def test_a_put_without_a_file_keeps_the_one_there_is(shop: Client) -> None:
    url = f"{APP}/apps/web"
    assert shop.put(url, json=named("web")).status_code == 201
    assert shop.get(url, headers={"Accept": "application/octet-stream"}).content == CHART
    other = tgz({"web/Chart.yaml": b"name: web\nversion: 9.9.9\n"})
    shop.put(url, data={"metadata": json.dumps(named("web"))}, files={"file": ("x", other)})
    assert shop.get(url, headers={"Accept": "application/octet-stream"}).content == other


def test_metadata_may_come_as_a_json_part(shop: Client) -> None:
    parts: dict[str, tuple[str, bytes | str, str]] = {
        "metadata": ("m.json", json.dumps(named("db-profile", app="db")), "application/json"),
        "file": ("whatever.tgz", PROFILE, "application/gzip"),
    }
    url = f"{APP}/composite-profiles/production/profiles"
    assert shop.post(url, files=parts).status_code == 201


def test_a_gitops_cluster_needs_no_kubeconfig(client: Client) -> None:
    client.post("/v2/cluster-providers", json=named("edge"))
    body = named("flux", gitOps={"gitOpsType": "fluxcd", "gitOpsReferenceObject": "git"})
    assert client.post(f"{PROVIDER}/clusters", json=body).status_code == 201
    file = client.get(f"{PROVIDER}/clusters/flux")
    assert file.json()["spec"]["gitOps"]["gitOpsType"] == "fluxcd"


def test_a_trailing_slash_is_the_same_path(shop: Client) -> None:
    assert shop.get(f"{CLOUD}/").json() == shop.get(CLOUD).json()
    assert shop.post("/v2/projects/", json=named("other")).status_code == 201


def test_the_file_of_a_cluster_is_there_for_those_who_deploy(shop: Client, store: Store) -> None:
    from emco.domain.kinds.fleet import Cluster
    from emco.domain.resource import Address

    assert store.file(Address.of(Cluster, ["edge", "c1"])) == KUBECONFIG
