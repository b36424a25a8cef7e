"""Activities that remember what they were told and fail where a test says so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from emco.domain import lifecycle
from emco.domain.contracts import (
    BeginRequest,
    Begun,
    ClusterRef,
    EndRequest,
    FailureType,
    Outline,
    Planning,
    PlanRequest,
    PlanSummary,
    Records,
    UnitRef,
    UnitResult,
    Units,
)
from emco.domain.errors import EmcoError
from emco.domain.lifecycle import Action, Lifecycle, State

TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """What the fakes share: the record, what is on the clusters, and everything that happened."""

    clusters: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"edge+c1": ("frontend", "redis"), "edge+c2": ("cart",)}
    )
    life: Lifecycle = field(
        default_factory=lambda: Lifecycle(actions=(Action(state=State.APPROVED, time=TIME),))
    )
    present: set[tuple[str, str]] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)

    async def did(self, step: str) -> None:
        """Note a step; fail or wait where the test wants it."""
        self.log.append(step)
        if step in self.hold:
            while not self.hold[step].is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)
        if step in self.refuse:
            raise ApplicationError(self.refuse[step], type=FailureType.REFUSED, non_retryable=True)


class FakeRecords(Records):
    """The real transition table over a record in memory."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def begin(self, request: BeginRequest) -> Begun:
        life = self._world.life
        if life.operation != request.operation:
            try:
                self._world.life = lifecycle.accept(
                    life,
                    request.verb,
                    "d",
                    now=TIME,
                    operation=request.operation,
                    adopt=request.adopt,
                )
            except EmcoError as error:
                raise ApplicationError(
                    str(error), type=FailureType.REFUSED, non_retryable=True
                ) from None
        await self._world.did(f"begin {request.verb}")
        return Begun(operation=request.operation)

    async def end(self, request: EndRequest) -> None:
        if self._world.life.operation == request.operation:
            self._world.life = lifecycle.ended(
                self._world.life, request.verb, failure=request.failure
            )
        await self._world.did(f"end {request.verb}")


class FakePlanning(Planning):
    """Plans whatever the world says."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def plan(self, request: PlanRequest) -> PlanSummary:
        await self._world.did("plan")
        return PlanSummary(digest="d1", clusters=tuple(sorted(self._world.clusters)), units=3)

    async def footprint(self, request: PlanRequest) -> PlanSummary:
        return PlanSummary(digest="", clusters=tuple(sorted({c for c, _ in self._world.present})))

    async def outline(self, request: ClusterRef) -> Outline:
        if request.plan:
            return Outline(apps=self._world.clusters[request.cluster])
        return Outline(
            apps=tuple(sorted(a for c, a in self._world.present if c == request.cluster))
        )


class FakeUnits(Units):
    """Objects are entries of a set."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def apply(self, unit: UnitRef) -> UnitResult:
        self._world.present.add((unit.cluster, unit.app))
        await self._world.did(f"apply {unit.app}")
        return UnitResult(objects=1)

    async def ready(self, unit: UnitRef) -> UnitResult:
        await self._world.did(f"ready {unit.app}")
        return UnitResult(objects=1)

    async def remove(self, unit: UnitRef) -> UnitResult:
        await self._world.did(f"remove {unit.app}")
        self._world.present.discard((unit.cluster, unit.app))
        return UnitResult(objects=1)

    async def release(self, cluster: ClusterRef) -> UnitResult:
        await self._world.did(f"release {cluster.cluster}")
        return UnitResult()


def activities(world: World) -> list[Callable[..., Any]]:
    """Everything a worker needs to run our workflows against `world`."""
    groups = (FakeRecords(world), FakePlanning(world), FakeUnits(world))
    return [method for group in groups for method in group.activities()]
