"""Kinds without a rule of their own: their conditions decide, and without any it is enough to exist."""

from emco.domain.health.verdict import (
    CURRENT,
    Health,
    Live,
    as_failed,
    as_told,
    conditions_of,
    stands,
    status_of,
)


def by_conditions(live: Live) -> Health:
    """`Stalled` fails; `Reconciling`, or a `Ready` or `Available` that is not true, is waited for."""
    conditions = conditions_of(status_of(live))
    if stands(conditions.get("Stalled"), "True"):
        return as_failed(conditions["Stalled"], "Stalled")
    if stands(conditions.get("Reconciling"), "True"):
        return as_told(conditions["Reconciling"], "Reconciling")
    for decisive in ("Ready", "Available"):
        if decisive in conditions and not stands(conditions[decisive], "True"):
            return as_told(conditions[decisive], f"Not{decisive}")
    return CURRENT
