"""One cluster's part of an operation that brings a plan about: every app of the plan, side by side."""

import asyncio

from temporalio import workflow

from emco.domain.contracts import ClusterRef, Planning, UnitRef, Units
from workflows import options
from workflows.failures import raise_first


@workflow.defn(name="ClusterRollout")
class ClusterRolloutWorkflow:
    """apply -> deployed -> ready, for each app of one cluster."""

    @workflow.init
    def __init__(self, part: ClusterRef) -> None:
        self._part = part
        self._steps: dict[str, str] = {}
        self._slots = asyncio.Semaphore(options.UNITS_AT_ONCE)
        self._window = asyncio.Semaphore(options.UNITS_IN_FLIGHT)

    @workflow.run
    async def run(self, part: ClusterRef) -> int:
        """Bring every unit to ready; returns how many. Fails when any unit fails, after all ended."""
        outline = await workflow.execute_local_activity_method(
            Planning.outline, part, **options.BOOKKEEPING
        )
        self._steps = dict.fromkeys(outline.apps, "waiting")
        self._tell()
        results = await asyncio.gather(
            *(self._unit(app) for app in outline.apps), return_exceptions=True
        )
        raise_first(dict(zip(outline.apps, results, strict=True)), f"on {part.cluster}")
        return len(outline.apps)

    @workflow.query(name="units", description="App to the step it is at")
    def units(self) -> dict[str, str]:
        """What each app is doing right now."""
        return dict(self._steps)

    async def _unit(self, app: str) -> None:
        unit = UnitRef(**self._part.model_dump(), app=app)
        async with self._window:
            async with self._slots:
                self._step(app, "applying")
                await workflow.execute_activity_method(
                    Units.apply, unit, summary=f"apply {app} on {unit.cluster}", **options.MUTATE
                )
            self._step(app, "applied")
            await workflow.execute_activity_method(
                Units.ready,
                unit,
                summary=f"wait until {app} is ready on {unit.cluster}",
                **options.WAIT,
            )
            self._step(app, "ready")

    def _step(self, app: str, step: str) -> None:
        self._steps[app] = step
        self._tell()

    def _tell(self) -> None:
        ready = sum(step == "ready" for step in self._steps.values())
        lines = [f"**{ready} of {len(self._steps)} apps ready** on {self._part.cluster}", ""]
        lines += [f"- {app}: {step}" for app, step in sorted(self._steps.items())]
        workflow.set_current_details("\n".join(lines))
