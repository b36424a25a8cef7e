"""What has to be done about each unit of one cluster: the difference between a plan and the records."""

from collections.abc import Sequence

from emco.domain.contracts import Outline, Step
from emco.domain.plan.model import Plan, UnitPlan
from emco.domain.releases import ReleaseRow, ReleaseStatus
from emco.domain.status import Footprint, Phase, UnitRow


def outline(
    plan: Plan,
    cluster: str,
    rows: Sequence[UnitRow],
    left: Sequence[Footprint],
    releases: Sequence[ReleaseRow] = (),
    *,
    force: bool = False,
) -> Outline:
    """The steps that bring a plan about on a cluster. With `force` drifted units are applied again.

    A unit that is ready but whose hooks have not all run is not done.
    """
    known = {row.app: row for row in rows}
    unfinished = {row.app for row in releases if row.status is not ReleaseStatus.DEPLOYED}
    units = plan.on(cluster)
    wanted = {key for unit in units for key in unit.objects}
    leftover = {one.app for one in left if not set(one.objects) <= wanted}
    apps = tuple(unit.app for unit in units)
    return Outline(
        apps=apps,
        steps={
            unit.app: _step(
                unit,
                known.get(unit.app),
                force=force,
                is_unfinished=unit.hooked and unit.app in unfinished,
            )
            for unit in units
        },
        prune=tuple(app for app in apps if app in leftover),
        hooked=() if force else tuple(unit.app for unit in units if unit.hooked),
    )


def outline_of_removal(
    plan: Plan | None,
    cluster: str,
    left: Sequence[Footprint],
    releases: Sequence[ReleaseRow] = (),
) -> Outline:
    """The apps that are on a cluster and not in the plan; all of them without one.

    An app whose objects are gone is not, as long as its release is there: a hook may be left to run.
    """
    stays = {unit.app for unit in plan.on(cluster)} if plan else set()
    apps = {one.app for one in left} | {row.app for row in releases}
    hooked = {row.app for row in releases if row.hooked}
    return Outline(apps=tuple(sorted(apps - stays)), hooked=tuple(sorted(hooked - stays)))


def _step(unit: UnitPlan, row: UnitRow | None, *, force: bool, is_unfinished: bool) -> Step:
    if row is None or row.applied != unit.manifest:
        return Step.APPLY
    if row.phase is Phase.DRIFTED:
        return Step.APPLY if force else Step.KEEP
    is_done = row.phase in (Phase.READY, Phase.DEGRADED) and not is_unfinished
    return Step.KEEP if is_done else Step.AWAIT
