"""One cluster's part of an operation that brings a plan about: every app of the plan, side by side."""

import asyncio

from temporalio import workflow

from emco.domain import names
from emco.domain.contracts import (
    ClusterRef,
    Milestone,
    Openings,
    Outline,
    Planning,
    Stage,
    Step,
    UnitRef,
    Units,
)
from workflows import options
from workflows.doors import Doors
from workflows.failures import all_of, stop_if_cancelled
from workflows.hooks import UnitHooks

_TOLD = {Step.APPLY: "waiting", Step.AWAIT: "applied", Step.KEEP: "unchanged"}


@workflow.defn(name="ClusterRollout")
class ClusterRolloutWorkflow:
    """hooks -> apply -> ready -> hooks -> prune, for each app of one cluster that is not there yet."""

    @workflow.init
    def __init__(self, part: ClusterRef) -> None:
        self._part = part
        self._doors = Doors(part)
        self._steps: dict[str, str] = {}
        self._slots = asyncio.Semaphore(options.UNITS_AT_ONCE)
        self._window = asyncio.Semaphore(options.UNITS_IN_FLIGHT)

    @workflow.run
    async def run(self, part: ClusterRef) -> int:
        """Bring every unit to ready; returns how many.

        The first failure ends what is under way, or only what waits for it if the part is to go on.
        """
        if part.preflight:
            workflow.set_current_details(f"looking whether {part.cluster} will take it")
            await workflow.execute_activity_method(
                Units.preflight, part, summary=f"preflight {part.cluster}", **options.ASK
            )
        outline = await workflow.execute_local_activity_method(
            Planning.outline, part, **options.BOOKKEEPING
        )
        if workflow.cancellation_reason() is not None:  # which the steps so far may have swallowed
            raise asyncio.CancelledError
        self._steps = {app: _TOLD[_step(outline, app)] for app in outline.apps}
        self._tell()
        self._doors.know(outline)
        units = {app: self._doors.noting(app, self._unit(app, outline)) for app in outline.apps}
        await self._doors.attend(all_of(units, f"on {part.cluster}", halt=not part.go_on))
        return len(outline.apps)

    @workflow.query(name="units", description="App to the step it is at")
    def units(self) -> dict[str, str]:
        """What each app is doing right now."""
        return dict(self._steps)

    @workflow.signal(name=names.GATES_SIGNAL, description="Which apps may start, and when")
    def gates(self, openings: Openings) -> None:
        """The parent's word."""
        self._doors.hear(openings)

    async def _unit(self, app: str, outline: Outline) -> None:
        unit = UnitRef(**self._part.model_dump(), app=app)
        step = _step(outline, app)
        if step is Step.KEEP and app not in outline.prune:
            return
        if step is Step.APPLY:
            await self._doors.opened(app)
        async with self._window:
            if step is not Step.KEEP:
                await self._bring_up(unit, step, hooked=app in outline.hooked)
            if app in outline.prune:
                stop_if_cancelled()
                self._step(app, "pruning")
                await workflow.execute_activity_method(
                    Units.prune,
                    unit,
                    summary=f"remove what {app} no longer has on {unit.cluster}",
                    **options.MUTATE,
                )
            self._step(app, "ready")

    async def _bring_up(self, unit: UnitRef, step: Step, *, hooked: bool) -> None:
        hooks = await UnitHooks.of(unit, Stage.APPLY, hooked=hooked)
        if step is Step.APPLY:
            self._step(unit.app, "hooks before")
            await hooks.before()
            await self._apply(unit)
            stop_if_cancelled()
        if not hooks.are_after and (step is Step.APPLY or hooked):
            self._doors.reached(unit.app, Milestone.DEPLOYED)
        self._step(unit.app, "applied")
        await workflow.execute_activity_method(
            Units.ready,
            unit,
            summary=f"wait until {unit.app} is ready on {unit.cluster}",
            **options.WAIT,
        )
        if hooks.are_after:
            self._step(unit.app, "hooks after")
            await hooks.after()
            self._doors.reached(unit.app, Milestone.DEPLOYED)
        self._doors.reached(unit.app, Milestone.READY)

    async def _apply(self, unit: UnitRef) -> None:
        async with self._slots:
            self._step(unit.app, "applying")
            await workflow.execute_activity_method(
                Units.apply,
                unit,
                summary=f"apply {unit.app} on {unit.cluster}",
                **options.MUTATE,
            )

    def _step(self, app: str, step: str) -> None:
        self._steps[app] = step
        self._tell()

    def _tell(self) -> None:
        ready = sum(step in ("ready", "unchanged") for step in self._steps.values())
        lines = [f"**{ready} of {len(self._steps)} apps ready** on {self._part.cluster}", ""]
        lines += [f"- {app}: {step}" for app, step in sorted(self._steps.items())]
        workflow.set_current_details("\n".join(lines))


def _step(outline: Outline, app: str) -> Step:
    return outline.steps.get(app, Step.APPLY)
