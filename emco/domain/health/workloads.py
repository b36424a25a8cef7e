"""What runs pods, and pods themselves."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from emco.domain.health.verdict import (
    CURRENT,
    Health,
    Live,
    Rules,
    Verdict,
    as_failed,
    as_told,
    conditions_of,
    failed,
    progress,
    spec_of,
    stands,
    status_of,
)

WORKLOADS: Final = frozenset(
    "Deployment StatefulSet DaemonSet ReplicaSet Job ReplicationController".split()
)
"""Kinds whose readiness is that of their pods."""

MAX_PODS_TOLD: Final = 3
_PASSING_REASONS: Final = frozenset({"ContainerCreating", "PodInitializing", "Completed"})


def _deployment(live: Live) -> Health:
    """Observed, every replica updated, none of the old left, all available; or paused. Out of time fails."""
    status, wanted = status_of(live), spec_of(live).get("replicas", 1)
    progressing = conditions_of(status).get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return as_failed(progressing, "ProgressDeadlineExceeded")
    if "observedGeneration" not in status:
        return progress("NotObserved", "waiting for the deployment controller")
    if spec_of(live).get("paused"):
        return Health(
            verdict=Verdict.CURRENT, reason="Paused", message="nothing will be rolled out"
        )
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted:
        return progress("Updating", f"{updated} of {wanted} replicas updated")
    if total > updated:
        return progress("Terminating", f"{total - updated} old replicas are still there")
    if min(available, status.get("readyReplicas", 0)) < wanted:
        return progress("NotAvailable", f"{available} of {wanted} replicas available")
    return CURRENT


def _replica_set(live: Live) -> Health:
    """All replicas ready and available, none too many."""
    status, wanted = status_of(live), spec_of(live).get("replicas", 1)
    failure = conditions_of(status).get("ReplicaFailure")
    if failure is not None and stands(failure, "True"):
        return as_told(failure, "ReplicaFailure")
    if "observedGeneration" not in status:
        return progress("NotObserved", "waiting for the replication controller")
    if (ready := min(status.get("readyReplicas", 0), status.get("availableReplicas", 0))) < wanted:
        return progress("NotAvailable", f"{ready} of {wanted} replicas available")
    if status.get("replicas", 0) > wanted:
        return progress("Terminating", "surplus replicas are still there")
    return CURRENT


def _stateful_set(live: Live) -> Health:
    """All replicas ready, and those above the partition updated (unless updated on delete)."""
    spec, status = spec_of(live), status_of(live)
    wanted = spec.get("replicas", 1)
    strategy = spec.get("updateStrategy") or {}
    if "observedGeneration" not in status:
        return progress("NotObserved", "waiting for the stateful set controller")
    if (ready := status.get("readyReplicas", 0)) < wanted:
        return progress("NotReady", f"{ready} of {wanted} replicas ready")
    if strategy.get("type") == "OnDelete":
        return CURRENT
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if (updated := status.get("updatedReplicas", 0)) < wanted - partition:
        return progress("Updating", f"{updated} of {wanted - partition} replicas updated")
    if not partition and status.get("currentRevision") != status.get("updateRevision"):
        return progress("Updating", "not all replicas run the new revision yet")
    return CURRENT


def _daemon_set(live: Live) -> Health:
    """A pod on every node that should have one, updated (unless on delete), available."""
    status = status_of(live)
    if "observedGeneration" not in status:
        return progress("NotObserved", "waiting for the daemon set controller")
    wanted = status.get("desiredNumberScheduled", 0)
    on_delete = (spec_of(live).get("updateStrategy") or {}).get("type") == "OnDelete"
    if not on_delete and (updated := status.get("updatedNumberScheduled", 0)) < wanted:
        return progress("Updating", f"{updated} of {wanted} pods updated")
    if (ready := min(status.get("numberAvailable", 0), status.get("numberReady", 0))) < wanted:
        return progress("NotReady", f"{ready} of {wanted} pods ready")
    return CURRENT


def _job(live: Live) -> Health:
    """Complete, or suspended. Failed fails."""
    status = status_of(live)
    conditions = conditions_of(status)
    if stands(conditions.get("Failed"), "True"):
        return as_failed(conditions["Failed"], "Failed")
    if stands(conditions.get("Complete"), "True") or stands(conditions.get("Suspended"), "True"):
        return CURRENT
    wanted = spec_of(live).get("completions") or spec_of(live).get("parallelism") or 1
    return progress("Running", f"{status.get('succeeded', 0)} of {wanted} completions")


def _cron_job(live: Live) -> Health:
    """When it exists: what becomes of its Jobs is no matter of the schedule."""
    return CURRENT


def _pod(live: Live) -> Health:
    """Ready, or succeeded. Failed fails."""
    status = status_of(live)
    conditions, phase = conditions_of(status), status.get("phase", "Pending")
    if phase == "Failed":  # before its conditions: they may be of the time before
        message = status.get("message") or "the pod ended with an error"
        return failed(status.get("reason") or "PodFailed", message)
    if phase == "Succeeded" or stands(conditions.get("Ready"), "True"):
        return CURRENT
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason"):
            return progress(waiting["reason"], waiting.get("message") or "")
    if stands(conditions.get("PodScheduled"), "False"):
        return as_told(conditions["PodScheduled"], "Unscheduled")
    return progress(phase, "the pod is not ready yet")


def pod_trouble(pod: Live) -> str:
    """Why a pod does not come up, in one line: `Pod x: ImagePullBackOff`; empty while it may yet.

    A container that is being created is no trouble; one that waits for anything else, or that
    ended with an error, is, and so is a pod that no node takes.
    """
    status, name = status_of(pod), pod.get("metadata", {}).get("name", "")
    for container in _containers(status):
        state = container.get("state") or {}
        for told in (state.get("waiting") or {}, state.get("terminated") or {}):
            reason = told.get("reason") or ""
            if (reason and reason not in _PASSING_REASONS) or told.get("exitCode"):
                said = told.get("message") or ""
                return f"Pod {name}: {reason or 'Error'}" + (f": {said}" if said else "")
    scheduled = conditions_of(status).get("PodScheduled", {})
    if stands(scheduled, "False"):
        return f"Pod {name}: {scheduled.get('reason')}: {scheduled.get('message') or ''}"
    return ""


def with_pods(told: str, name: str, trouble: Mapping[str, str]) -> str:
    """What is told of a workload, and why its pods do not come up; `trouble` is by pod name."""
    owned = [said for pod, said in sorted(trouble.items()) if said and pod.startswith(f"{name}-")]
    return "; ".join(filter(None, (told, *owned[:MAX_PODS_TOLD])))


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


RULES: Final[Rules] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "Pod"): _pod,
}
