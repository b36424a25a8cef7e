"""Status tells what is so on the clusters, at any time and by itself."""

from collections.abc import Callable
from typing import Any

import yaml

from emco.sandbox.clusters import ClusterInfo
from tests.e2e.proxy import Proxy
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment

NEVER_READY = {"metadata": {"annotations": {"sandbox.emco.io/ready": "never"}}}
NO_IMAGE = {"metadata": {"annotations": {"sandbox.emco.io/waiting": "ImagePullBackOff"}}}


def _reach(shop: Shop) -> str:
    return str(shop.status()["apps"][0]["clusters"][0]["connectivity"])


def _phases(shop: Shop) -> dict[str, str]:
    return {unit["app"]: unit["phase"] for unit in shop.explain()["units"]}


def test_what_breaks_after_an_operation_is_told_and_so_is_its_recovery(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    web, db = chart("web", deployment("web")), chart("db", config_map("db"))
    shop.deployment({"web": web, "db": db}, {"web": ["c1"], "db": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    assert shop.status()["readyStatus"] == "Ready"

    path = f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/web"
    never = {
        "spec": {"template": {"metadata": {"annotations": {"sandbox.emco.io/ready": "never"}}}}
    }
    _patch(kubes["c1"], path, never)
    shop.until(lambda: shop.status()["readyStatus"] == "NotReady", seconds=5)
    assert _phases(shop) == {"web": "Degraded", "db": "Ready"}
    _patch(kubes["c1"], path, {"spec": {"template": {"metadata": {"annotations": None}}}})
    shop.until(lambda: shop.status()["readyStatus"] == "Ready", seconds=5)
    assert _phases(shop) == {"web": "Ready", "db": "Ready"}

    gone = f"/api/v1/namespaces/{shop.namespace}/configmaps/db"
    kubes["c1"].http.delete(gone)
    shop.until(lambda: shop.status()["readyCounts"] == {"NotPresent": 1, "Ready": 1}, seconds=5)


def _patch(kube: Kube, path: str, body: Any) -> None:
    kind = {"Content-Type": "application/merge-patch+json"}
    answer = kube.http.patch(path, json=body, headers=kind)
    assert answer.is_success, answer.text


def test_a_rule_of_the_users_own_decides_and_a_wrong_one_is_refused(shop: Shop) -> None:
    def widgets(rule: str) -> bytes:
        item = deployment("web", replicas=0)
        item["metadata"]["annotations"] = {"emco.io/health": rule}
        return chart("web", item)

    shop.deployment({"web": widgets("self.status.phase ==")}, {"web": ["c1"]})
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    assert "emco.io/health of Deployment web cannot work" in message, message
    shop.change("web", widgets("self.spec.replicas == 3"))
    shop.verb("update")
    told = "Deployment web: RuleSaysNo: self.spec.replicas == 3"
    shop.until(lambda: [u["waitingFor"] for u in shop.explain()["units"]] == [[told]])


def test_a_cluster_that_goes_away_is_unknown_since_then_and_comes_back_as_it_is(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: dict[str, Kube]
) -> None:
    shop = new_shop()
    with Proxy(clusters[0].server) as proxy:
        through = clusters[0].kubeconfig.read_text().replace(clusters[0].server, proxy.url)
        shop.cloud({"c1": through})
        web = chart("web", deployment("web"), config_map("a"), config_map("b"))
        shop.deployment({"web": web}, {"web": ["c1"]})
        assert shop.instantiate() == "Instantiated"
        proxy.cut()
        shop.until(lambda: shop.status()["readyCounts"] == {"Unknown": 3}, seconds=20)
        assert shop.status()["readyStatus"] == "Unknown"
        assert _reach(shop) == "Retrying"
        assert "does not answer since 20" in shop.explain()["units"][0]["message"]
        kubes["c1"].http.delete(f"/api/v1/namespaces/{shop.namespace}/configmaps/a")
        proxy.mend()
        shop.until(
            lambda: shop.status()["readyCounts"] == {"NotPresent": 1, "Ready": 2}, seconds=20
        )
        shop.until(lambda: _reach(shop) == "Available", seconds=5)
        assert shop.terminate() == "Terminated"


def test_a_killed_worker_loses_nothing_of_what_happened_meanwhile(
    system: System, shop: Shop, kubes: dict[str, Kube]
) -> None:
    shop.deployment(
        {"web": chart("web", deployment("web"), config_map("a"), config_map("b"))}, {"web": ["c1"]}
    )
    assert shop.instantiate() == "Instantiated"
    shop.until(lambda: _reach(shop) == "Available")
    system.kill("worker")
    kubes["c1"].http.delete(f"/api/v1/namespaces/{shop.namespace}/configmaps/a")
    path = f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/web"
    _patch(kubes["c1"], path, {"spec": {"replicas": 2, "template": NEVER_READY}})
    system.start("worker")
    expected = {"NotPresent": 1, "NotReady": 1, "Ready": 1}
    shop.until(lambda: shop.status()["readyCounts"] == expected, seconds=40)


def test_credentials_for_one_namespace_are_enough(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: dict[str, Kube]
) -> None:
    shop, kube = new_shop(), kubes["c1"]
    shop.cloud({"c1": _confined(kube, clusters[0], shop.namespace)})
    shop.deployment({"web": chart("web", deployment("web"), config_map("a"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated", shop.explain()
    kube.http.delete(f"/api/v1/namespaces/{shop.namespace}/configmaps/a")
    shop.until(lambda: shop.status()["readyCounts"] == {"NotPresent": 1, "Ready": 1}, seconds=10)
    assert shop.terminate() == "Terminated"


def _confined(kube: Kube, cluster: ClusterInfo, namespace: str) -> str:
    """A kubeconfig of somebody who may do everything in one new namespace and nothing elsewhere."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    named = {"metadata": {"name": "confined"}}
    kube.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    kube.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", named)
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    kube.post(f"{rbac}/roles", {**named, "rules": [everything]})
    subject = {"kind": "ServiceAccount", "name": "confined", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "confined"}
    kube.post(f"{rbac}/rolebindings", {**named, "subjects": [subject], "roleRef": role})
    asked = f"/api/v1/namespaces/{namespace}/serviceaccounts/confined/token"
    token = kube.post(asked, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"})
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token["status"]["token"]}
    return yaml.safe_dump(config)
