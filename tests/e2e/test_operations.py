"""The life of a deployment after its first instantiate, on real clusters."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from emco.sandbox.clusters import ClusterInfo
from tests.e2e.proxy import Proxy
from tests.e2e.system import Kube, Shop, chart, config_map, deployment

Kubes = dict[str, Kube]


def maps(kube: Kube, shop: Shop) -> dict[str, Any]:
    """Our ConfigMaps on a cluster: name to data."""
    listing = kube.get(f"/api/v1/namespaces/{shop.namespace}/configmaps") or {"items": []}
    items = {item["metadata"]["name"]: item.get("data") for item in listing["items"]}
    items.pop("kube-root-ca.crt", None)
    return items


def version_of(kube: Kube, shop: Shop, name: str) -> str:
    found: str = kube.get(f"/api/v1/namespaces/{shop.namespace}/configmaps/{name}")["metadata"][
        "resourceVersion"
    ]
    return found


def job(name: str, command: str) -> dict[str, Any]:
    container = {"name": "main", "image": "example.com/main:1", "command": [command]}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template},
    }


# -- update ---------------------------------------------------------------------------------------


def test_an_update_changes_what_changed_prunes_what_is_gone_and_leaves_the_rest(
    shop: Shop, kubes: Kubes
) -> None:
    shop.deployment(
        {
            "web": chart("web", config_map("a", v="1"), config_map("old", v="1")),
            "db": chart("db", config_map("d", v="1")),
        },
        {"web": ["c1", "c2"], "db": ["c1"]},
    )
    assert shop.instantiate() == "Instantiated"
    before = version_of(kubes["c1"], shop, "d")
    shop.change("web", chart("web", config_map("a", v="2"), config_map("new", v="1")))
    answer = shop.verb("update")
    assert answer.json() == 2
    assert shop.settle() == "Instantiated"
    assert shop.explain()["message"] == ""
    for name in ("c1", "c2"):
        found = maps(kubes[name], shop)
        assert (found["a"], found["new"]) == ({"v": "2"}, {"v": "1"})
        assert "old" not in found
    assert version_of(kubes["c1"], shop, "d") == before, "an unchanged unit is not touched"
    actions = [(a["state"], a["revision"]) for a in shop.status()["states"]["actions"]]
    assert actions[-3:] == [("Instantiated", 1), ("Updated", 1), ("Instantiated", 2)]


def test_a_unit_moves_to_another_cluster_and_leaves_nothing_behind(
    shop: Shop, kubes: Kubes
) -> None:
    shop.deployment({"web": chart("web", config_map("a"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    shop.place("web", ["c2"])
    assert shop.update() == "Instantiated"
    assert "a" in maps(kubes["c2"], shop)
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None
    assert [u["cluster"] for u in shop.explain()["units"]] == [f"{shop.name}+c2"]


def test_an_object_passes_from_one_app_to_another(shop: Shop, kubes: Kubes) -> None:
    shop.deployment(
        {"web": chart("web", config_map("a"), config_map("b")), "db": chart("db", config_map("d"))},
        {"web": ["c1"], "db": ["c1"]},
    )
    assert shop.instantiate() == "Instantiated"
    shop.change("web", chart("web", config_map("a")))
    shop.change("db", chart("db", config_map("d"), config_map("b")))
    assert shop.update() == "Instantiated", shop.explain()
    labels = kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}/configmaps/b")["metadata"][
        "labels"
    ]
    assert labels["emco.io/app"] == "db"


def service(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "j"},
        "spec": {"clusterIP": address, "selector": {"a": "b"}, "ports": [{"port": 80}]},
    }


def stateful_set(size: str) -> dict[str, Any]:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": "none",
        },
    }
    item = deployment("j", replicas=0)
    spec = {**item["spec"], "serviceName": "j", "volumeClaimTemplates": [claim]}
    return {**item, "kind": "StatefulSet", "spec": spec}


@pytest.mark.parametrize(
    ("first", "second", "field", "api", "plural"),
    [
        (job("j", "one"), job("j", "two"), "spec.template", "apis/batch/v1", "jobs"),
        (service("10.96.77.1"), service("10.96.77.2"), "spec.clusterIP", "api/v1", "services"),
        (
            stateful_set("1Gi"),
            stateful_set("2Gi"),
            "spec.volumeClaimTemplates",
            "apis/apps/v1",
            "statefulsets",
        ),
    ],
    ids=["Job", "Service", "StatefulSet"],
)
def test_an_immutable_field_is_refused_by_name_unless_it_may_be_recreated(
    shop: Shop,
    kubes: Kubes,
    first: dict[str, Any],
    second: dict[str, Any],
    field: str,
    api: str,
    plural: str,
) -> None:
    shop.deployment({"web": chart("web", first)}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated", shop.explain()
    path = f"/{api}/namespaces/{shop.namespace}/{plural}/j"
    uid = kubes["c1"].get(path)["metadata"]["uid"]
    shop.change("web", chart("web", second))
    assert shop.update() == "Instantiated"
    message = shop.explain()["message"]
    for part in (field, first["kind"], "emco.io/recreate"):
        assert part in message
    assert kubes["c1"].get(path)["metadata"]["uid"] == uid
    assert [r["number"] for r in shop.get("revisions")] == [1], "what was refused is no revision"
    metadata = {**second["metadata"], "annotations": {"emco.io/recreate": "true"}}
    shop.change("web", chart("web", {**second, "metadata": metadata}))
    assert shop.update() == "Instantiated"
    assert shop.explain()["message"] == ""
    assert kubes["c1"].get(path)["metadata"]["uid"] != uid


def test_a_scalers_replicas_are_left_alone(shop: Shop, kubes: Kubes) -> None:
    shop.deployment({"web": chart("web", deployment("w", replicas=1))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    path = f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/w"
    answer = kubes["c1"].http.patch(
        f"{path}/scale",
        json={"spec": {"replicas": 2}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.is_success, answer.text
    changed = deployment("w", replicas=1, annotations={"x": "1a"})
    shop.change("web", chart("web", changed))
    assert shop.update() == "Instantiated"
    assert shop.explain()["message"] == ""
    spec = kubes["c1"].get(path)["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["metadata"]["annotations"] == {"x": "1a"}


def test_a_chart_that_does_not_render_leaves_no_trace(shop: Shop, kubes: Kubes) -> None:
    shop.deployment({"web": chart("web", config_map("a", v="1"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    shop.change("web", chart("web", '{{ fail "no" }}'))
    assert shop.update() == "Instantiated"
    seen = shop.explain()
    assert "web" in seen["message"]
    assert (seen["revision"], len(shop.get("revisions"))) == (1, 1)
    assert maps(kubes["c1"], shop)["a"] == {"v": "1"}


# -- preflight ------------------------------------------------------------------------------------


def test_nothing_is_applied_anywhere_when_one_cluster_refuses(shop: Shop, kubes: Kubes) -> None:
    kubes["c2"].post("/api/v1/namespaces", {"metadata": {"name": shop.namespace}})
    kubes["c2"].post(f"/api/v1/namespaces/{shop.namespace}/configmaps", config_map("a", mine="1"))
    shop.deployment(
        {"web": chart("web", config_map("a")), "db": chart("db", config_map("d"))},
        {"web": ["c1", "c2"], "db": ["c1"]},
    )
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    assert "ConfigMap" in message
    assert "belongs to somebody else" in message
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None
    assert maps(kubes["c2"], shop)["a"] == {"mine": "1"}


def test_preflight_finds_unknown_fields_and_quotas(shop: Shop, kubes: Kubes) -> None:
    kubes["c1"].post("/api/v1/namespaces", {"metadata": {"name": shop.namespace}})
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    kubes["c1"].post(f"/api/v1/namespaces/{shop.namespace}/resourcequotas", quota)
    shop.until(
        lambda: (
            "hard"
            in kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}/resourcequotas/small")[
                "status"
            ]
        )
    )
    wrong = {**config_map("c"), "dta": {"a": "b"}}
    shop.deployment(
        {"web": chart("web", deployment("w", replicas=2)), "db": chart("db", wrong)},
        {"web": ["c1"], "db": ["c1"]},
    )
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    assert "the quota small allows pods 1" in message
    assert "dta" in message
    assert maps(kubes["c1"], shop) == {}


def test_preflight_names_the_rights_that_are_missing(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: Kubes
) -> None:
    shop, kube = new_shop(), kubes["c1"]
    kube.post("/api/v1/namespaces", {"metadata": {"name": shop.namespace}})
    account = {"metadata": {"name": "weak"}}
    kube.post(f"/api/v1/namespaces/{shop.namespace}/serviceaccounts", account)
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps", "namespaces"],
        "verbs": ["get", "list", "watch"],
    }
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{shop.namespace}"
    kube.post(f"{rbac}/roles", {"metadata": {"name": "weak"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "weak"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weak"},
        "subjects": [{"kind": "ServiceAccount", "name": "weak", "namespace": shop.namespace}],
    }
    kube.post(f"{rbac}/rolebindings", binding)
    token = kube.post(
        f"/api/v1/namespaces/{shop.namespace}/serviceaccounts/weak/token", {"spec": {}}
    )["status"]["token"]
    kubeconfig = yaml.safe_load(clusters[0].kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    shop.cloud({"c1": yaml.safe_dump(kubeconfig)})
    shop.deployment({"web": chart("web", config_map("a"))}, {"web": ["c1"]})
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    assert "may not create, patch, delete configmaps in the namespace" in message
    assert maps(kube, shop) == {}
    assert shop.terminate() == "Terminated"


# -- plan and revisions -----------------------------------------------------------------------------


def test_a_plan_says_field_by_field_what_would_change_without_secrets(
    shop: Shop, kubes: Kubes
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"password": "hunter2-first"},
    }
    shop.deployment({"web": chart("web", config_map("a", v="1"), secret)}, {"web": ["c1"]})
    first = shop.get("plan")
    assert first["changes"]["created"] == 2
    assert first["passedOver"][0]["cluster"] == f"{shop.name}+c2"
    assert shop.instantiate() == "Instantiated"
    other = {**secret, "stringData": {"password": "hunter2-second"}}
    hook = config_map("h")
    hook["metadata"]["annotations"] = {"helm.sh/hook": "pre-upgrade"}
    shop.change("web", chart("web", config_map("a", v="2"), other, hook))
    plan = shop.client.get(f"{shop.url}/plan")
    assert "hunter2" not in plan.text
    (unit,) = plan.json()["units"]
    changed = {o["name"]: o for o in unit["objects"] if o["action"] == "change"}
    assert changed["a"]["fields"] == [{"path": "data.v", "before": "1", "after": "2"}]
    assert changed["s"]["fields"][0]["after"] == "(hidden)"
    assert unit["hooks"] == [
        {
            "kind": "ConfigMap",
            "name": "h",
            "event": "pre-upgrade",
            "weight": 0,
            "scope": "release",
            "runs": True,
        }
    ]
    assert maps(kubes["c1"], shop)["a"] == {"v": "1"}, "looking changes nothing"


def test_a_random_chart_applies_the_bytes_that_were_shown(shop: Shop, kubes: Kubes) -> None:
    random = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: r}\ndata: {v: '{{ randAlphaNum 12 }}'}"
    )
    shop.deployment({"web": chart("web", random)}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    plan = shop.get("plan")
    (unit,) = plan["units"]
    shown = unit["objects"][0]["fields"][0]["after"]
    shop.verb("update", planDigest=plan["digest"])
    assert shop.settle() == "Instantiated"
    assert maps(kubes["c1"], shop)["r"] == {"v": shown}
    again = shop.client.post(f"{shop.url}/update", params={"planDigest": plan["digest"]})
    assert (again.status_code, again.json()["title"]) == (409, "The plan is out of date")
    unknown = shop.client.post(f"{shop.url}/update", params={"planDigest": "f" * 64})
    assert unknown.status_code == 409


def test_a_plan_is_out_of_date_when_what_is_described_has_changed(shop: Shop) -> None:
    shop.deployment({"web": chart("web", config_map("a", v="1"))}, {"web": ["c1"]})
    digest = shop.get("plan")["digest"]
    shop.change("web", chart("web", config_map("a", v="2")))
    answer = shop.client.post(f"{shop.url}/instantiate", params={"planDigest": digest})
    assert (answer.status_code, answer.json()["title"]) == (409, "The plan is out of date")
    assert "what is described" in answer.json()["detail"]
    assert shop.explain()["progress"] == "Created"


def test_a_rollback_goes_to_any_revision_also_of_an_earlier_life(shop: Shop, kubes: Kubes) -> None:
    shop.deployment({"web": chart("web", config_map("a", v="1"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    shop.change("web", chart("web", config_map("a", v="2"), config_map("b")))
    assert shop.update() == "Instantiated"
    assert shop.terminate() == "Terminated"
    assert shop.instantiate() == "Instantiated"
    assert shop.rollback(1) == "Instantiated"
    assert maps(kubes["c1"], shop) == {"a": {"v": "1"}}
    kept = shop.get("revisions")
    assert [(r["number"], r["verb"], r["current"]) for r in kept] == [
        (1, "instantiate", False),
        (2, "update", False),
        (3, "instantiate", False),
        (4, "rollback", True),
    ]
    assert kept[3]["digest"] == kept[0]["digest"]
    difference = shop.get("diff", old="1", new="2")
    changes = {o["key"]["name"]: o["kind"] for o in difference["units"][0]["objects"]}
    assert changes == {"a": "change", "b": "create"}
    missing = shop.client.post(f"{shop.url}/rollback", json={"spec": {"revision": "9"}})
    assert (missing.status_code, missing.json()["title"]) == (404, "No matching ContextId found")


def test_revisions_say_who_and_why_and_are_kept_by_count(shop: Shop) -> None:
    shop.deployment({"web": chart("web", config_map("a", v="0"))}, {"web": ["c1"]})
    shop.policies(revisions=2)
    assert shop.instantiate() == "Instantiated"
    for number in range(3):
        shop.change("web", chart("web", config_map("a", v=str(number + 1))))
        answer = shop.client.post(
            f"{shop.url}/update",
            json={"metadata": {"description": f"change {number}"}},
            headers={"X-Forwarded-User": "mia"},
        )
        assert answer.status_code == 202
        assert shop.settle() == "Instantiated"
    kept = shop.get("revisions")
    assert [(r["number"], r["who"], r["why"]) for r in kept] == [
        (3, "mia", "change 1"),
        (4, "mia", "change 2"),
    ]
    operations = shop.get("operations")
    assert [o["outcome"] for o in operations] == ["done"] * 4


# -- migrate ----------------------------------------------------------------------------------------


def test_migrate_moves_to_another_version_in_place(shop: Shop, kubes: Kubes) -> None:
    shop.deployment(
        {"web": chart("web", config_map("a", v="1")), "db": chart("db", config_map("d"))},
        {"web": ["c1"], "db": ["c1"]},
    )
    assert shop.instantiate() == "Instantiated"
    untouched = version_of(kubes["c1"], shop, "d")
    other = shop.version(
        "v2",
        {"web": chart("web", config_map("a", v="2")), "db": chart("db", config_map("d"))},
        {"web": ["c1"], "db": ["c1"]},
    )
    target = {"targetCompositeAppVersion": "v2", "targetDeploymentIntentGroup": "d"}
    nowhere = {**target, "targetCompositeAppVersion": "v9"}
    assert shop.client.post(f"{shop.url}/migrate", json={"spec": nowhere}).status_code == 404
    early = shop.client.post(f"{shop.url}/migrate", json={"spec": target})
    assert early.status_code == 409
    assert "is not approved" in early.json()["title"]
    other.verb("approve")
    shop.verb("migrate", {"spec": target})
    assert other.settle() == "Instantiated"
    assert maps(kubes["c1"], shop) == {"a": {"v": "2"}, "d": None}
    assert version_of(kubes["c1"], shop, "d") == untouched
    assert shop.explain()["progress"] == "Updated"
    assert other.rollback(1) == "Instantiated"
    assert maps(kubes["c1"], shop)["a"] == {"v": "1"}
    assert other.terminate() == "Terminated"
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None


# -- failure policies -------------------------------------------------------------------------------


def failing(name: str) -> dict[str, Any]:
    item = job(name, "x")
    item["spec"]["backoffLimit"] = 0
    item["spec"]["template"]["metadata"] = {"annotations": {"sandbox.emco.io/exit-code": "3"}}
    return item


def test_hold_stops_where_it_is_and_resume_goes_on(shop: Shop, kubes: Kubes) -> None:
    shop.deployment(
        {"web": chart("web", failing("j")), "db": chart("db", config_map("d"))},
        {"web": ["c1"], "db": ["c2"]},
    )
    assert shop.instantiate() == "InstantiateFailed"
    assert "Job" in shop.explain()["message"]
    kubes["c1"].http.delete(
        f"/apis/batch/v1/namespaces/{shop.namespace}/jobs/j",
        params={"propagationPolicy": "Background"},
    )
    shop.until(
        lambda: kubes["c1"].get(f"/apis/batch/v1/namespaces/{shop.namespace}/jobs/j") is None
    )
    shop.change("web", chart("web", job("j", "x")))
    assert shop.update() == "Instantiated"


def test_rollback_policy_puts_back_what_an_update_changed_on_every_cluster(
    shop: Shop, kubes: Kubes
) -> None:
    shop.deployment(
        {"web": chart("web", config_map("a", v="1")), "db": chart("db", config_map("d", v="1"))},
        {"web": ["c1"], "db": ["c2"]},
    )
    shop.policies(onFailure="rollback")
    assert shop.instantiate() == "Instantiated"
    shop.change("web", chart("web", config_map("a", v="2"), failing("j")))
    shop.change("db", chart("db", config_map("d", v="2")))
    assert shop.update() == "Instantiated"
    seen = shop.explain()
    assert "rolled back" in seen["message"]
    assert maps(kubes["c1"], shop) == {"a": {"v": "1"}}
    assert maps(kubes["c2"], shop) == {"d": {"v": "1"}}
    assert kubes["c1"].get(f"/apis/batch/v1/namespaces/{shop.namespace}/jobs/j") is None
    assert shop.get("operations")[0]["outcome"] == "rolledBack"


def test_stop_halts_and_resume_finishes(shop: Shop, kubes: Kubes) -> None:
    slow = deployment("w", annotations={"sandbox.emco.io/ready": "never"})
    shop.deployment({"web": chart("web", slow)}, {"web": ["c1"]})
    shop.verb("instantiate")
    shop.until(lambda: [u["phase"] for u in shop.explain()["units"]] == ["Applied"])
    shop.verb("stop")
    shop.until(lambda: shop.explain()["progress"] == "InstantiateStopped")
    refused = shop.client.post(f"{shop.url}/stop")
    assert refused.status_code == 409
    assert "already stopped" in refused.json()["title"]
    shop.change("web", chart("web", deployment("w")))
    assert shop.update() == "Instantiated"


# -- drift --------------------------------------------------------------------------------------------


def test_drift_is_shown_and_healed_as_an_operation(shop: Shop, kubes: Kubes) -> None:
    shop.deployment({"web": chart("web", config_map("a", v="1"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    path = f"/api/v1/namespaces/{shop.namespace}/configmaps/a"
    merge = {"Content-Type": "application/merge-patch+json"}
    shop.policies(drift="warn")
    kubes["c1"].http.patch(
        path, json={"data": {"v": "9"}}, headers=merge, params={"fieldManager": "kubectl-edit"}
    )
    shop.until(lambda: shop.explain()["units"][0]["phase"] == "Drifted")
    told = shop.explain()["units"][0]["message"]
    assert "data.v changed by kubectl-edit" in told
    assert maps(kubes["c1"], shop)["a"] == {"v": "9"}
    shop.policies(drift="heal")
    shop.until(lambda: maps(kubes["c1"], shop)["a"] == {"v": "1"})
    shop.until(lambda: shop.explain()["units"][0]["phase"] == "Ready")
    kubes["c1"].http.delete(path)
    shop.until(lambda: "a" in maps(kubes["c1"], shop))
    shop.until(lambda: [o["outcome"] for o in shop.get("operations")][:2] == ["done", "done"])
    heals = [o for o in shop.get("operations") if o["verb"] == "heal"]
    assert "data.v" in heals[-1]["why"]
    assert "was deleted" in heals[0]["why"]


def test_what_a_scaler_owns_is_no_drift(shop: Shop, kubes: Kubes) -> None:
    shop.deployment({"web": chart("web", deployment("w", replicas=1))}, {"web": ["c1"]})
    shop.policies(drift="heal")
    assert shop.instantiate() == "Instantiated"
    path = f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/w"
    merge = {"Content-Type": "application/merge-patch+json"}
    kubes["c1"].http.patch(f"{path}/scale", json={"spec": {"replicas": 2}}, headers=merge)
    kubes["c1"].http.patch(
        path,
        json={"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x:2"}]}}}},
        headers={"Content-Type": "application/strategic-merge-patch+json"},
    )
    shop.until(lambda: any(o["verb"] == "heal" and o["ended"] for o in shop.get("operations")))
    spec = kubes["c1"].get(path)["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["containers"][0]["image"] == "example.com/main:1"


# -- leases, terminate --------------------------------------------------------------------------------


def test_what_a_running_operation_uses_cannot_be_deleted(shop: Shop) -> None:
    slow = deployment("w", annotations={"sandbox.emco.io/ready": "never"})
    shop.deployment({"web": chart("web", slow)}, {"web": ["c1"]})
    shop.verb("instantiate")
    shop.until(lambda: [u["phase"] for u in shop.explain()["units"]] == ["Applied"])
    shop.client.delete(f"{shop.url}/generic-placement-intents/where/app-intents/web")
    answer = shop.client.delete(f"{shop.app_url}/apps/web")
    assert answer.status_code == 409
    assert "instantiate" in answer.json()["detail"]
    for used in (
        f"/cluster-providers/{shop.name}/clusters/c1",
        f"/projects/{shop.name}/logical-clouds/cloud",
    ):
        answer = shop.client.delete(used)
        assert answer.status_code == 409
        assert f"the instantiate {shop.explain()['operation']}" in answer.json()["detail"]
    shop.verb("terminate")
    assert shop.settle() == "Terminated"
    assert shop.client.delete(f"{shop.app_url}/apps/web").status_code == 204


@pytest.mark.parametrize(
    ("verb", "body", "status", "part"),
    [
        ("rollback", {"spec": {"revision": "0"}}, 400, "revision"),
        ("rollback", {"spec": {"revision": "x"}}, 400, "revision"),
        ("rollback", {"spec": {}}, 400, "revision"),
        ("rollback", None, 400, "Empty body"),
        ("migrate", {"spec": {"targetCompositeAppVersion": "v2"}}, 400, "targetDeployment"),
        (
            "migrate",
            {"spec": {"targetCompositeAppVersion": "v9", "targetDeploymentIntentGroup": "d"}},
            409,
            "not instantiated",
        ),
        ("update?onBusy=maybe", {}, 400, "onBusy"),
    ],
)
def test_bad_input_is_a_clear_error(
    shop: Shop, verb: str, body: Any, status: int, part: str
) -> None:
    shop.deployment({"web": chart("web", config_map("a"))}, {"web": ["c1"]})
    answer = (
        shop.client.post(f"{shop.url}/{verb}", json=body)
        if body is not None
        else (shop.client.post(f"{shop.url}/{verb}"))
    )
    assert answer.status_code == status, answer.text
    assert part in answer.text
    assert shop.explain()["progress"] == "Created"


def test_terminate_and_instantiate_answer_409_in_emcos_words_for_illegal_verbs(shop: Shop) -> None:
    shop.deployment({"web": chart("web", config_map("a"))}, {"web": ["c1"]})
    for verb in ("update", "stop", "resume", "terminate"):
        answer = shop.client.post(f"{shop.url}/{verb}")
        assert answer.status_code == 409, verb
        assert answer.json()["title"].startswith("DeploymentIntentGroup")


def test_terminate_lists_what_a_cluster_that_is_away_keeps_and_clears_it_later(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: Kubes
) -> None:
    shop = new_shop()
    with Proxy(clusters[0].server) as proxy:
        here = clusters[0].kubeconfig.read_text().replace(clusters[0].server, proxy.url)
        shop.cloud({"c1": here, "c2": clusters[1].kubeconfig.read_text()})
        shop.deployment({"web": chart("web", config_map("a"))}, {"web": ["c1", "c2"]})
        assert shop.instantiate() == "Instantiated"
        proxy.cut()
        assert shop.terminate() == "Terminated"
        (left,) = shop.explain()["remnants"]
        assert (left["cluster"], left["app"]) == (f"{shop.name}+c1", "web")
        assert left["objects"] == ["ConfigMap a"]
        assert kubes["c2"].get(f"/api/v1/namespaces/{shop.namespace}") is None
        assert shop.client.delete(f"/cluster-providers/{shop.name}/clusters/c1").status_code == 409
        proxy.mend()
        shop.until(lambda: shop.explain()["remnants"] == [])
        shop.until(lambda: kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None)


def test_explain_says_which_pod_keeps_a_unit_from_being_ready(shop: Shop) -> None:
    broken = deployment("w", annotations={"sandbox.emco.io/waiting": "ImagePullBackOff"})
    shop.deployment({"web": chart("web", broken)}, {"web": ["c1"]})
    shop.verb("instantiate")
    shop.until(lambda: "ImagePullBackOff" in str(shop.explain()["units"]))
    (unit,) = shop.explain()["units"]
    (waiting,) = unit["waitingFor"]
    assert "Pod w-" in waiting
    assert unit["next"]
    shop.verb("stop")
    shop.until(lambda: shop.explain()["progress"] == "InstantiateStopped")
    assert "resumed" in shop.explain()["units"][0]["next"]


def test_a_cluster_that_is_away_shows_its_last_error_and_the_next_try(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo]
) -> None:
    shop = new_shop()
    with Proxy(clusters[0].server) as proxy:
        here = clusters[0].kubeconfig.read_text().replace(clusters[0].server, proxy.url)
        shop.cloud({"c1": here, "c2": clusters[1].kubeconfig.read_text()})
        shop.deployment({"web": chart("web", config_map("a"))}, {"web": ["c1", "c2"]})
        proxy.cut()
        shop.verb("instantiate")
        shop.until(lambda: any(u["nextTry"] for u in shop.explain()["units"]))
        unit = next(u for u in shop.explain()["units"] if u["nextTry"])
        assert unit["cluster"] == f"{shop.name}+c1"
        assert "does not answer" in unit["message"]
        proxy.mend()
        assert shop.settle() == "Instantiated"
        assert shop.terminate() == "Terminated"
