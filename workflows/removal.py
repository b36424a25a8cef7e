"""One cluster's part of a removal: what the deployment put there goes away again.

Of a terminate that is everything; of an update it is the apps that the plan no longer puts there.
"""

import asyncio

from temporalio import workflow

from emco.domain import names
from emco.domain.contracts import (
    ClusterRef,
    Milestone,
    Openings,
    Planning,
    Stage,
    UnitRef,
    Units,
)
from workflows import options
from workflows.doors import Doors
from workflows.failures import all_of
from workflows.hooks import UnitHooks


@workflow.defn(name="ClusterRemoval")
class ClusterRemovalWorkflow:
    """Removes each app, then the namespace if it was ours and is no longer needed."""

    @workflow.init
    def __init__(self, part: ClusterRef) -> None:
        self._part = part
        self._doors = Doors(part)
        self._policy = options.MUTATE if part.patient else options.MUTATE_BRIEFLY
        self._slots = asyncio.Semaphore(options.UNITS_AT_ONCE)

    @workflow.run
    async def run(self, part: ClusterRef) -> int:
        """Remove every unit that is to go; returns how many. The others go on when one fails."""
        outline = await workflow.execute_local_activity_method(
            Planning.outline, part, **options.BOOKKEEPING
        )
        if workflow.cancellation_reason() is not None:  # which the steps so far may have swallowed
            raise asyncio.CancelledError
        workflow.set_current_details(f"removing {len(outline.apps)} apps from {part.cluster}")
        units = {
            app: self._doors.noting(app, self._unit(app, hooked=app in outline.hooked))
            for app in outline.apps
        }
        await self._doors.attend(all_of(units, f"on {part.cluster}", halt=False))
        await workflow.execute_activity_method(
            Units.release, part, summary=f"leave {part.cluster}", **self._policy
        )
        workflow.set_current_details(f"nothing is left on {part.cluster}")
        return len(outline.apps)

    @workflow.signal(name=names.GATES_SIGNAL, description="Which apps may go")
    def gates(self, openings: Openings) -> None:
        """The parent's word."""
        self._doors.hear(openings)

    async def _unit(self, app: str, *, hooked: bool) -> None:
        unit = UnitRef(**self._part.model_dump(), app=app)
        await self._doors.opened(app)
        hooks = await UnitHooks.of(unit, Stage.REMOVE, hooked=hooked, patient=self._part.patient)
        await hooks.before()
        async with self._slots:
            await workflow.execute_activity_method(
                Units.remove, unit, summary=f"remove {app} from {unit.cluster}", **self._policy
            )
        await hooks.after()
        self._doors.reached(app, Milestone.GONE)
