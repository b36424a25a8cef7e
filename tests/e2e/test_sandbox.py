"""The ground holds: clusters come up side by side, never meet, and nothing outlives its owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from emco.sandbox import processes
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.sandbox.errors import SandboxError
from emco.sandbox.toolchain import Tools
from tests.e2e.system import Kube, config_map, deployment

ROOT = Path(__file__).resolve().parents[2]


def started_from(folder: Path) -> list[int]:
    """Every running process that was started for what is in `folder`."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in command.read_bytes():
                found.append(int(command.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [pid for pid in found if pid != os.getpid() and processes.is_running(pid)]


def test_kubeconfigs_stand_alone(clusters: list[ClusterInfo]) -> None:
    for info in clusters:
        document = yaml.safe_load(info.kubeconfig.read_text())
        (user,), (cluster,) = document["users"], document["clusters"]
        assert set(user["user"]) == {"client-certificate-data", "client-key-data"}
        assert set(cluster["cluster"]) == {"server", "certificate-authority-data"}
        assert info.kubeconfig.stat().st_mode & 0o077 == 0


def test_creating_what_runs_changes_nothing(
    sandbox: Sandbox, clusters: list[ClusterInfo], tools: Tools
) -> None:
    assert sandbox.create([info.name for info in clusters], tools) == clusters


def test_an_unknown_cluster_is_named_with_the_ones_there_are(
    sandbox: Sandbox, clusters: list[ClusterInfo]
) -> None:
    with pytest.raises(SandboxError, match=r"'c9' \(there are: c1, c2"):
        sandbox.get("c9")


@pytest.mark.parametrize("name", ["", "UPPER", "a/b", "-x", "x" * 60])
def test_a_name_that_cannot_be_one_is_refused(sandbox: Sandbox, tools: Tools, name: str) -> None:
    with pytest.raises(SandboxError, match="cannot name a cluster"):
        sandbox.create([name], tools)


def test_two_sandboxes_with_the_same_names_do_not_meet_and_leave_nothing(
    clusters: list[ClusterInfo], kubes: dict[str, Kube], tools: Tools, tmp_path: Path
) -> None:
    other = Sandbox(tmp_path / "other", owner=os.getpid())
    (info,) = other.create(["c1"], tools)
    kube = Kube(info)
    try:
        kube.post("/api/v1/namespaces/default/configmaps", config_map("only-here"))
        assert kubes["c1"].get("/api/v1/namespaces/default/configmaps/only-here") is None
    finally:
        kube.http.close()
    assert other.delete(["c1", "never-there"]) == ["c1"]
    assert not (tmp_path / "other").exists()
    assert started_from(tmp_path) == []
    assert clusters[0].is_running


def test_when_the_owner_is_killed_everything_ends(tools: Tools, tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path\n"
        "from emco.sandbox.clusters import Sandbox; from emco.sandbox.toolchain import Tools\n"
        f"tools = Tools({ {k: str(v) for k, v in tools.paths.items()}!r})\n"
        f"Sandbox(Path({str(tmp_path / 'owned')!r}), owner=os.getpid()).create(['x'], "
        "Tools({k: Path(v) for k, v in tools.paths.items()}))\n"
        "print('up', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert len(started_from(tmp_path / "owned")) >= 6
        owner.send_signal(signal.SIGKILL)
    assert processes.until(lambda: not started_from(tmp_path / "owned"), seconds=30)


def test_when_the_supervisor_is_killed_its_programs_die_with_it(
    tools: Tools, tmp_path: Path
) -> None:
    sandbox = Sandbox(tmp_path / "s", owner=os.getpid())
    (info,) = sandbox.create(["x"], tools)
    os.kill(info.supervisor, signal.SIGKILL)
    assert processes.until(lambda: not started_from(tmp_path / "s"), seconds=10)
    (again,) = sandbox.create(["x"], tools)
    assert again.server == info.server, "it comes back where it was"
    sandbox.delete(["x"])


def test_pods_follow_their_annotations(kubes: dict[str, Kube]) -> None:
    kube = kubes["c1"]
    namespace = f"stages-{os.getpid()}-{time.monotonic_ns()}"
    kube.post(
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
    )
    pods = f"/api/v1/namespaces/{namespace}/pods"
    prefix = "sandbox.emco.io"

    def pod(name: str, **annotations: str) -> None:
        spec = deployment(name)["spec"]["template"]["spec"]
        wanted = {f"{prefix}/{key.replace('_', '-')}": value for key, value in annotations.items()}
        metadata = {"name": name, "annotations": wanted}
        kube.post(
            pods,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": {**spec, "restartPolicy": "Never"},
            },
        )

    def phase(name: str) -> str:
        return str(kube.get(f"{pods}/{name}")["status"]["phase"])

    processes.until(
        lambda: kube.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default") is not None,
        seconds=10,
    )
    pod("plain")
    pod("never", ready="never")
    pod("once", completes="true")
    pod("broken", exit_code="3", message="no database", runs_for="0s")
    assert processes.until(lambda: phase("plain") == "Running", seconds=20)
    assert processes.until(lambda: phase("once") == "Succeeded", seconds=20)
    assert processes.until(lambda: phase("broken") == "Failed", seconds=20)
    ended = kube.get(f"{pods}/broken")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (3, "no database")
    assert phase("never") == "Pending"
    kube.http.delete(f"/api/v1/namespaces/{namespace}")


def test_a_failing_job_ends_failed_through_its_backoff_limit(kubes: dict[str, Kube]) -> None:
    kube = kubes["c2"]
    namespace = f"job-{os.getpid()}-{time.monotonic_ns()}"
    kube.post(
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
    )
    template = deployment("x")["spec"]["template"]["spec"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "bad"},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {
                    "annotations": {
                        "sandbox.emco.io/exit-code": "1",
                        "sandbox.emco.io/runs-for": "0s",
                    }
                },
                "spec": {**template, "restartPolicy": "Never"},
            },
        },
    }
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    kube.post(path, job)

    def failed() -> bool:
        conditions = kube.get(f"{path}/bad").get("status", {}).get("conditions") or []
        return any(c["type"] == "Failed" and c["status"] == "True" for c in conditions)

    assert processes.until(failed, seconds=30)
    kube.http.delete(f"/api/v1/namespaces/{namespace}")
