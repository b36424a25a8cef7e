"""The hooks around one stage of a unit: which ones, and each as an activity that people see by name."""

from collections.abc import Sequence

from temporalio import workflow

from emco.domain.contracts import HookPlan, HookRef, Hooks, HooksRequest, HookStep, Stage, UnitRef
from workflows import options
from workflows.failures import stop_if_cancelled


class UnitHooks:
    """One unit's hooks before and after a stage; none for a chart without any."""

    def __init__(self, unit: UnitRef, found: HookPlan, *, patient: bool) -> None:
        self._unit, self._found, self._patient = unit, found, patient

    @classmethod
    async def of(
        cls, unit: UnitRef, stage: Stage, *, hooked: bool, patient: bool = True
    ) -> "UnitHooks":
        """Begin the stage, if the unit's chart has hooks at all. `patient` as in `ClusterRef`."""
        found = HookPlan()
        if hooked:
            found = await workflow.execute_local_activity_method(
                Hooks.begin,
                HooksRequest(**unit.model_dump(), stage=stage),
                **options.BOOKKEEPING,
            )
        return cls(unit, found, patient=patient)

    @property
    def are_after(self) -> bool:
        """Whether some are left to run once the objects are dealt with."""
        return bool(self._found.after)

    async def before(self) -> None:
        """Run what comes before the objects, one after the other."""
        await self._run(self._found.before)

    async def after(self) -> None:
        """Run what comes after them."""
        await self._run(self._found.after)

    async def _run(self, steps: Sequence[HookStep]) -> None:
        for step in steps:
            await workflow.execute_activity_method(
                Hooks.run,
                HookRef(
                    **self._unit.model_dump(),
                    goal=self._found.goal,
                    event=step.event,
                    index=step.index,
                    last=step is steps[-1],
                ),
                summary=f"{step.title} on {self._unit.cluster}",
                **(options.HOOK if self._patient else options.HOOK_BRIEFLY),
            )
            stop_if_cancelled()
