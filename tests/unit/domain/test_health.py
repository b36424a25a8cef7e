"""One verdict per kind and situation, with the object's own reason."""

from typing import Any

import pytest

from emco.domain.health import Verdict, assess, pod_trouble

CURRENT, PROGRESS, FAILED = Verdict.CURRENT, Verdict.IN_PROGRESS, Verdict.FAILED


def live(
    api: str, kind: str, *, generation: int = 1, spec: Any = None, **status: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": spec or {},
    }
    if status:
        found["status"] = status
    return found


def condition(type_: str, status: str, **more: str) -> dict[str, str]:
    return {"type": type_, "status": status, **more}


def deployment(**status: Any) -> dict[str, Any]:
    return live("apps/v1", "Deployment", generation=2, spec={"replicas": 2}, **status)


ALL_UP = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("item", "verdict", "reason"),
    [
        (deployment(), PROGRESS, "NotObserved"),
        (deployment(observedGeneration=1, **ALL_UP), PROGRESS, "NotObserved"),
        (deployment(observedGeneration=2, **ALL_UP), CURRENT, ""),
        (deployment(observedGeneration=2, **{**ALL_UP, "updatedReplicas": 1}), PROGRESS, "Updating"),
        (deployment(observedGeneration=2, **{**ALL_UP, "replicas": 3}), PROGRESS, "Terminating"),
        (deployment(observedGeneration=2, **{**ALL_UP, "availableReplicas": 1}), PROGRESS, "NotAvailable"),
        (
            deployment(
                observedGeneration=2,
                conditions=[condition("Progressing", "False", reason="ProgressDeadlineExceeded")],
            ),
            FAILED,
            "ProgressDeadlineExceeded",
        ),
        (live("apps/v1", "Deployment", spec={"replicas": 0}, observedGeneration=1), CURRENT, ""),
        (live("apps/v1", "StatefulSet", spec={"replicas": 1}), PROGRESS, "NotObserved"),
        (
            live("apps/v1", "StatefulSet", spec={"replicas": 1}, observedGeneration=1, readyReplicas=1,
                 updatedReplicas=1, currentRevision="a", updateRevision="b"),
            PROGRESS,
            "Updating",
        ),
        (
            live("apps/v1", "StatefulSet", spec={"replicas": 1}, observedGeneration=1, readyReplicas=1,
                 updatedReplicas=1, currentRevision="b", updateRevision="b"),
            CURRENT,
            "",
        ),
        (
            live("apps/v1", "StatefulSet", spec={"replicas": 1, "updateStrategy": {"type": "OnDelete"}},
                 observedGeneration=1, readyReplicas=1),
            CURRENT,
            "",
        ),
        (live("apps/v1", "DaemonSet", observedGeneration=1, desiredNumberScheduled=2,
              updatedNumberScheduled=2, numberAvailable=1, numberReady=2), PROGRESS, "NotReady"),
        (live("apps/v1", "DaemonSet", observedGeneration=1, desiredNumberScheduled=0), CURRENT, ""),
        (live("batch/v1", "Job"), PROGRESS, "Running"),
        (live("batch/v1", "Job", conditions=[condition("Complete", "True")]), CURRENT, ""),
        (
            live("batch/v1", "Job", conditions=[condition("Failed", "True", reason="BackoffLimitExceeded")]),
            FAILED,
            "BackoffLimitExceeded",
        ),
        (live("v1", "Pod", phase="Running", conditions=[condition("Ready", "True")]), CURRENT, ""),
        (live("v1", "Pod", phase="Succeeded"), CURRENT, ""),
        (live("v1", "Pod", phase="Failed", reason="Evicted"), FAILED, "Evicted"),
        (
            live("v1", "Pod", phase="Pending",
                 containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
            PROGRESS,
            "ImagePullBackOff",
        ),
        (
            live("v1", "Pod", phase="Pending",
                 conditions=[condition("PodScheduled", "False", reason="Unschedulable")]),
            PROGRESS,
            "Unschedulable",
        ),
        (live("v1", "PersistentVolumeClaim", phase="Pending"), PROGRESS, "Pending"),
        (live("v1", "PersistentVolumeClaim", phase="Bound"), CURRENT, ""),
        (live("v1", "PersistentVolumeClaim", phase="Lost"), FAILED, "Lost"),
        (live("v1", "Service", spec={"type": "ClusterIP"}), CURRENT, ""),
        (live("v1", "Service", spec={"type": "LoadBalancer"}), PROGRESS, "NoAddress"),
        (
            live("v1", "Service", spec={"type": "LoadBalancer"}, loadBalancer={"ingress": [{"ip": "1.2.3.4"}]}),
            CURRENT,
            "",
        ),
        (live("apiextensions.k8s.io/v1", "CustomResourceDefinition"), PROGRESS, "Installing"),
        (
            live("apiextensions.k8s.io/v1", "CustomResourceDefinition",
                 conditions=[condition("NamesAccepted", "False", reason="ListKindConflict")]),
            FAILED,
            "ListKindConflict",
        ),
        (live("example.com/v1", "Widget"), CURRENT, ""),
        (live("example.com/v1", "Widget", conditions=[condition("Ready", "False", reason="Busy")]), PROGRESS, "Busy"),
        (live("example.com/v1", "Widget", conditions=[condition("Stalled", "True", reason="Broken")]), FAILED, "Broken"),
        (live("example.com/v1", "Widget", generation=2, observedGeneration=1), PROGRESS, "NotObserved"),
    ],
)  # fmt: skip
def test_verdict(item: dict[str, Any], verdict: Verdict, reason: str) -> None:
    found = assess(item)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_whatever_is_being_deleted_is_terminating() -> None:
    item = live("v1", "Service")
    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert assess(item).verdict is Verdict.TERMINATING


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        ({"containerStatuses": [{"state": {"running": {}}}]}, ""),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "Pod p: ImagePullBackOff",
        ),
        (
            {"initContainerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
            "Pod p: Error",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/2 nodes are available",
                    }
                ]
            },
            "Pod p: Unschedulable: 0/2 nodes are available",
        ),
        ({}, ""),
    ],
)
def test_what_keeps_a_pod_from_coming_up(status: dict[str, Any], told: str) -> None:
    assert pod_trouble({"metadata": {"name": "p"}, "status": status}) == told
