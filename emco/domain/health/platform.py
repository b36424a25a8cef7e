"""What Kubernetes itself brings around workloads: volumes, addresses, scaling, definitions."""

from typing import Final

from emco.domain.health.verdict import (
    CURRENT,
    Health,
    Live,
    Rules,
    as_failed,
    as_told,
    conditions_of,
    failed,
    progress,
    spec_of,
    stands,
    status_of,
)


def _claim(live: Live) -> Health:
    """Bound. A lost volume fails."""
    phase = status_of(live).get("phase", "Pending")
    if phase == "Bound":
        return CURRENT
    if phase == "Lost":
        return failed("Lost", "the volume is gone")
    return progress(phase, "no volume is bound yet")


def _volume(live: Live) -> Health:
    """Available, bound or released. Failed fails."""
    status = status_of(live)
    phase = status.get("phase", "Pending")
    if phase == "Failed":
        return failed(status.get("reason") or "Failed", status.get("message") or "")
    return progress(phase, "not available yet") if phase == "Pending" else CURRENT


def _service(live: Live) -> Health:
    """At once, but for a load balancer: when it has an address."""
    spec = spec_of(live)
    if spec.get("type") != "LoadBalancer" or spec.get("externalIPs"):
        return CURRENT
    return _address(live)


def _ingress(live: Live) -> Health:
    """When its load balancer has an address."""
    return _address(live)


def _address(live: Live) -> Health:
    if (status_of(live).get("loadBalancer") or {}).get("ingress"):
        return CURRENT
    return progress("NoAddress", "the load balancer has no address yet")


def _namespace(live: Live) -> Health:
    """When it exists."""
    return CURRENT


def _disruption_budget(live: Live) -> Health:
    """Observed, and as many pods healthy as it wants."""
    status = status_of(live)
    if "observedGeneration" not in status:
        return progress("NotObserved", "waiting for the disruption controller")
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if healthy < wanted:
        return progress("BudgetNotMet", f"{healthy} of {wanted} pods healthy")
    return CURRENT


def _autoscaler(live: Live) -> Health:
    """Able to scale, with something to go by; or its target is scaled to none by wish."""
    status = status_of(live)
    conditions = conditions_of(status)
    if stands(conditions.get("AbleToScale"), "False"):
        return as_told(conditions["AbleToScale"], "NotAbleToScale")
    active = conditions.get("ScalingActive")
    if active is not None and stands(active, "False") and active.get("reason") != "ScalingDisabled":
        return as_told(active, "ScalingNotActive")
    if not conditions and "observedGeneration" not in status:
        return progress("NotObserved", "waiting for the autoscaling controller")
    return CURRENT


def _definition(live: Live) -> Health:
    """Established. Names that are taken fail."""
    conditions = conditions_of(status_of(live))
    if stands(conditions.get("NamesAccepted"), "False"):
        return as_failed(conditions["NamesAccepted"], "NamesNotAccepted")
    if stands(conditions.get("Established"), "True"):
        return CURRENT
    return progress("Installing", "not established yet")


def _api_service(live: Live) -> Health:
    """Available."""
    available = conditions_of(status_of(live)).get("Available", {})
    return CURRENT if stands(available, "True") else as_told(available, "NotAvailable")


RULES: Final[Rules] = {
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}
