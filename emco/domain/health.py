"""Whether one live Kubernetes object is what its spec asks for: the kstatus rules, one function a kind.

Every verdict carries the reason of the object that decides it. A kind without a rule is judged
by its generic conditions, and is current when it exists and has none. After kstatus
(https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

Live = Mapping[str, Any]


class Verdict(StrEnum):
    """What can be said of one object."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"


class Health(BaseModel):
    """A verdict with the object's own reason and message."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reason: str = ""
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """True when nothing more is expected to happen."""
        return self.verdict is Verdict.CURRENT

    @property
    def told(self) -> str:
        """Reason and message in one line."""
        return ": ".join(part for part in (self.reason, self.message) if part)


CURRENT: Final = Health(verdict=Verdict.CURRENT)

SETTLED_KINDS: Final = frozenset(
    "ConfigMap Secret ServiceAccount Role RoleBinding ClusterRole ClusterRoleBinding LimitRange "
    "NetworkPolicy PriorityClass StorageClass IngressClass EndpointSlice Endpoints "
    "ValidatingWebhookConfiguration MutatingWebhookConfiguration".split()
)
"""Kinds that are current from the moment they exist: nobody works on them, so nobody watches them."""


def assess(live: Live) -> Health:
    """The verdict on one live object."""
    metadata = live.get("metadata", {})
    if metadata.get("deletionTimestamp"):
        return Health(verdict=Verdict.TERMINATING, reason="Deleting", message="being deleted")
    if (rule := _RULES.get((_group(live), live.get("kind", "")))) is None:
        return _by_conditions(live)
    observed = _status(live).get("observedGeneration")
    if observed is not None and observed < metadata.get("generation", 0):
        return _progress("NotObserved", "its controller has not seen the latest change yet")
    return rule(live)


def essence(live: Live) -> dict[str, Any]:
    """What is needed of an object to judge it, show its state and tell whose it is: a fraction of it."""
    kept = {field: live[field] for field in ("apiVersion", "kind", "status") if field in live}
    metadata = {f: live["metadata"][f] for f in _METADATA if f in live["metadata"]}
    spec = {f: v for f, v in _spec(live).items() if f not in _BULKY}
    return {**kept, "metadata": metadata, **({"spec": spec} if spec else {})}


_METADATA: Final = (
    "name namespace uid resourceVersion generation creationTimestamp deletionTimestamp labels "
    "ownerReferences"
).split()
_BULKY: Final = frozenset("template jobTemplate volumeClaimTemplates versions".split())


def pod_trouble(pod: Live) -> str:
    """Why a pod does not come up, in one line: `Pod x: ImagePullBackOff`; empty while it may yet.

    A container that is being created is no trouble; one that waits for anything else, or that
    ended with an error, is, and so is a pod that no node takes.
    """
    status, name = _status(pod), pod.get("metadata", {}).get("name", "")
    containers = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    for container in containers:
        state = container.get("state") or {}
        for told in (state.get("waiting") or {}, state.get("terminated") or {}):
            reason = told.get("reason") or ""
            if (reason and reason not in _PASSING_REASONS) or told.get("exitCode"):
                said = told.get("message") or ""
                return f"Pod {name}: {reason or 'Error'}" + (f": {said}" if said else "")
    scheduled = _conditions(pod).get("PodScheduled", {})
    if _is(scheduled, "False"):
        return f"Pod {name}: {scheduled.get('reason')}: {scheduled.get('message') or ''}"
    return ""


_PASSING_REASONS: Final = frozenset({"ContainerCreating", "PodInitializing", "Completed"})
WORKLOADS: Final = frozenset(
    "Deployment StatefulSet DaemonSet ReplicaSet Job ReplicationController".split()
)
"""Kinds whose readiness is that of their pods."""


def _group(live: Live) -> str:
    return str(live.get("apiVersion", "")).rpartition("/")[0]


def _status(live: Live) -> Mapping[str, Any]:
    return live.get("status") or {}


def _spec(live: Live) -> Mapping[str, Any]:
    return live.get("spec") or {}


def _conditions(live: Live) -> dict[str, Mapping[str, Any]]:
    return {
        c.get("type", ""): c for c in _status(live).get("conditions") or [] if isinstance(c, dict)
    }


def _progress(reason: str, message: str) -> Health:
    return Health(verdict=Verdict.IN_PROGRESS, reason=reason, message=message)


def _failed(condition: Mapping[str, Any], fallback: str) -> Health:
    return Health(
        verdict=Verdict.FAILED,
        reason=condition.get("reason") or fallback,
        message=condition.get("message") or "",
    )


def _is(condition: Mapping[str, Any] | None, value: str) -> bool:
    return condition is not None and condition.get("status") == value


def _by_conditions(live: Live) -> Health:
    conditions = _conditions(live)
    observed = _status(live).get("observedGeneration")
    if isinstance(observed, int) and observed < live.get("metadata", {}).get("generation", 0):
        return _progress("NotObserved", "its controller has not seen the latest change yet")
    if _is(stalled := conditions.get("Stalled"), "True"):
        return _failed(stalled or {}, "Stalled")
    if _is(reconciling := conditions.get("Reconciling"), "True"):
        return _progress("Reconciling", (reconciling or {}).get("message") or "")
    ready = conditions.get("Ready")
    if ready is not None and not _is(ready, "True"):
        return _progress(ready.get("reason") or "NotReady", ready.get("message") or "")
    return CURRENT


def _deployment(live: Live) -> Health:
    status, wanted = _status(live), _spec(live).get("replicas", 1)
    progressing = _conditions(live).get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed(progressing, "ProgressDeadlineExceeded")
    if "observedGeneration" not in status:
        return _progress("NotObserved", "waiting for the deployment controller")
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted:
        return _progress("Updating", f"{updated} of {wanted} replicas updated")
    if total > updated:
        return _progress("Terminating", f"{total - updated} old replicas are still there")
    if min(available, status.get("readyReplicas", 0)) < wanted:
        return _progress("NotAvailable", f"{available} of {wanted} replicas available")
    return CURRENT


def _replica_set(live: Live) -> Health:
    status, wanted = _status(live), _spec(live).get("replicas", 1)
    if _is(failure := _conditions(live).get("ReplicaFailure"), "True"):
        return _progress("ReplicaFailure", (failure or {}).get("message") or "")
    if (ready := min(status.get("readyReplicas", 0), status.get("availableReplicas", 0))) < wanted:
        return _progress("NotAvailable", f"{ready} of {wanted} replicas available")
    if status.get("replicas", 0) > wanted:
        return _progress("Terminating", "surplus replicas are still there")
    return CURRENT


def _stateful_set(live: Live) -> Health:
    spec, status = _spec(live), _status(live)
    wanted = spec.get("replicas", 1)
    strategy = spec.get("updateStrategy") or {}
    if "observedGeneration" not in status:
        return _progress("NotObserved", "waiting for the stateful set controller")
    if (ready := status.get("readyReplicas", 0)) < wanted:
        return _progress("NotReady", f"{ready} of {wanted} replicas ready")
    if strategy.get("type") == "OnDelete":
        return CURRENT
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if (updated := status.get("updatedReplicas", 0)) < wanted - partition:
        return _progress("Updating", f"{updated} of {wanted - partition} replicas updated")
    if not partition and status.get("currentRevision") != status.get("updateRevision"):
        return _progress("Updating", "not all replicas run the new revision yet")
    return CURRENT


def _daemon_set(live: Live) -> Health:
    status = _status(live)
    if "observedGeneration" not in status:
        return _progress("NotObserved", "waiting for the daemon set controller")
    wanted = status.get("desiredNumberScheduled", 0)
    on_delete = (_spec(live).get("updateStrategy") or {}).get("type") == "OnDelete"
    if not on_delete and (updated := status.get("updatedNumberScheduled", 0)) < wanted:
        return _progress("Updating", f"{updated} of {wanted} pods updated")
    if (ready := min(status.get("numberAvailable", 0), status.get("numberReady", 0))) < wanted:
        return _progress("NotReady", f"{ready} of {wanted} pods ready")
    return CURRENT


def _job(live: Live) -> Health:
    conditions = _conditions(live)
    if _is(failed := conditions.get("Failed"), "True"):
        return _failed(failed or {}, "Failed")
    if _is(conditions.get("Complete"), "True") or _is(conditions.get("Suspended"), "True"):
        return CURRENT
    status = _status(live)
    wanted = _spec(live).get("completions") or _spec(live).get("parallelism") or 1
    return _progress("Running", f"{status.get('succeeded', 0)} of {wanted} completions")


def _pod(live: Live) -> Health:
    status, conditions = _status(live), _conditions(live)
    phase = status.get("phase", "Pending")
    if phase == "Succeeded" or _is(conditions.get("Ready"), "True"):
        return CURRENT
    if phase == "Failed":
        return Health(
            verdict=Verdict.FAILED,
            reason=status.get("reason") or "PodFailed",
            message=status.get("message") or "the pod ended with an error",
        )
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason"):
            return _progress(waiting["reason"], waiting.get("message") or "")
    if _is(scheduled := conditions.get("PodScheduled"), "False"):
        return _progress(
            (scheduled or {}).get("reason") or "Unscheduled", (scheduled or {}).get("message") or ""
        )
    return _progress(phase, "the pod is not ready yet")


def _claim(live: Live) -> Health:
    phase = _status(live).get("phase", "Pending")
    if phase == "Bound":
        return CURRENT
    if phase == "Lost":
        return Health(verdict=Verdict.FAILED, reason="Lost", message="the volume is gone")
    return _progress(phase, "no volume is bound yet")


def _service(live: Live) -> Health:
    spec = _spec(live)
    if spec.get("type") != "LoadBalancer" or spec.get("externalIPs"):
        return CURRENT
    if (_status(live).get("loadBalancer") or {}).get("ingress"):
        return CURRENT
    return _progress("NoAddress", "the load balancer has no address yet")


def _definition(live: Live) -> Health:
    conditions = _conditions(live)
    names = conditions.get("NamesAccepted", {})
    if _is(names, "False"):
        return _failed(names, "NamesNotAccepted")
    if _is(conditions.get("Established"), "True"):
        return CURRENT
    return _progress("Installing", "not established yet")


def _disruption_budget(live: Live) -> Health:
    if "observedGeneration" not in _status(live):
        return _progress("NotObserved", "waiting for the disruption controller")
    return CURRENT


def _namespace(live: Live) -> Health:
    return CURRENT


_RULES: Final[Mapping[tuple[str, str], Callable[[Live], Health]]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
}
