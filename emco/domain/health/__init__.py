"""Whether one live Kubernetes object is what its spec asks for: the kstatus rules, one function a kind.

Every verdict carries the reason of the object that decides it. The object's own rule goes first
(`expression`), then the rule of its kind; a kind without one is judged by its conditions, and is
current when it exists and has none. After kstatus
(https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus).
"""

from typing import Any, Final

from emco.domain.health import expression, gateway, istio, platform, workloads
from emco.domain.health.expression import check
from emco.domain.health.generic import by_conditions
from emco.domain.health.verdict import (
    NOT_OBSERVED,
    Health,
    Live,
    Rules,
    Verdict,
    group_of,
    is_behind,
    spec_of,
    status_of,
)
from emco.domain.health.workloads import WORKLOADS, pod_trouble, with_pods

__all__ = [
    "RULES",
    "SETTLED_KINDS",
    "WORKLOADS",
    "Health",
    "Verdict",
    "assess",
    "check",
    "essence",
    "pod_trouble",
    "with_pods",
]

RULES: Final[Rules] = {**workloads.RULES, **platform.RULES, **gateway.RULES, **istio.RULES}

SETTLED_KINDS: Final = frozenset(
    "ConfigMap Secret ServiceAccount Role RoleBinding ClusterRole ClusterRoleBinding LimitRange "
    "NetworkPolicy PriorityClass StorageClass IngressClass EndpointSlice Endpoints "
    "ValidatingWebhookConfiguration MutatingWebhookConfiguration".split()
)
"""Kinds that are current from the moment they exist: nobody works on them, so only their being
there is watched."""


def assess(live: Live) -> Health:
    """The verdict on one live object."""
    if live.get("metadata", {}).get("deletionTimestamp"):
        return Health(verdict=Verdict.TERMINATING, reason="Deleting", message="being deleted")
    if is_behind(live, status_of(live)):
        return NOT_OBSERVED
    if text := expression.expression_of(live):
        return expression.judge(text, live)
    return RULES.get((group_of(live), live.get("kind", "")), by_conditions)(live)


def essence(live: Live) -> dict[str, Any]:
    """What is needed of an object to judge it, show its state and tell whose it is: a fraction of it.

    A rule of the user's own may ask for anything, so that such an object stays whole.
    """
    metadata = {k: v for k, v in live["metadata"].items() if k not in _BULKY_METADATA}
    if expression.expression_of(live):
        return {**live, "metadata": metadata}
    kept = {field: live[field] for field in ("apiVersion", "kind", "status") if field in live}
    spec = {f: v for f, v in spec_of(live).items() if f not in _BULKY_SPEC}
    return {
        **kept,
        "metadata": {k: v for k, v in metadata.items() if k != "annotations"},
        **({"spec": spec} if spec else {}),
    }


_BULKY_METADATA: Final = frozenset({"managedFields"})
_BULKY_SPEC: Final = frozenset(
    "template jobTemplate volumeClaimTemplates versions containers initContainers volumes".split()
)
