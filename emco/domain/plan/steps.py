"""What has to be done about each unit of one cluster: the difference between a plan and the records."""

from collections.abc import Sequence

from emco.domain.contracts import Outline, Step
from emco.domain.plan.model import Plan, UnitPlan
from emco.domain.status import Footprint, Phase, UnitRow


def outline(
    plan: Plan,
    cluster: str,
    rows: Sequence[UnitRow],
    left: Sequence[Footprint],
    *,
    force: bool = False,
) -> Outline:
    """The steps that bring a plan about on a cluster. With `force` drifted units are applied again."""
    known = {row.app: row for row in rows}
    units = plan.on(cluster)
    wanted = {key for unit in units for key in unit.objects}
    leftover = {one.app for one in left if not set(one.objects) <= wanted}
    apps = tuple(unit.app for unit in units)
    return Outline(
        apps=apps,
        steps={unit.app: _step(unit, known.get(unit.app), force=force) for unit in units},
        prune=tuple(app for app in apps if app in leftover),
    )


def outline_of_removal(plan: Plan | None, cluster: str, left: Sequence[Footprint]) -> Outline:
    """The apps that are on a cluster and not in the plan; all of them without one."""
    stays = {unit.app for unit in plan.on(cluster)} if plan else set()
    return Outline(apps=tuple(sorted({one.app for one in left} - stays)))


def _step(unit: UnitPlan, row: UnitRow | None, *, force: bool) -> Step:
    if row is None or row.applied != unit.manifest:
        return Step.APPLY
    if row.phase is Phase.DRIFTED:
        return Step.APPLY if force else Step.KEEP
    return Step.KEEP if row.phase in (Phase.READY, Phase.DEGRADED) else Step.AWAIT
