"""Real Kubernetes control planes on this machine: named, created side by side, listed, deleted.

A sandbox is a folder. Whatever its clusters are and where they listen is written there, so two
sandboxes with different folders never meet. Only the kubelet is simulated (kwok); the API server,
its admission, controllers and scheduler are the real ones.
"""

import json
import os
import re
import shutil
import ssl
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from emco.sandbox import controlplane, pki, processes
from emco.sandbox.errors import SandboxError
from emco.sandbox.toolchain import Tools

READY_SECONDS: Final = 60
NODES: Final = 2
_NAME: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$")


@dataclass(frozen=True)
class ClusterInfo:
    """One cluster of a sandbox."""

    name: str
    folder: Path
    server: str
    supervisor: int

    @property
    def is_running(self) -> bool:
        """True while its programs are held by a supervisor."""
        return processes.is_running(self.supervisor)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with everything embedded."""
        return self.folder / "kubeconfig"


class Sandbox:
    """The clusters below one folder."""

    def __init__(self, folder: Path, *, owner: int = 0) -> None:
        """With an `owner`, a process id, every cluster started here ends when that process ends."""
        self._folder, self._owner = folder, owner

    def create(self, names: Sequence[str], tools: Tools) -> list[ClusterInfo]:
        """Start the named clusters side by side; those that run already stay as they are.

        Raises `SandboxError` naming the cluster and its logs when one does not come up.
        """
        for name in names:
            if not _NAME.match(name):
                raise SandboxError(
                    f"'{name}' cannot name a cluster: use lower case letters, digits and dashes"
                )
        with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
            return list(pool.map(lambda name: self._create(name, tools), names))

    def all(self) -> list[ClusterInfo]:
        """Every cluster of the sandbox, by name, running or not."""
        found = sorted((self._folder / "clusters").glob("*/cluster.json"))
        return [_read(path) for path in found]

    def get(self, name: str) -> ClusterInfo:
        """One cluster; `SandboxError` listing the others when there is none of that name."""
        for info in self.all():
            if info.name == name:
                return info
        others = ", ".join(info.name for info in self.all()) or "none"
        raise SandboxError(
            f"There is no sandbox cluster '{name}' (there are: {others}).\n"
            f"Create it with `emco sandbox create {name}`"
        )

    def delete(self, names: Sequence[str]) -> list[str]:
        """Stop the clusters and remove every file of theirs; returns those that were there."""
        there = [info for info in self.all() if info.name in set(names)]
        with ThreadPoolExecutor(max_workers=max(1, len(there))) as pool:
            list(pool.map(_delete, there))
        if not self.all():
            shutil.rmtree(self._folder, ignore_errors=True)
        return [info.name for info in there]

    def _create(self, name: str, tools: Tools) -> ClusterInfo:
        folder = self._folder / "clusters" / name
        description = folder / "cluster.json"
        if description.exists() and (info := _read(description)).is_running:
            _await_ready(info)
            return info
        if not description.exists():
            shutil.rmtree(folder, ignore_errors=True)  # a creation that was killed half-way
            pki.create(folder / "pki")
            _describe(name, folder, controlplane.Ports(*processes.free_ports(6)), tools, 0)
        return self._start(name, folder, tools)

    def _start(self, name: str, folder: Path, tools: Tools) -> ClusterInfo:
        ports = controlplane.Ports(**json.loads((folder / "cluster.json").read_text())["ports"])
        _describe(name, folder, ports, tools, 0)
        command = [sys.executable, "-m", "emco.sandbox.supervisor", str(folder), str(self._owner)]
        root = str(Path(__file__).resolve().parents[2])
        supervisor = processes.start_detached(
            command, log=folder / "logs" / "supervisor.log", environment={"PYTHONPATH": root}
        )
        _describe(name, folder, ports, tools, supervisor)
        info = _read(folder / "cluster.json")
        try:
            _await_ready(info)
            _create_nodes(info)
        except BaseException:
            processes.end(supervisor)
            raise
        return info


def _describe(name: str, folder: Path, ports: controlplane.Ports, tools: Tools, pid: int) -> None:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(controlplane.kubeconfig(name, folder, ports))
    controlplane.write_logs(folder)
    document = {
        "name": name,
        "ports": ports.as_dict(),
        "tools": {tool: str(path) for tool, path in tools.paths.items()},
        "supervisor": pid,
    }
    fresh = folder / f".cluster.json.{os.getpid()}"
    fresh.write_text(json.dumps(document, indent=1))
    fresh.replace(folder / "cluster.json")


def _read(description: Path) -> ClusterInfo:
    document = json.loads(description.read_text())
    return ClusterInfo(
        name=document["name"],
        folder=description.parent,
        server=f"https://127.0.0.1:{document['ports']['api']}",
        supervisor=document["supervisor"],
    )


def _delete(info: ClusterInfo) -> None:
    if info.supervisor and info.is_running:
        processes.end(info.supervisor, seconds=30)
    shutil.rmtree(info.folder, ignore_errors=True)


def _client(info: ClusterInfo) -> httpx.Client:
    folder = info.folder / "pki"
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    return httpx.Client(base_url=info.server, verify=context, timeout=5, trust_env=False)


def _await_ready(info: ClusterInfo) -> None:
    with _client(info) as client:

        def is_ready() -> bool:
            if not info.is_running:
                return False
            try:
                # The default service account marks a working controller manager.
                account = "/api/v1/namespaces/default/serviceaccounts/default"
                return client.get("/readyz").status_code == 200 and client.get(account).is_success
            except httpx.HTTPError:
                return False

        if not processes.until(is_ready, seconds=READY_SECONDS):
            raise SandboxError(
                f"The sandbox cluster '{info.name}' did not come up within {READY_SECONDS} s.\n"
                f"Its logs are in {info.folder / 'logs'}"
            )


def _create_nodes(info: ClusterInfo) -> None:
    with _client(info) as client:
        for number in range(NODES):
            node = controlplane.node(f"node-{number}")
            answer = client.post("/api/v1/nodes", json=node)
            if answer.status_code not in (201, 409):
                raise SandboxError(f"'{info.name}' refuses a node: {answer.text}")
