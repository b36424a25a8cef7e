"""Gateway API: whoever implements a class says per gateway, and per route and gateway, what became of it.

Nothing here fails for good: what is refused now may be taken as soon as the other side is applied.
"""

from collections.abc import Mapping
from typing import Any, Final

from emco.domain.health.verdict import (
    CURRENT,
    NOT_OBSERVED,
    Health,
    Live,
    Rules,
    as_told,
    conditions_of,
    is_behind,
    progress,
    spec_of,
    stands,
    status_of,
)

_GROUP: Final = "gateway.networking.k8s.io"


def _gateway_class(live: Live) -> Health:
    """Accepted."""
    return _all_stand(live, status_of(live), "Accepted")


def _gateway(live: Live) -> Health:
    """Accepted and programmed, as it is now."""
    return _all_stand(live, status_of(live), "Accepted", "Programmed")


def _route(live: Live) -> Health:
    """Every parent it names has taken it and found what it refers to."""
    parents = status_of(live).get("parents") or []
    for parent in parents:
        verdict = _all_stand(live, parent, "Accepted", "ResolvedRefs")
        if not verdict.is_ready:
            name = (parent.get("parentRef") or {}).get("name", "")
            return progress(verdict.reason, f"{name}: {verdict.message}")
    wanted = len(spec_of(live).get("parentRefs") or [])
    if len(parents) < wanted:
        return progress("NotObserved", f"{len(parents)} of {wanted} parents have looked at it")
    return CURRENT


def _all_stand(live: Live, holder: Mapping[str, Any], *types: str) -> Health:
    conditions = conditions_of(holder)
    for name in types:
        condition = conditions.get(name)
        if condition is None:
            return progress("NotObserved", f"no controller has said whether it is {name}")
        if is_behind(live, condition):
            return NOT_OBSERVED
        if not stands(condition, "True"):
            return as_told(condition, f"Not{name}")
    return CURRENT


RULES: Final[Rules] = {
    (_GROUP, "GatewayClass"): _gateway_class,
    (_GROUP, "Gateway"): _gateway,
    **{(_GROUP, f"{name}Route"): _route for name in ("HTTP", "GRPC", "TLS", "TCP", "UDP")},
}
