"""Everything docs/temporal.md says one can do with the temporal CLI, done with the real one."""

import base64
import json

import pytest

from tests.e2e.system import Kube, Shop, System, chart, config_map
from tests.e2e.temporal_cli import temporal


def test_start_query_update_and_what_the_ui_shows(
    shop: Shop, system: System, kubes: dict[str, Kube], temporal_server: str
) -> None:
    shop.deployment({"web": chart("web", config_map("x"))}, {"web": ["c1", "c2"]})
    workflow = f"deployment/{shop.short}"
    temporal(
        temporal_server, "workflow", "start", "--type", "Deployment", "--task-queue", system.queue,
        "--workflow-id", workflow, "--input", json.dumps({"deployment": shop.short}),
    )  # fmt: skip
    shop.until(lambda: shop.explain()["progress"] == "Instantiated")

    asked = temporal(
        temporal_server,
        "workflow",
        "query",
        "--workflow-id",
        workflow,
        "--type",
        "status",
        "-o",
        "json",
    )
    overview = json.loads(asked)["queryResult"][0]
    assert overview["progress"] == "Instantiated"
    assert overview["clusters"] == {f"{shop.name}+c1": "done", f"{shop.name}+c2": "done"}

    found = temporal(
        temporal_server,
        "workflow",
        "list",
        "--query",
        f"EmcoProject = '{shop.name}' AND EmcoState = 'Instantiated'",
    )
    assert workflow in found
    parts = temporal(
        temporal_server, "workflow", "list", "--query", f"EmcoCluster = '{shop.name}+c1'"
    )
    assert "ClusterRollout" in parts
    details = temporal(temporal_server, "workflow", "metadata", "--workflow-id", workflow)
    assert "**Instantiated**" in details
    history = temporal(temporal_server, "workflow", "show", "--workflow-id", workflow, "-o", "json")
    assert "plan: place, render, order" in _decoded(history)

    refused = temporal(
        temporal_server, "workflow", "update", "execute", "--workflow-id", workflow,
        "--name", "instantiate", "--input", "{}", check=False,
    )  # fmt: skip
    assert "has already been instantiated" in refused
    temporal(
        temporal_server, "workflow", "update", "execute", "--workflow-id", workflow,
        "--name", "terminate", "--input", "{}",
    )  # fmt: skip
    assert shop.settle() == "Terminated"
    for kube in kubes.values():
        assert kube.get(f"/api/v1/namespaces/{shop.namespace}") is None


def test_cancel_is_a_graceful_terminate(
    shop: Shop, kubes: dict[str, Kube], temporal_server: str
) -> None:
    shop.deployment({"web": chart("web", config_map("x"))}, {"web": ["c1", "c2"]})
    assert shop.instantiate() == "Instantiated"
    temporal(temporal_server, "workflow", "cancel", "--workflow-id", f"deployment/{shop.short}")
    shop.until(lambda: shop.explain()["progress"] == "Terminated")
    for kube in kubes.values():
        assert kube.get(f"/api/v1/namespaces/{shop.namespace}") is None


def test_a_start_that_may_not_be_fails_with_the_reason(
    shop: Shop, system: System, temporal_server: str
) -> None:
    missing = f"{shop.name}/app/v1/missing"
    temporal(
        temporal_server, "workflow", "start", "--type", "Deployment", "--task-queue", system.queue,
        "--workflow-id", f"deployment/{missing}", "--input", json.dumps({"deployment": missing}),
    )  # fmt: skip
    told = temporal(
        temporal_server, "workflow", "result", "--workflow-id", f"deployment/{missing}", check=False
    )
    assert "DeploymentIntentGroup not found" in told


def test_a_start_is_held_to_the_same_rules_as_the_api(
    shop: Shop, system: System, temporal_server: str
) -> None:
    shop.deployment({"web": chart("web", config_map("x"))}, {"web": ["c1"]})
    answer = shop.client.post(f"/projects/{shop.name}/logical-clouds/cloud/terminate")
    assert answer.status_code == 202
    workflow = f"deployment/{shop.short}"
    temporal(
        temporal_server, "workflow", "start", "--type", "Deployment", "--task-queue", system.queue,
        "--workflow-id", workflow, "--input", json.dumps({"deployment": shop.short}),
    )  # fmt: skip
    told = temporal(temporal_server, "workflow", "result", "--workflow-id", workflow, check=False)
    assert "The Logical Cloud is not currently instantiated" in told
    assert shop.explain()["state"] == "Approved"


