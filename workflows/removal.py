"""One cluster's part of a terminate: everything the deployment ever put there goes away again."""

import asyncio

from temporalio import workflow

from emco.domain.contracts import ClusterRef, Planning, UnitRef, Units
from workflows import options
from workflows.failures import raise_first


@workflow.defn(name="ClusterRemoval")
class ClusterRemovalWorkflow:
    """Removes each app, then the namespace if it was ours and is no longer needed."""

    @workflow.init
    def __init__(self, part: ClusterRef) -> None:
        self._part = part
        self._slots = asyncio.Semaphore(options.UNITS_AT_ONCE)

    @workflow.run
    async def run(self, part: ClusterRef) -> int:
        """Remove every unit in the footprint; returns how many."""
        outline = await workflow.execute_local_activity_method(
            Planning.outline, part, **options.BOOKKEEPING
        )
        workflow.set_current_details(f"removing {len(outline.apps)} apps from {part.cluster}")
        results = await asyncio.gather(
            *(self._unit(app) for app in outline.apps), return_exceptions=True
        )
        raise_first(dict(zip(outline.apps, results, strict=True)), f"on {part.cluster}")
        await workflow.execute_activity_method(
            Units.release, part, summary=f"leave {part.cluster}", **options.MUTATE
        )
        workflow.set_current_details(f"nothing is left on {part.cluster}")
        return len(outline.apps)

    async def _unit(self, app: str) -> None:
        unit = UnitRef(**self._part.model_dump(), app=app)
        async with self._slots:
            await workflow.execute_activity_method(
                Units.remove, unit, summary=f"remove {app} from {unit.cluster}", **options.MUTATE
            )
