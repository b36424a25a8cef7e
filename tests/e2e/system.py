"""The whole system as its own processes, and what a test needs to drive it over HTTP."""

import io
import json
import signal
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import yaml

from emco.sandbox import processes
from emco.sandbox.clusters import ClusterInfo

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 60
LIVE = ("Instantiating", "Terminating")


@dataclass
class System:
    """`emco api` and `emco worker` over one database and one Temporal server."""

    data: Path
    temporal: str
    helm: Path
    database: str = ""
    queue: str = "emco"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beside those that every system has."""
    faults: Path | None = None
    """Where a worker looks that halts when it is told to."""

    def start(self, *names: str) -> None:
        """Start `api`, `worker` or both, and wait until they serve."""
        self.port = self.port or processes.free_ports(1)[0]
        environment = {
            "EMCO_DATA": str(self.data),
            "EMCO_PORT": str(self.port),
            "EMCO_STATUS_PORT": "0",
            "EMCO_TEMPORAL_ADDRESS": self.temporal,
            "EMCO_DATABASE_URL": self.database,
            "EMCO_TASK_QUEUE": self.queue,
            "EMCO_TOOLS": str(self.helm.parent),
            "EMCO_LOG_FORMAT": "json",
            "EMCO_CANCEL_WITHIN": "1",
            "EMCO_NOTICES_ALLOW": "127.0.0.0/8",
            "PYTHONPATH": str(ROOT),
            **self.settings,
        }
        for name in names or ("api", "worker"):
            command = [sys.executable, "-m", "emco.cli.app", name]
            if name == "worker" and self.faults is not None:
                command = [sys.executable, "-m", "tests.e2e.faulty_worker", str(self.faults)]
            log = self.data / f"{name}.log"
            self.processes[name] = processes.start(command, log=log, environment=environment)
        if "api" in self.processes:
            assert processes.until(self._answers, seconds=WAIT_SECONDS), self.logs()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def kill(self, name: str) -> None:
        """As a crash would: no handler runs."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def stop(self) -> None:
        """End everything in order."""
        for process in reversed(self.processes.values()):
            processes.stop(process)
        self.client.close()

    def logs(self) -> str:
        """Everything the processes wrote."""
        return "\n".join(path.read_text() for path in sorted(self.data.glob("*.log")))

    @cached_property
    def client(self) -> httpx.Client:
        """A client for /v2."""
        base = f"http://127.0.0.1:{self.port}/v2"
        return httpx.Client(base_url=base, timeout=40, trust_env=False)