def test_no_secret_reaches_history_logs_or_answers(
    shop: Shop, system: System, temporal_server: str, kubeconfigs: dict[str, str]
) -> None:
    planted = "planted-secret-value"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"password": "{{ .Values.password }}"},
    }
    shop.deployment({"web": chart("web", secret)}, {"web": ["c1"]}, web={"password": planted})
    assert shop.instantiate() == "Instantiated"
    shop.terminate()
    listed = temporal(
        temporal_server, "workflow", "list", "--query", f"EmcoProject = '{shop.name}'", "-o", "json"
    )
    key = kubeconfigs["c1"].split("client-key-data: ")[1].split()[0]
    for one in json.loads(listed):
        workflow = one["execution"]["workflowId"]
        run = one["execution"]["runId"]
        history = temporal(
            temporal_server, "workflow", "show", "--workflow-id", workflow, "--run-id", run, "-o", "json",
        )  # fmt: skip
        assert planted not in _decoded(history)
        assert key not in history
    assert planted not in system.logs()
    assert key not in system.logs()
    for output in ("all", "detail"):
        answer = shop.client.get(f"{shop.url}/status?status=deployed&output={output}").text
        assert planted not in answer
    database = (system.data / "emco.db").read_bytes()
    assert key.encode() not in database


def test_update_and_rollback_from_the_temporal_cli(
    shop: Shop, kubes: dict[str, Kube], temporal_server: str
) -> None:
    shop.deployment({"web": chart("web", config_map("m", v="1"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    shop.change("web", chart("web", config_map("m", v="2")))

    def ask(verb: str, given: str) -> str:
        return temporal(
            temporal_server, "workflow", "update", "execute", "--workflow-id",
            f"deployment/{shop.short}", "--name", verb, "--input", given, check=False,
        )  # fmt: skip

    def value() -> str:
        path = f"/api/v1/namespaces/{shop.namespace}/configmaps/m"
        return str(kubes["c1"].get(path)["data"]["v"])

    ask("update", '{"who": "mia", "why": "from the CLI"}')
    shop.until(lambda: value() == "2" and shop.explain()["progress"] == "Instantiated")
    assert shop.get("operations")[0]["who"] == "mia"
    assert "No matching ContextId found" in ask("rollback", '{"revision": 9}')
    ask("rollback", '{"revision": 1}')
    shop.until(lambda: value() == "1" and shop.explain()["progress"] == "Instantiated")


@pytest.mark.parametrize(
    "archive",
    [
        chart("web", '{{ fail (printf "cannot use %s" .Values.password) }}'),
        chart(
            "web",
            config_map("x"),
            **{"values.schema.json": '{"properties": {"password": {"maxLength": 3}}}'},
        ),
        chart(
            "web",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: ['{{ .Values.password }}']}",
        ),
    ],
)
def test_a_failure_never_quotes_a_secret(
    shop: Shop, system: System, temporal_server: str, archive: bytes
) -> None:
    planted = "quoted-secret-value"
    shop.deployment({"web": archive}, {"web": ["c1"]}, web={"password": planted})
    assert shop.instantiate() == "InstantiateFailed"
    assert "web" in shop.explain()["message"]
    workflow = f"deployment/{shop.short}"
    history = temporal(temporal_server, "workflow", "show", "--workflow-id", workflow, "-o", "json")
    for place in (shop.client.get(f"{shop.url}/explain").text, _decoded(history), system.logs()):
        assert planted not in place


def _decoded(history: str) -> str:
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "data" and isinstance(inner, str):
                    found.append(base64.b64decode(inner).decode(errors="replace"))
                else:
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        else:
            found.append(str(value))

    walk(json.loads(history))
    return "\n".join(found)
