"""A cluster's half of the gates: its units wait at doors, and what they come to is told to the parent.

Delays are timers here, one for each unit that waits for its moment, so that they last through any
crash and the UI says what each is for.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from emco.domain import names
from emco.domain.contracts import (
    ClusterRef,
    FailureType,
    Milestone,
    News,
    Opening,
    Openings,
    Outline,
    Reached,
    Step,
)
from workflows.failures import end_all, is_unreachable, root_message, stop_if_cancelled


class _Door:
    """Where one unit waits. Once open it stays open."""

    def __init__(self) -> None:
        self.decided = asyncio.Event()
        self.error: ApplicationError | None = None
        self._timer: asyncio.Task[None] | None = None

    def turn(self, opening: Opening) -> None:
        """Do as the parent says, if it is not too late for that."""
        if self.decided.is_set():
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if opening.failure:
            self.fail(opening.failure, FailureType.REFUSED)
        elif opening.due is not None and opening.due > workflow.now():
            summary = f"{opening.app} starts {opening.why}"
            self._timer = asyncio.create_task(self._open_at(opening.due, summary))
        elif opening.due is not None:
            self.decided.set()

    def fail(self, message: str, kind: FailureType) -> None:
        """The unit never starts."""
        if not self.decided.is_set():
            self.error = ApplicationError(message, type=kind, non_retryable=True)
            self.decided.set()

    async def _open_at(self, due: datetime, summary: str) -> None:
        await workflow.sleep(due - workflow.now(), summary=summary)
        self.decided.set()


class Doors:
    """The doors of one cluster's part. Without any app that waits it does nothing at all."""

    def __init__(self, part: ClusterRef) -> None:
        self._part = part
        self._parent = workflow.info().parent
        self._is_used = part.gated is not None and self._parent is not None
        self._doors = {app: _Door() for app in part.gated or ()}
        self._needed = set(part.needed)
        self._fresh: list[Reached] = []
        self._aside: list[Reached] = []
        self._is_telling = False

    def hear(self, openings: Openings) -> None:
        """The parent's word; one about another operation is not for us."""
        if openings.operation != self._part.operation:
            return
        for opening in openings.gates:
            if opening.app in self._doors:
                self._doors[opening.app].turn(opening)
        if openings.needed is not None:
            self._needed = set(openings.needed)
            known, self._aside = self._aside, []
            self._note(known)

    async def opened(self, app: str) -> None:
        """Return when a unit may start; raises when it never may."""
        door = self._doors.get(app)
        if door is not None:
            await door.decided.wait()
            if door.error is not None:
                raise door.error

    def know(self, outline: Outline) -> None:
        """What was there before this operation, and since when."""
        for app, step in outline.steps.items():
            if step is Step.KEEP or (step is Step.AWAIT and app not in outline.hooked):
                self.reached(app, Milestone.DEPLOYED, at=outline.since.get(app))
            if step is Step.KEEP:
                self.reached(app, Milestone.READY, at=outline.since.get(app))

    def reached(
        self,
        app: str,
        milestone: Milestone,
        *,
        at: datetime | None = None,
        message: str = "",
    ) -> None:
        """A unit has come to something; with `at` it had before this operation."""
        if self._is_used:
            told = Reached(
                app=app,
                milestone=milestone,
                at=at or workflow.now(),
                kept=at is not None,
                message=message,
            )
            self._note([told])

    async def noting(self, app: str, work: Coroutine[Any, Any, None]) -> None:
        """Do a unit's work; that it fails is a milestone as well."""
        try:
            await work
        except Exception as error:
            if not is_cancelled_exception(error):
                how = Milestone.AWAY if is_unreachable(error) else Milestone.FAILED
                self.reached(app, how, message=root_message(error))
                if how is Milestone.AWAY:
                    self._shut(root_message(error))
            raise

    async def attend(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, and tell the parent everything before its end is told."""
        if not self._is_used:
            await work
            return
        telling = asyncio.create_task(self._tell())
        try:
            await work
        except asyncio.CancelledError:  # not `finally`: a workflow that is evicted cannot wait
            await end_all([telling])
            raise
        except Exception:
            await self._all_told()
            await end_all([telling])
            raise
        await self._all_told()
        await end_all([telling])

    def _shut(self, message: str) -> None:
        """The cluster is away: who still waits at a door need not find that out again."""
        for door in self._doors.values():
            door.fail(message, FailureType.UNREACHABLE)

    def _note(self, reached: Iterable[Reached]) -> None:
        for one in reached:
            (self._fresh if one.app in self._needed else self._aside).append(one)

    async def _tell(self) -> None:
        assert self._parent is not None  # noqa: S101 — without one the doors are not used
        handle = workflow.get_external_workflow_handle(self._parent.workflow_id)
        while True:
            news = News(
                operation=self._part.operation,
                cluster=self._part.cluster,
                sender=workflow.info().workflow_id,
                reached=tuple(self._fresh),
            )
            self._fresh, self._is_telling = [], True
            try:
                await handle.signal(names.MILESTONES_SIGNAL, news)
            except FailureError as gone:
                if is_cancelled_exception(gone):
                    raise
                workflow.logger.info(f"the parent does not listen any more: {gone}")
            self._is_telling = False
            stop_if_cancelled()
            await workflow.wait_condition(lambda: bool(self._fresh))

    async def _all_told(self) -> None:
        await workflow.wait_condition(lambda: not self._fresh and not self._is_telling)
