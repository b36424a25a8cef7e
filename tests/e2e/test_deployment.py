"""One deployment from REST to two real clusters and back, and what may go wrong on the way."""

import io
import tarfile
from typing import Any

import pytest
import yaml

from emco.domain.plan.manifests import short_hash
from tests.e2e.system import Kube, Shop, chart, config_map, deployment

BOTH = ["c1", "c2"]


def test_a_deployment_comes_up_on_both_clusters_and_leaves_nothing_behind(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web"},
        "stringData": {"password": "do-not-tell"},
    }
    web = chart("web", deployment("web"), service, secret, config_map("web", a="b"))
    cart = chart("cart", deployment("cart", replicas=2))
    shop.deployment({"web": web, "cart": cart}, {"web": BOTH, "cart": ["c2"]})
    assert shop.instantiate() == "Instantiated"

    status = shop.status()
    assert status["readyStatus"] == "Ready"
    assert status["readyCounts"] == {"Ready": 9}
    (shown,) = [
        resource["detail"]
        for app in shop.status("status=deployed&output=detail&app=web")["apps"]
        for resource in app["clusters"][0]["resources"]
        if resource["GVK"]["Kind"] == "Secret"
    ]
    assert shown["stringData"] == {"password": "(hidden)"}
    assert shown["metadata"]["labels"]["emco.io/app"] == "web"
    for kube in kubes.values():
        live = kube.get(f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/web")
        assert live["status"]["readyReplicas"] == 1
        mark = short_hash(shop.short)
        assert live["metadata"]["labels"]["emco.io/deployment"] == mark
        assert live["spec"]["template"]["metadata"]["labels"]["emco.io/app"] == "web"
        assert live["metadata"]["annotations"]["emco.io/path"] == shop.short
        assert {
            m["manager"] for m in live["metadata"]["managedFields"] if m["operation"] == "Apply"
        } == {"emco"}
        labels = kube.get(f"/api/v1/namespaces/{shop.namespace}")["metadata"]["labels"]
        assert labels["team"] == shop.name
    assert kubes["c1"].names("deployments", shop.namespace, "apis/apps/v1") == ["web"]
    assert kubes["c2"].names("deployments", shop.namespace, "apis/apps/v1") == ["cart", "web"]

    assert shop.terminate() == "Terminated"
    for kube in kubes.values():
        assert kube.get(f"/api/v1/namespaces/{shop.namespace}") is None
    assert shop.explain()["units"] == []
    assert shop.instantiate() == "Instantiated", "it can be instantiated again"


def test_terminate_keeps_what_belongs_to_others(shop: Shop, kubes: dict[str, Kube]) -> None:
    shop.deployment({"web": chart("web", config_map("ours"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    kubes["c1"].post(f"/api/v1/namespaces/{shop.namespace}/configmaps", config_map("theirs"))
    assert shop.terminate() == "Terminated"
    assert "ours" not in kubes["c1"].names("configmaps", shop.namespace)
    assert "theirs" in kubes["c1"].names("configmaps", shop.namespace)


def test_an_object_of_somebody_else_is_never_taken_over(shop: Shop, kubes: dict[str, Kube]) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": shop.namespace}}
    kubes["c1"].post("/api/v1/namespaces", namespace)
    path = f"/api/v1/namespaces/{shop.namespace}/configmaps"
    before = kubes["c1"].post(path, config_map("web", mine="yes"))
    shop.deployment({"web": chart("web", config_map("web", a="b"))}, {"web": ["c1"]})
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    for part in ("ConfigMap", "web", "c1", "somebody else"):
        assert part in message
    assert shop.terminate() == "Terminated"
    assert kubes["c1"].get(f"{path}/web") == before
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}"), "it was there before us"


def test_a_field_that_another_manager_owns_is_a_conflict_that_names_it(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    shop.deployment({"web": chart("web", config_map("web", a="b"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    answer = kubes["c1"].http.patch(
        f"/api/v1/namespaces/{shop.namespace}/configmaps/web?fieldManager=somebody",
        json={"data": {"a": "c"}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.is_success, answer.text
    shop.change("web", chart("web", config_map("web", a="d")))
    assert shop.update() == "Instantiated"
    message = shop.explain()["message"]
    for part in (".data.a", "somebody", "ConfigMap", "web"):
        assert part in message


def test_two_deployments_share_a_namespace_until_the_last_one_leaves(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    shop.deployment({"web": chart("web", config_map("one"))}, {"web": ["c1"]})
    second = f"{shop.app_url}/deployment-intent-groups"
    spec = {
        "compositeProfile": "none",
        "version": "r2",
        "logicalCloud": "cloud",
        "overrideValues": [],
        "policies": {"preflight": "per-cluster"},
    }
    shop.post(second, "e", spec)
    other = Shop(shop.client, shop.name, shop.namespace)
    assert shop.instantiate() == "Instantiated"
    shop.post(f"{second}/e/generic-placement-intents", "where")
    everywhere = {"allOf": [{"clusterProvider": shop.name, "cluster": "c1"}]}
    shop.post(
        f"{second}/e/generic-placement-intents/where/app-intents",
        "web",
        {"app": "web", "intent": everywhere},
    )
    shop.post(f"{second}/e/intents", "i", {"intent": {"genericPlacementIntent": "where"}})
    for verb in ("approve", "instantiate"):
        assert other.client.post(f"{second}/e/{verb}").status_code == 202
    shop.until(
        lambda: other.client.get(f"{second}/e/explain").json()["progress"] == "InstantiateFailed"
    )
    message = other.client.get(f"{second}/e/explain").json()["message"]
    assert f"the deployment {shop.short}" in message, "both render the same object"
    assert shop.terminate() == "Terminated"
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}"), "the other one still claims it"
    assert other.client.post(f"{second}/e/terminate").status_code == 202
    shop.until(lambda: other.client.get(f"{second}/e/explain").json()["progress"] == "Terminated")
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None


def test_status_follows_a_pod_that_takes_its_time(shop: Shop) -> None:
    slow = deployment("slow", annotations={"sandbox.emco.io/ready-after": "3s"})
    shop.deployment({"web": chart("web", slow)}, {"web": ["c1"]})
    shop.verb("instantiate")
    shop.until(lambda: shop.status().get("readyCounts", {}).get("NotReady") == 1)
    assert shop.status()["deployedStatus"] == "Instantiating"
    assert shop.settle() == "Instantiated"
    assert shop.status()["readyCounts"] == {"Ready": 1}


def test_terminate_overtakes_an_instantiate_that_would_never_end(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    never = deployment("never", annotations={"sandbox.emco.io/ready": "never"})
    shop.deployment({"web": chart("web", never)}, {"web": ["c1"]})
    shop.verb("instantiate")
    shop.until(lambda: any(u["phase"] == "Applied" for u in shop.explain()["units"]))
    assert shop.terminate() == "Terminated"
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None


def test_every_workload_kind_becomes_ready(shop: Shop) -> None:
    template: dict[str, Any] = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": "example.com/x:1"}]},
    }
    selector = {"matchLabels": {"app": "x"}}
    job_template = {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}
    shop.deployment(
        {
            "all": chart(
                "all",
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"},
                 "spec": {"serviceName": "s", "selector": selector, "template": template}},
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"},
                 "spec": {"selector": {"matchLabels": {"app": "d"}},
                          "template": {**template, "metadata": {"labels": {"app": "d"}}}}},
                {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
                 "spec": {"template": job_template}},
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": template["spec"]},
            )
        },
        {"all": ["c1"]},
    )  # fmt: skip
    assert shop.instantiate() == "Instantiated"
    assert shop.status()["readyCounts"] == {"Ready": 4}


def test_custom_resources_come_with_their_definition_which_outlives_them(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    group = f"{shop.name}.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}
    archive = chart("web", widget, **{"crds__widget.yaml": yaml.safe_dump(definition)})
    shop.deployment({"web": archive}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    assert kubes["c1"].names("widgets", shop.namespace, f"apis/{group}/v1") == ["w"]
    assert shop.terminate() == "Terminated"
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}"
    assert kubes["c1"].get(path), "a definition is never deleted with a release"
    kubes["c1"].http.delete(path)


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (chart("web", '{{ fail "no database given" }}'), ["web", "no database given"]),
        (chart("web", "{{ .Values.a.b.c }}"), ["web", "templates/0.yaml"]),
        (chart("web", "a: b: c"), ["web", "templates/0.yaml"]),
        (chart("web", "just text"), ["templates/0.yaml"]),
        (chart("web", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}), ["templates/0.yaml", "metadata.name"]),
        (
            chart("web", config_map("x"), **{"values.schema.json": '{"type":"object","required":["size"]}'}),
            ["web", "size"],
        ),
    ],
)  # fmt: skip
def test_a_chart_that_does_not_render_fails_with_its_name_and_place(
    shop: Shop, kubes: dict[str, Kube], archive: bytes, told: list[str]
) -> None:
    shop.deployment({"web": archive}, {"web": ["c1"]})
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    for part in told:
        assert part in message
    assert kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}") is None, "nothing was applied"
    assert shop.terminate() == "Terminated"


def test_an_object_the_api_server_refuses_fails_and_terminate_cleans_up(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    imageless = deployment("broken")
    del imageless["spec"]["template"]["spec"]["containers"][0]["image"]
    archive = chart("web", config_map("first"), imageless)
    shop.deployment(
        {"web": archive, "cart": chart("cart", config_map("cart"))}, {"web": ["c1"], "cart": ["c2"]}
    )
    assert shop.instantiate() == "InstantiateFailed"
    message = shop.explain()["message"]
    for part in ("web", "c1", "Deployment", "broken", "image"):
        assert part in message
    for kube in kubes.values():
        assert kube.get(f"/api/v1/namespaces/{shop.namespace}") is None, "nothing was touched"
    assert shop.terminate() == "Terminated"
    for kube in kubes.values():
        assert kube.get(f"/api/v1/namespaces/{shop.namespace}") is None


def test_a_misspelt_field_is_refused_by_name(shop: Shop) -> None:
    wrong = deployment("web")
    wrong["spec"]["replicaz"] = 2
    shop.deployment({"web": chart("web", wrong)}, {"web": ["c1"]})
    assert shop.instantiate() == "InstantiateFailed"
    assert "replicaz" in shop.explain()["message"]


def test_one_second_after_the_202_the_status_is_on_its_way(shop: Shop) -> None:
    shop.deployment({"web": chart("web", config_map("x"))}, {"web": ["c1"]})
    shop.verb("instantiate")
    assert shop.status("status=deployed")["deployedStatus"] in ("Instantiating", "Instantiated")
    shop.settle()
    shop.verb("terminate")
    assert shop.status("status=deployed")["deployedStatus"] in ("Terminating", "Terminated")
    shop.settle()


def test_profile_and_overrides_reach_the_chart(shop: Shop, kubes: dict[str, Kube]) -> None:
    text = "{{ toYaml .Values | nindent 4 }}"
    template = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata:\n  values: |"
        + text
        + '\n  file: {{ .Files.Get "extra.txt" | quote }}\n'
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {
            "manifest.yaml": "version: v1\ntype:\n  values: over.yaml\n  configresource:\n"
            "    - {filepath: extra.txt, chartpath: extra.txt}\n",
            "over.yaml": "from: profile\nkept: profile\n",
            "extra.txt": "from the profile",
        }.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    shop.deployment(
        {"web": chart("web", template, values={"from": "chart", "base": "chart"})},
        {"web": ["c1"]},
        web={"from": "override", "n": "3"},
    )
    shop.post(
        f"{shop.app_url}/composite-profiles/none/profiles",
        "p",
        {"app": "web"},
        file=buffer.getvalue(),
    )
    assert shop.instantiate() == "Instantiated"
    data = kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}/configmaps/seen")["data"]
    assert data["file"] == "from the profile"
    for line in ("from: override", "kept: profile", "base: chart", '"n": 3'):
        assert line in data["values"]


def test_a_chart_sees_the_version_and_the_apis_of_its_cluster(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    template = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata:\n"
        "  version: {{ .Capabilities.KubeVersion }}\n"
        '  jobs: {{ .Capabilities.APIVersions.Has "batch/v1/Job" | quote }}\n'
        '  mesh: {{ .Capabilities.APIVersions.Has "networking.istio.io/v1" | quote }}\n'
    )
    shop.deployment({"web": chart("web", template)}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    seen = kubes["c1"].get(f"/api/v1/namespaces/{shop.namespace}/configmaps/seen")["data"]
    assert seen == {
        "version": kubes["c1"].get("/version")["gitVersion"],
        "jobs": "true",
        "mesh": "false",
    }


def test_what_a_chart_asks_to_keep_is_kept(shop: Shop, kubes: dict[str, Kube]) -> None:
    kept = config_map("kept")
    kept["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    shop.deployment({"web": chart("web", kept, config_map("gone"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    assert shop.terminate() == "Terminated"
    left = kubes["c1"].names("configmaps", shop.namespace)
    assert "kept" in left
    assert "gone" not in left