class Shop:
    """One project with a cloud over given clusters, and verbs to deploy charts in it."""

    def __init__(self, client: httpx.Client, name: str, namespace: str) -> None:
        self.client, self.name, self.namespace = client, name, namespace
        self.app_version = "v1"

    @property
    def short(self) -> str:
        """The deployment as the CLI and Temporal write it."""
        return f"{self.name}/app/{self.app_version}/d"

    @property
    def app_url(self) -> str:
        return f"/projects/{self.name}/composite-apps/app/{self.app_version}"

    @property
    def url(self) -> str:
        """The deployment."""
        return f"{self.app_url}/deployment-intent-groups/d"

    def post(self, path: str, name: str, spec: Any = None, file: bytes | None = None) -> None:
        """Create a resource; the test fails when it is refused."""
        body = {"metadata": {"name": name}, "spec": spec or {}}
        if file is None:
            answer = self.client.post(path, json=body)
        else:
            parts: Mapping[str, Any] = {
                "metadata": (None, json.dumps(body)),
                "file": ("filename", file, "application/octet-stream"),
            }
            answer = self.client.post(path, files=parts)
        assert answer.status_code == 201, answer.text

    def cloud(self, clusters: Mapping[str, str]) -> None:
        """A provider of the project's own with these clusters (name to kubeconfig), and a cloud over them."""
        self.post("/projects", self.name)
        self.post("/cluster-providers", self.name)
        spec = {"level": "0", "namespace": self.namespace, "labels": {"team": self.name}}
        self.post(f"/projects/{self.name}/logical-clouds", "cloud", spec)
        for cluster, kubeconfig in clusters.items():
            self.post(f"/cluster-providers/{self.name}/clusters", cluster, file=kubeconfig.encode())
            self.post(
                f"/projects/{self.name}/logical-clouds/cloud/cluster-references",
                cluster,
                {"clusterProvider": self.name, "cluster": cluster},
            )
        answer = self.client.post(f"/projects/{self.name}/logical-clouds/cloud/instantiate")
        assert answer.status_code == 202, answer.text

    def deployment(
        self, apps: Mapping[str, bytes], on: Mapping[str, list[str]], **values: dict[str, str]
    ) -> None:
        """A composite app of these charts, placed on the named clusters, and approved."""
        self.describe(apps, on, **values)
        self.verb("approve")

    def describe(
        self, apps: Mapping[str, bytes], on: Mapping[str, list[str]], **values: dict[str, str]
    ) -> None:
        """The same, not approved yet."""
        version = {"compositeAppVersion": self.app_version}
        self.post(f"/projects/{self.name}/composite-apps", "app", version)
        self.post(f"{self.app_url}/composite-profiles", "none")
        for app, archive in apps.items():
            self.post(f"{self.app_url}/apps", app, file=archive)
        overrides = [{"app": app, "values": given} for app, given in values.items()]
        spec = {
            "compositeProfile": "none",
            "version": "r1",
            "logicalCloud": "cloud",
            "overrideValues": overrides,
        }
        self.post(f"{self.app_url}/deployment-intent-groups", "d", spec)
        self.post(f"{self.url}/generic-placement-intents", "where")
        for app, clusters in on.items():
            wanted = [{"clusterProvider": self.name, "cluster": c} for c in clusters]
            self.post(
                f"{self.url}/generic-placement-intents/where/app-intents",
                app,
                {"app": app, "intent": {"allOf": wanted}},
            )
        self.post(f"{self.url}/intents", "intents", {"intent": {"genericPlacementIntent": "where"}})

    def version(
        self, version: str, apps: Mapping[str, bytes], on: Mapping[str, list[str]]
    ) -> "Shop":
        """Another version of the composite app, described but not approved."""
        other = Shop(self.client, self.name, self.namespace)
        other.app_version = version
        other.describe(apps, on)
        return other

    def verb(self, verb: str, body: Any = None, **query: str) -> httpx.Response:
        """Ask for an operation; the test fails when it is refused."""
        answer = self.client.post(f"{self.url}/{verb}", json=body, params=query)
        assert answer.status_code == 202, answer.text
        return answer

    def begin(self, verb: str, body: Any = None) -> threading.Thread:
        """Ask for an operation without waiting for the answer: something may stand in its way.

        Whoever gets no answer asks again, as people do; the thread ends with the answer.
        """

        def ask() -> None:
            asked = f"{self.client.base_url}{self.url[1:]}/{verb}"
            while True:
                with suppress(httpx.HTTPError):
                    answer = httpx.post(asked, json=body, timeout=40, trust_env=False)
                    if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        return
                time.sleep(0.5)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        return asking

    def change(self, app: str, archive: bytes) -> None:
        """Replace the chart of an app."""
        body = {"metadata": {"name": app}, "spec": {}}
        parts: Mapping[str, Any] = {
            "metadata": (None, json.dumps(body)),
            "file": ("filename", archive, "application/octet-stream"),
        }
        answer = self.client.put(f"{self.app_url}/apps/{app}", files=parts)
        assert answer.is_success, answer.text

    def place(self, app: str, clusters: list[str]) -> None:
        """Move an app to these clusters."""
        wanted = [{"clusterProvider": self.name, "cluster": c} for c in clusters]
        body = {"metadata": {"name": app}, "spec": {"app": app, "intent": {"allOf": wanted}}}
        url = f"{self.url}/generic-placement-intents/where/app-intents/{app}"
        answer = self.client.put(url, json=body)
        assert answer.is_success, answer.text

    def policies(self, **policies: Any) -> None:
        """Change how its operations behave."""
        body = self.client.get(self.url).json()
        body["spec"]["policies"] = policies
        answer = self.client.put(self.url, json=body)
        assert answer.is_success, answer.text

    def update(self) -> str:
        """Update and wait."""
        self.verb("update")
        return self.settle()

    def rollback(self, revision: int) -> str:
        """Roll back and wait."""
        self.verb("rollback", {"spec": {"revision": str(revision)}})
        return self.settle()

    def get(self, what: str, **query: str) -> Any:
        """An answer about the deployment."""
        answer = self.client.get(f"{self.url}/{what}", params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def status(self, query: str = "status=ready") -> dict[str, Any]:
        """EMCO's status."""
        answer = self.client.get(f"{self.url}/status?{query}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def explain(self) -> dict[str, Any]:
        """Progress, message and units."""
        found: dict[str, Any] = self.client.get(f"{self.url}/explain").json()
        return found

    def progress(self) -> str:
        """Just the progress, without any unit: cheap to ask often."""
        answer = self.client.get(f"{self.url}/status?status=deployed&output=summary")
        return str(answer.json().get("deployedStatus"))

    def settle(self) -> str:
        """Wait until no operation runs; the progress then."""
        self.until(lambda: self.explain()["progress"] not in LIVE)
        return str(self.explain()["progress"])

    def until(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Wait; fail with what the deployment says of itself."""
        assert processes.until(condition, seconds=seconds, pause=0.1), self.explain()

    def instantiate(self) -> str:
        """Instantiate and wait."""
        self.verb("instantiate")
        return self.settle()

    def terminate(self) -> str:
        """Terminate and wait."""
        self.verb("terminate")
        return self.settle()


class Kube:
    """A look at one cluster, past emco, with kubectl's own eyes: plain HTTP."""

    def __init__(self, info: ClusterInfo) -> None:
        pki = info.folder / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self.info = info
        self.context = context
        self.http = httpx.Client(base_url=info.server, verify=context, timeout=10, trust_env=False)

    def get(self, path: str) -> Any:
        """The object or list at an API path, None when there is none."""
        answer = self.http.get(path)
        return None if answer.status_code == 404 else answer.json()

    def post(self, path: str, document: Any) -> Any:
        """Create an object past emco."""
        answer = self.http.post(path, json=document)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def patch(self, path: str, document: Any) -> None:
        """Change an object past emco."""
        content = json.dumps(document)
        merge = {"Content-Type": "application/merge-patch+json"}
        answer = self.http.patch(path, content=content, headers=merge)
        assert answer.is_success, answer.text

    def names(self, plural: str, namespace: str, api: str = "api/v1") -> list[str]:
        """Names of the objects of one kind in a namespace."""
        listing = self.get(f"/{api}/namespaces/{namespace}/{plural}")
        return sorted(item["metadata"]["name"] for item in listing["items"])


def chart(name: str, *manifests: Any, values: Any = None, **files: str) -> bytes:
    """A chart archive whose templates are these manifests (objects, or template text)."""
    content = {
        "Chart.yaml": yaml.safe_dump({"apiVersion": "v2", "name": name, "version": "0.1.0"}),
        "values.yaml": yaml.safe_dump(values or {}),
        **{path.replace("__", "/"): text for path, text in files.items()},
    }
    for number, manifest in enumerate(manifests):
        text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
        content[f"templates/{number}.yaml"] = text
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in content.items():
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size, member.mtime = len(text.encode()), int(time.time())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(
    name: str, *, annotations: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": dict(annotations or {})},
                "spec": {"containers": [{"name": "main", "image": "example.com/main:1"}]},
            },
            **spec,
        },
    }


def pack(folder: Path, name: str) -> bytes:
    """A chart folder as an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, name)
    return buffer.getvalue()
