"""Status tells what is so on the clusters, at any time and by itself."""

from typing import Any

from tests.e2e.system import Kube, Shop, chart, config_map, deployment


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
