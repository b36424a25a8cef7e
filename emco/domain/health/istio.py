"""Istio's kinds: they work as soon as they exist, unless istiod is set to write down what it thinks.

Then its findings count: an error (a host or gateway that is not there) is waited for, since what is
missing may still come; a warning is not.
"""

from typing import Final

from emco.domain.health.verdict import (
    CURRENT,
    Health,
    Live,
    Rules,
    as_told,
    conditions_of,
    progress,
    stands,
    status_of,
)

_KINDS: Final = {
    "networking.istio.io": "VirtualService DestinationRule Gateway ServiceEntry Sidecar "
    "WorkloadEntry WorkloadGroup EnvoyFilter ProxyConfig",
    "security.istio.io": "PeerAuthentication RequestAuthentication AuthorizationPolicy",
    "telemetry.istio.io": "Telemetry",
    "extensions.istio.io": "WasmPlugin",
}


def _by_findings(live: Live) -> Health:
    """When it exists, unless istiod writes an error, or that not all proxies have it yet."""
    status = status_of(live)
    for finding in status.get("validationMessages") or []:
        if finding.get("level") == "ERROR":
            code = (finding.get("type") or {}).get("code") or "Invalid"
            return progress(code, (finding.get("type") or {}).get("name") or "")
    reconciled = conditions_of(status).get("Reconciled")
    if reconciled is not None and not stands(reconciled, "True"):
        return as_told(reconciled, "NotReconciled")
    return CURRENT


RULES: Final[Rules] = {
    (group, kind): _by_findings for group, kinds in _KINDS.items() for kind in kinds.split()
}
