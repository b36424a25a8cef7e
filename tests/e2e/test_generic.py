"""Generic Kubernetes intents on real clusters: new objects and patches, per cluster."""

import base64
import json
from typing import Any

from tests.e2e.system import Kube, Shop, chart, config_map, deployment


def test_new_objects_and_patches_reach_the_clusters_they_are_meant_for(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    shop.describe(
        {"web": chart("web", deployment("w"), config_map("settings", mode="plain"))},
        {"web": ["c1", "c2"]},
    )
    root = f"{shop.url}/generic-k8s-intents"
    shop.post(root, "gac")
    new = {"app": "web", "newObject": "true"}
    resources = f"{root}/gac/resources"

    def resource(name: str, spec: Any, file: bytes | None = None) -> None:
        body = {"metadata": {"name": name}, "spec": spec}
        parts: dict[str, Any] = {"metadata": (None, json.dumps(body))}
        if file is not None:
            parts["file"] = ("filename", file, "application/octet-stream")
        answer = shop.client.post(resources, files=parts)
        assert answer.status_code == 201, answer.text

    def customization(under: str, name: str, spec: Any, **files: bytes) -> None:
        body = {"metadata": {"name": name}, "spec": spec}
        parts: list[tuple[str, Any]] = [("metadata", (None, json.dumps(body)))]
        parts += [("files", (file.replace("__", "."), text)) for file, text in files.items()]
        answer = shop.client.post(f"{resources}/{under}/customizations", files=parts)
        assert answer.status_code == 201, answer.text

    gvk = {"apiVersion": "v1", "kind": "Secret", "name": "login"}
    resource("login", {**new, "resourceGVK": gvk})
    everywhere = {"clusterSpecific": "false", "patchType": ""}
    customization("login", "files", everywhere, password=b"hunter2")
    budget = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    resource("extra", {**new, "resourceGVK": {**gvk, "kind": "ConfigMap", "name": "extra"}}, budget)
    gvk = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}
    resource("w", {"app": "web", "newObject": "false", "resourceGVK": gvk})
    only = {"scope": "name", "clusterProvider": shop.name, "cluster": "c2", "mode": "allow"}
    patch = {"op": "replace", "path": "/spec/replicas", "value": 2}
    customization(
        "w",
        "scale",
        {
            "clusterSpecific": "true",
            "clusterInfo": only,
            "patchType": "json",
            "patchJson": [{**patch, "op": "add"}],
        },
    )
    gac = {"metadata": {"name": "gac"}, "spec": {"type": "action", "priority": 1}}
    assert shop.client.post("/controllers", json=gac).status_code in (201, 409)
    group = {"intent": {"genericPlacementIntent": "where", "gac": "gac"}}
    answer = shop.client.put(
        f"{shop.url}/intents/intents", json={"metadata": {"name": "intents"}, "spec": group}
    )
    assert answer.is_success, answer.text
    shop.verb("approve")
    assert shop.instantiate() == "Instantiated", shop.explain()
    for name, replicas in (("c1", 1), ("c2", 2)):
        base = f"/api/v1/namespaces/{shop.namespace}"
        secret = kubes[name].get(f"{base}/secrets/login")
        assert base64.b64decode(secret["data"]["password"]) == b"hunter2"
        assert secret["metadata"]["labels"]["emco.io/app"] == "web"
        assert kubes[name].get(f"{base}/configmaps/extra")["data"] == {"a": "b"}
        live = kubes[name].get(f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/w")
        assert live["spec"]["replicas"] == replicas
    assert "hunter2" not in shop.client.get(f"{shop.url}/plan").text
    answer = shop.client.delete(f"{resources}/extra")
    assert answer.status_code == 204
    assert shop.update() == "Instantiated"
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}/configmaps/extra") is None
    assert shop.terminate() == "Terminated"
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None
