"""Why a unit waits, down to the object that is to blame: read from the rows of all units."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from emco.domain.dependencies import Condition, Scope
from emco.domain.status import Awaited, Phase, Ready, UnitRow

MAX_ROOTS: Final = 10
"""Chains that are told of one unit; the rest are counted."""

_DEPLOYED: Final = frozenset({Phase.APPLIED, Phase.READY, Phase.DEGRADED, Phase.DRIFTED})
_READY: Final = frozenset({Phase.READY, Phase.DRIFTED})

Rows = Mapping[str, Sequence[UnitRow]]
"""App to its rows."""


def by_app(units: Iterable[UnitRow]) -> dict[str, list[UnitRow]]:
    """The rows as `blockers` wants them."""
    rows: dict[str, list[UnitRow]] = {}
    for unit in units:
        rows.setdefault(unit.app, []).append(unit)
    return rows


def blockers(unit: UnitRow, rows: Rows) -> list[str]:
    """One line for each root of the wait: the chain from the unit's own dependency down to it.

    A delay that runs has no blocker; it is told as what it counts from.
    """
    if unit.until is not None:
        return [f"{one.dependency}" for one in unit.awaits]
    told = list(_chains(unit, rows, {(unit.cluster, unit.app)}))
    more = [f"and {len(told) - MAX_ROOTS} more"] if len(told) > MAX_ROOTS else []
    return [*told[:MAX_ROOTS], *more]


def is_met(condition: Condition, row: UnitRow) -> bool:
    """True when a unit has come to what others wait for."""
    return row.phase in (_DEPLOYED if condition is Condition.DEPLOYED else _READY)


def unready(unit: UnitRow) -> list[str]:
    """The objects of a unit that are not ready, each with its reason."""
    waiting = (o for o in unit.objects if o.ready in (Ready.NOT_READY, Ready.NOT_PRESENT))
    return [f"{o.key}: {o.message}" if o.message else str(o.key) for o in waiting]


def _chains(unit: UnitRow, rows: Rows, seen: set[tuple[str, str]]) -> Iterator[str]:
    # Iterative: a chain may be as long as there are apps. Each late unit is told once.
    stack: list[tuple[UnitRow, tuple[str, ...]]] = [(unit, ())]
    while stack:
        current, links = stack.pop()
        for awaited in current.awaits:
            late = _late(current, awaited, rows)
            if not late:
                yield ", because ".join((*links, _settling(awaited)))
            for row in late:
                if (row.cluster, row.app) in seen:
                    continue
                seen.add((row.cluster, row.app))
                if row.phase is Phase.WAITING and row.awaits and row.until is None:
                    link = f"{awaited} waits on {row.cluster}"
                    stack.append((row, (*links, link)))
                else:
                    yield ", because ".join((*links, _told(awaited, row)))


def _late(unit: UnitRow, awaited: Awaited, rows: Rows) -> list[UnitRow]:
    found = rows.get(awaited.app, ())
    if awaited.dependency.scope is Scope.SAME_CLUSTER:
        found = [row for row in found if row.cluster == unit.cluster] or found
    if awaited.removal:
        return list(found)
    return [row for row in found if not is_met(awaited.dependency.condition, row)]


def _settling(awaited: Awaited) -> str:
    seconds = awaited.dependency.stable_for
    if seconds and not awaited.removal:
        return f"{awaited.app} has to stay Ready for {seconds} s"
    return f"{awaited} is about to be noticed"


def _told(awaited: Awaited, row: UnitRow) -> str:
    verb = "is still on" if awaited.removal else f"is not {awaited.dependency.condition} on"
    reasons = "; ".join(unready(row)) if row.phase is Phase.APPLIED else row.message
    until = f" until {row.until:%H:%M:%S}" if row.until else ""
    return f"{row.app} {verb} {row.cluster} ({row.phase}{until}){': ' if reasons else ''}{reasons}"
