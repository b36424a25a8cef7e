"""Whether a namespace's quotas leave room for a plan. Pods are made by controllers later, so no
dry run finds out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from emco.domain.plan.model import Manifest

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([A-Za-z]+))?")
_SUFFIXES: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{s: Decimal(10) ** (3 * (i + 1)) for i, s in enumerate("kMGTPE")},
    **{f"{s}i": Decimal(1024) ** (i + 1) for i, s in enumerate("KMGTPE")},
}
_COUNTED: Final = {
    "Service": ("services", ""),
    "ConfigMap": ("configmaps", ""),
    "Secret": ("secrets", ""),
    "PersistentVolumeClaim": ("persistentvolumeclaims", ""),
    "ReplicationController": ("replicationcontrollers", ""),
    "Deployment": ("deployments", "apps"),
    "StatefulSet": ("statefulsets", "apps"),
    "DaemonSet": ("daemonsets", "apps"),
    "ReplicaSet": ("replicasets", "apps"),
    "Job": ("jobs", "batch"),
    "CronJob": ("cronjobs", "batch"),
    "Ingress": ("ingresses", "networking.k8s.io"),
}


Demand = dict[str, Decimal]
"""Amounts by the names that quotas give them: `pods`, `requests.cpu`, `count/deployments.apps` …"""


def quantity(text: Any) -> Decimal:
    """A Kubernetes quantity as a number; ValueError when it is none."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None or (match[3] or "") not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity")
    return Decimal(match[1] + (match[2] or "")) * _SUFFIXES[match[3] or ""]


def demand(objects: Iterable[Manifest]) -> Demand:
    """What the objects, and the pods that come of them, count against quotas of every name."""
    total: Demand = {}
    for item in objects:
        kind = item["kind"]
        if (counted := _COUNTED.get(kind)) is not None:
            plural, group = counted
            _add(total, f"count/{plural}.{group}" if group else f"count/{plural}", 1, 1)
            if not group:
                _add(total, plural, 1, 1)
        if kind == "PersistentVolumeClaim":
            requests = (item.get("spec") or {}).get("resources", {}).get("requests") or {}
            _add(total, "requests.storage", requests.get("storage"), 1)
        pods, spec = _pods(item)
        if pods:
            _add_pods(total, spec, pods)
    return total


def exceeded(
    wanted: Mapping[str, Decimal], had: Mapping[str, Decimal], quotas: Sequence[Mapping[str, Any]]
) -> list[str]:
    """A sentence for every limit that `wanted` in place of `had` would break."""
    found = []
    for quota in quotas:
        hard = (
            (quota.get("status") or {}).get("hard") or (quota.get("spec") or {}).get("hard") or {}
        )
        used = (quota.get("status") or {}).get("used") or {}
        for name, limit in sorted(hard.items()):
            more = wanted.get(name, Decimal(0)) - had.get(name, Decimal(0))
            total = quantity(used.get(name, "0")) + more
            if more > 0 and total > quantity(limit):
                found.append(
                    f"the quota {quota['metadata']['name']} allows {name} {limit}, "
                    f"{used.get(name, '0')} are used and {more.normalize():f} more are wanted"
                )
    return found


def _pods(item: Manifest) -> tuple[int, Mapping[str, Any]]:
    spec = item.get("spec") or {}
    match item["kind"]:
        case "Pod":
            return 1, spec
        case "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController":
            replicas = spec.get("replicas")
            return (1 if replicas is None else int(replicas)), _template(spec)
        case "Job":
            return int(spec.get("parallelism") or 1), _template(spec)
        case _:
            return 0, {}


def _template(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (spec.get("template") or {}).get("spec") or {}
    return found


def _add_pods(total: Demand, spec: Mapping[str, Any], pods: int) -> None:
    _add(total, "pods", 1, pods)
    _add(total, "count/pods", 1, pods)
    for container in spec.get("containers") or []:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        requests = {**limits, **(resources.get("requests") or {})}
        for name, value in requests.items():
            _add(total, f"requests.{name}", value, pods)
            if name in ("cpu", "memory"):
                _add(total, name, value, pods)
        for name, value in limits.items():
            _add(total, f"limits.{name}", value, pods)


def _add(total: Demand, name: str, value: Any, times: int) -> None:
    if value is not None:
        total[name] = total.get(name, Decimal(0)) + quantity(value) * times
