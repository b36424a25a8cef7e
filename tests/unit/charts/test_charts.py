"""The charts hold what they promise: Online Boutique's facts, small test charts, emco's own chart.

What needs helm is marked e2e, since helm is one of the programs that are built for the sandbox.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from emco.cli.documents import read
from emco.cli.order import ordered
from emco.domain.kinds.apps import App
from emco.domain.kinds.delivery import AppPlacement
from emco.sandbox.toolchain import Tools

CHARTS = Path(__file__).resolve().parents[3] / "charts"
BOUTIQUE = CHARTS / "online-boutique"
SERVICES = {
    "adservice": ("grpc", 9555, 9555),
    "cartservice": ("grpc", 7070, 7070),
    "checkoutservice": ("grpc", 5050, 5050),
    "currencyservice": ("grpc", 7000, 7000),
    "emailservice": ("grpc", 5000, 8080),
    "frontend": ("http", 80, 8080),
    "paymentservice": ("grpc", 50051, 50051),
    "productcatalogservice": ("grpc", 3550, 3550),
    "recommendationservice": ("grpc", 8080, 8080),
    "redis-cart": ("tcp-redis", 6379, 6379),
    "shippingservice": ("grpc", 50051, 50051),
    "shoppingassistantservice": ("http", 80, 8080),
}
HOOKED = {
    "cartservice": ("cartservice-check-redis", "pre-install", "nc -z -w 5 redis-cart 6379"),
    "frontend": (
        "frontend-call-it",
        "post-install",
        "wget -q -O /dev/null -T 10 http://frontend:80/_healthz",
    ),
}
"""Charts with a hook: its name, its event, and what it runs."""
CALLS = {
    "frontend": {
        "adservice",
        "cartservice",
        "checkoutservice",
        "currencyservice",
        "productcatalogservice",
        "recommendationservice",
        "shippingservice",
        "shoppingassistantservice",
    },
    "checkoutservice": {
        "cartservice",
        "currencyservice",
        "emailservice",
        "paymentservice",
        "productcatalogservice",
        "shippingservice",
    },
    "recommendationservice": {"productcatalogservice"},
    "cartservice": {"redis-cart"},
    "loadgenerator": {"frontend"},
}
APPS = sorted(SERVICES.keys() - {"shoppingassistantservice"} | {"loadgenerator"})
BACK = {"cartservice", "productcatalogservice", "redis-cart", "shippingservice"}
ALL = sorted(SERVICES.keys() | {"loadgenerator"})
WORKING = ("hello", "imageless", "crds", "workloads", "migration", "backup", "smoke")

Object = dict[str, Any]


def values_of(chart: Path) -> Any:
    return yaml.safe_load((chart / "values.yaml").read_text())


def test_there_is_one_chart_per_microservice() -> None:
    assert sorted(p.parent.name for p in BOUTIQUE.glob("*/Chart.yaml")) == ALL


@pytest.mark.parametrize("chart", sorted(CHARTS.rglob("Chart.yaml")), ids=lambda p: p.parent.name)
def test_a_chart_is_called_as_its_folder_and_needs_no_other(chart: Path) -> None:
    described = yaml.safe_load(chart.read_text())
    assert described["name"] == chart.parent.name
    assert "dependencies" not in described
    assert (chart.parent / "values.yaml").is_file()


@pytest.mark.parametrize("name", ALL)
def test_values_have_a_schema_that_knows_every_one_of_them(name: str) -> None:
    schema = json.loads((BOUTIQUE / name / "values.schema.json").read_text())
    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() == values_of(BOUTIQUE / name).keys()


def test_environment_variables_carry_the_call_graph() -> None:
    found: dict[str, set[str]] = {}
    for name in ALL:
        for value in values_of(BOUTIQUE / name).get("env", {}).values():
            callee, colon, port = str(value).partition(":")
            if colon:
                assert int(port) == SERVICES[callee][1], (name, value)
                found.setdefault(name, set()).add(callee)
    assert found == CALLS


def test_the_composite_app_has_twelve_apps_each_placed_on_its_cluster() -> None:
    documents = read([BOUTIQUE / "emco.yaml"])
    apps = [d for d in documents if d.place.collection is App]
    assert sorted(d.body["metadata"]["name"] for d in apps) == APPS
    assert all(d.paths == (d.body["metadata"]["name"],) for d in apps)
    labels = {
        d.body["spec"]["app"]: d.body["spec"]["intent"]["allOf"]
        for d in documents
        if d.place.collection is AppPlacement
    }
    assert labels == {
        app: [{"clusterProvider": "edge", "clusterLabel": "data" if app in BACK else "front"}]
        for app in APPS
    }


def test_the_composite_app_is_written_in_an_order_that_works_and_holds_no_verb() -> None:
    documents = read([BOUTIQUE / "emco.yaml"])
    assert ordered(documents) == list(range(len(documents)))
    assert not any(d.verb for d in documents)
    assert all(d.place.is_known for d in documents)


def test_every_file_that_the_composite_app_names_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KUBECONFIG_C1", "KUBECONFIG_C2"):
        monkeypatch.setenv(variable, str(BOUTIQUE / "emco.yaml"))
    documents = [d for d in read([BOUTIQUE / "emco.yaml"]) if d.paths]
    assert all(content for d in documents for _, (_, content, _) in d.files())
    kubeconfigs = [d.paths for d in documents if d.anchor.endswith("/clusters")]
    assert kubeconfigs == [("${KUBECONFIG_C1}",), ("${KUBECONFIG_C2}",)]


def test_a_profile_sets_only_values_that_its_chart_has() -> None:
    profile = BOUTIQUE / "profiles" / "frontend"
    manifest = yaml.safe_load((profile / "manifest.yaml").read_text())
    values = yaml.safe_load((profile / manifest["type"]["values"]).read_text())
    assert values.keys() <= values_of(BOUTIQUE / "frontend").keys()


def test_the_load_generator_is_off() -> None:
    assert values_of(BOUTIQUE / "loadgenerator")["replicas"] == 0


def rendered(tools: Tools, chart: Path, *options: str) -> list[Object]:
    ran = helm(tools, "template", "release", str(chart), "--include-crds", *options)
    assert ran.returncode == 0, ran.stderr
    return [found for found in yaml.safe_load_all(ran.stdout) if found]


@pytest.mark.e2e
def test_the_cart_checks_its_redis_first_and_the_frontend_is_called_last(
    objects: dict[str, list[Object]],
) -> None:
    for name, (hook, event, command) in HOOKED.items():
        job = of_kind(objects[name], "Job")
        assert job["metadata"]["name"] == hook
        assert job["metadata"]["annotations"]["helm.sh/hook"] == event
        (container,) = containers(job)
        assert container["command"] == command.split()


def helm(tools: Tools, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tools["helm"]), *arguments], capture_output=True, text=True, check=False
    )


def of_kind(objects: list[Object], kind: str) -> Object:
    (found,) = [o for o in objects if o["kind"] == kind]
    return found


def containers(deployment: Object) -> Iterator[Object]:
    pod = deployment["spec"]["template"]["spec"]
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


@pytest.fixture(scope="module")
def objects(tools: Tools) -> dict[str, list[Object]]:
    """Every chart of Online Boutique, rendered once."""
    return {name: rendered(tools, BOUTIQUE / name) for name in ALL}


@pytest.mark.e2e
def test_every_object_is_named_as_the_service_and_labelled(
    objects: dict[str, list[Object]],
) -> None:
    for name, found in objects.items():
        kinds = {"ServiceAccount", "Deployment"} | ({"Service"} if name in SERVICES else set())
        kinds |= {"Job"} if name in HOOKED else set()
        assert {o["kind"] for o in found} == kinds
        for each in found:
            hook = HOOKED[name][0] if each["kind"] == "Job" else name
            assert each["metadata"]["name"] == hook
            labels = each["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == name
            assert labels["app.kubernetes.io/part-of"] == "online-boutique"
            assert "namespace" not in each["metadata"]


@pytest.mark.e2e
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_port_by_name_and_selects_its_pods(
    objects: dict[str, list[Object]], name: str
) -> None:
    port_name, port, container_port = SERVICES[name]
    service = of_kind(objects[name], "Service")["spec"]
    assert service["type"] == "ClusterIP"
    assert service["ports"] == [{"name": port_name, "port": port, "targetPort": port_name}]
    template = of_kind(objects[name], "Deployment")["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert container["ports"] == [{"name": port_name, "containerPort": container_port}]


@pytest.mark.e2e
@pytest.mark.parametrize("name", ALL)
def test_pods_run_as_nobody_with_their_own_account_and_known_resources(
    objects: dict[str, list[Object]], name: str
) -> None:
    deployment = of_kind(objects[name], "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == name
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(deployment):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"].keys() == {"requests", "limits"}
        assert re.fullmatch(r"[^:]+:[-.\w]+", container["image"])
        if name in SERVICES:
            assert {"readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.e2e
@pytest.mark.parametrize(
    "options", [("--set", "image.tga=v1"), ("--set", "replicas=many"), ("--set", "port.name=GRPC")]
)
def test_a_value_that_the_chart_does_not_know_is_refused(
    tools: Tools, options: tuple[str, ...]
) -> None:
    ran = helm(tools, "template", str(BOUTIQUE / "adservice"), *options)
    assert ran.returncode != 0
    assert "schema" in ran.stderr


@pytest.mark.e2e
def test_the_charts_are_free_of_lint(tools: Tools) -> None:
    charts = [str(BOUTIQUE / name) for name in ALL]
    charts += [str(CHARTS / "testing" / name) for name in WORKING]
    charts.append(str(CHARTS / "emco"))
    ran = helm(tools, "lint", "--strict", *charts)
    assert ran.returncode == 0, ran.stdout
    strict = str(CHARTS / "testing" / "strict-schema")
    assert helm(tools, "lint", "--strict", strict, "--set", "port=80").returncode == 0


@pytest.mark.e2e
def test_hello_is_five_objects_under_one_name(tools: Tools) -> None:
    found = rendered(tools, CHARTS / "testing" / "hello", "--set", "name=one")
    assert sorted(o["kind"] for o in found) == [
        "ConfigMap",
        "Deployment",
        "Secret",
        "Service",
        "ServiceAccount",
    ]
    assert {o["metadata"]["name"] for o in found} == {"one"}


@pytest.mark.e2e
def test_the_other_test_charts_render_what_they_are_for(tools: Tools) -> None:
    testing = CHARTS / "testing"
    assert [o["kind"] for o in rendered(tools, testing / "crds")] == [
        "CustomResourceDefinition",
        "Widget",
    ]
    kinds = {o["kind"] for o in rendered(tools, testing / "workloads")}
    assert kinds == {"Job", "StatefulSet", "DaemonSet", "PersistentVolumeClaim"}
    (container,) = containers(of_kind(rendered(tools, testing / "imageless"), "Deployment"))
    assert "image" not in container
    assert rendered(tools, testing / "strict-schema", "--set", "port=80")


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("chart", "message"),
    [
        ("broken-template", "set paint.color"),
        ("invalid-yaml", "YAML parse error"),
        ("strict-schema", "missing property 'port'"),
    ],
)
def test_the_broken_charts_are_broken_as_they_say(tools: Tools, chart: str, message: str) -> None:
    ran = helm(tools, "template", str(CHARTS / "testing" / chart))
    assert ran.returncode != 0
    assert message in ran.stderr


@pytest.mark.e2e
def test_emcos_own_chart_runs_both_processes_and_keeps_secrets_in_a_secret(tools: Tools) -> None:
    options = ("--set", "database.url=postgresql://secret-url,secretKeys=secret-key")
    found = rendered(tools, CHARTS / "emco", *options)
    deployments = [o for o in found if o["kind"] == "Deployment"]
    assert sorted(c["args"][-1] for d in deployments for c in containers(d)) == ["api", "worker"]
    secret = of_kind(found, "Secret")
    assert secret["stringData"] == {
        "database-url": "postgresql://secret-url",
        "secret-keys": "secret-key",
    }
    others = json.dumps([o for o in found if o is not secret])
    assert "secret-url" not in others
    assert 'secret-key"' not in others.replace('"key": "secret-keys"', "")
    existing = rendered(tools, CHARTS / "emco", "--set", "existingSecret=mine")
    assert not [o for o in existing if o["kind"] == "Secret"]


@pytest.mark.e2e
def test_emcos_own_chart_says_what_it_needs(tools: Tools) -> None:
    ran = helm(tools, "template", str(CHARTS / "emco"))
    assert "set database.url, or existingSecret" in ran.stderr
