"""How the five programs of a sandbox cluster are called; everything listens on loopback only."""

import base64
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from emco.sandbox.toolchain import Tools

STAGES: Final = Path(__file__).with_name("stages")
SERVICE_RANGE: Final = "10.96.0.0/16"


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one cluster."""

    api: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int
    kubelet: int

    def as_dict(self) -> dict[str, int]:
        """For the cluster's description on disk."""
        return asdict(self)


LOGS: Final = "logs.yaml"
POD_LOG: Final = ("this pod is simulated", "it does nothing, and this is all it says")


def commands(folder: Path, ports: Ports, tools: Tools) -> dict[str, list[str]]:
    """Program to command line, in the order in which they are started."""
    pki = folder / "pki"
    kubeconfig = folder / "kubeconfig"
    etcd, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    return {
        "etcd": [
            str(tools["etcd"]),
            "--name=sandbox",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            "--auto-compaction-retention=1",
            # A sandbox has to survive the end of a process, not the loss of power.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            str(tools["kube-apiserver"]),
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={ports.api}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--tls-cert-file={pki / 'admin.crt'}",
            f"--tls-private-key-file={pki / 'admin.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--service-account-key-file={pki / 'sa.key'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=0",
            "--max-mutating-requests-inflight=0",
            "--endpoint-reconciler-type=none",
        ],
        "kube-controller-manager": [
            str(tools["kube-controller-manager"]),
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.controller_manager}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--leader-elect=false",
            "--kube-api-qps=5000",
            "--kube-api-burst=10000",
            "--node-monitor-grace-period=200s",
        ],
        "kube-scheduler": [
            str(tools["kube-scheduler"]),
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.scheduler}",
            "--leader-elect=false",
            "--kube-api-qps=5000",
            "--kube-api-burst=10000",
        ],
        "kwok": [
            str(tools["kwok"]),
            f"--kubeconfig={kubeconfig}",
            "--manage-all-nodes=true",
            *(f"--config={stage}" for stage in sorted(STAGES.glob("*.yaml"))),
            f"--config={folder / LOGS}",
            f"--tls-cert-file={pki / 'admin.crt'}",
            f"--tls-private-key-file={pki / 'admin.key'}",
            f"--node-port={ports.kubelet}",
            f"--server-address=127.0.0.1:{ports.kubelet}",
            "--node-lease-duration-seconds=200",
            "--v=WARN",
        ],
    }


def write_logs(folder: Path) -> None:
    """What every pod of the cluster has in its log, and where the simulated kubelet finds it."""
    log = folder / "pod.log"
    log.write_text("".join(f"2026-01-01T00:00:00Z stdout F {line}\n" for line in POD_LOG))
    document = {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "every-pod"},
        "spec": {"logs": [{"logsFile": str(log)}]},
    }
    (folder / LOGS).write_text(yaml.safe_dump(document))


def kubeconfig(name: str, folder: Path, ports: Ports) -> str:
    """A kubeconfig for the cluster's admin, certificates embedded: it can be copied anywhere."""
    pki = folder / "pki"
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": f"https://127.0.0.1:{ports.api}",
                    "certificate-authority-data": _embedded(pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": f"{name}-admin",
                "user": {
                    "client-certificate-data": _embedded(pki / "admin.crt"),
                    "client-key-data": _embedded(pki / "admin.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-admin"}}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def node(name: str) -> dict[str, Any]:
    """A node that the simulated kubelet looks after."""
    size = {"cpu": "1000", "memory": "1Ti", "pods": "100000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "status": {"allocatable": size, "capacity": size},
    }


def _embedded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
