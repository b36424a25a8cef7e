"""What workflows may ask of activities: one abstract class per group, one model in, one model out.

Workflows call these signatures; `activities/` implements them; tests fake them by subclassing.
Names, not secrets, and digests, not documents, travel here: everything in a model ends up in
workflow history. Fields are only ever added, and always with a default, because running
workflows replay what was written by older code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from temporalio import activity

from emco.domain.lifecycle import Verb


class Message(BaseModel):
    """Base of everything that crosses Temporal."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FailureType(StrEnum):
    """The `type` of an ApplicationError: what a workflow may decide by. The text is for people."""

    REFUSED = "Refused"
    """The store, the chart or the cluster says no; trying again changes nothing."""
    UNREACHABLE = "Unreachable"
    """A cluster does not answer; only its own units wait."""
    NOT_READY = "NotReady"
    """The world is not there yet (a namespace still terminating); trying again helps."""


class BeginRequest(Message):
    """Ask the store to accept a verb."""

    deployment: str
    verb: Verb
    operation: str
    adopt: bool = False
    """No other run of the deployment's workflow is open: whatever was under way is taken over."""


class Begun(Message):
    """The verb was accepted and recorded."""

    operation: str
    status_context_id: str = ""


class EndRequest(Message):
    """Record how an operation ended."""

    deployment: str
    verb: Verb
    operation: str
    failure: str = ""


class PlanRequest(Message):
    """Compute the plan of an operation."""

    deployment: str
    operation: str


class PlanSummary(Message):
    """The plan's digest and the clusters it touches (`provider+cluster`), in name order."""

    digest: str
    clusters: tuple[str, ...] = ()
    units: int = 0


class ClusterRef(Message):
    """One cluster's part of an operation. `plan` is empty when terminating."""

    deployment: str
    operation: str
    cluster: str
    plan: str = ""


class UnitRef(Message):
    """One app on one cluster."""

    deployment: str
    operation: str
    cluster: str
    app: str
    plan: str = ""


class Outline(Message):
    """The apps of one cluster's part, in the order in which they are started."""

    apps: tuple[str, ...] = ()


class UnitResult(Message):
    """How many objects a step dealt with; `note` is one line for the UI."""

    objects: int = 0
    note: str = ""


class Group:
    """Base of a group: an implementation serves under the names that its contract gives."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, method in list(vars(cls).items()):
            for contract in cls.__mro__[1:]:
                definition = getattr(vars(contract).get(name), _DEFINITION, None)
                if definition is not None and not hasattr(method, _DEFINITION):
                    activity.defn(name=definition.name)(method)

    def activities(self) -> list[Callable[..., Any]]:
        """The bound activities of this group, for a worker."""
        methods = (getattr(self, name) for name in dir(type(self)) if not name.startswith("_"))
        return [m for m in methods if hasattr(m, _DEFINITION)]


_DEFINITION = "__temporal_activity_definition"
"""Where `activity.defn` leaves its mark."""


class Records(Group, ABC):
    """The store's word on what was asked and how it ended."""

    @activity.defn(name="records.begin")
    @abstractmethod
    async def begin(self, request: BeginRequest) -> Begun:
        """Accept a verb. A second call with the same operation id changes nothing."""

    @activity.defn(name="records.end")
    @abstractmethod
    async def end(self, request: EndRequest) -> None:
        """Record the end. A second call, or one for an operation that was superseded, changes nothing."""


class Planning(Group, ABC):
    """From what is stored to what will be on the clusters."""

    @activity.defn(name="planning.plan")
    @abstractmethod
    async def plan(self, request: PlanRequest) -> PlanSummary:
        """Snapshot, place, render, store. The same operation always yields the plan first stored for it."""

    @activity.defn(name="planning.footprint")
    @abstractmethod
    async def footprint(self, request: PlanRequest) -> PlanSummary:
        """Every cluster where the deployment may have left something. Reads only."""

    @activity.defn(name="planning.outline")
    @abstractmethod
    async def outline(self, request: ClusterRef) -> Outline:
        """The apps of one cluster: of the plan, or of the footprint when `plan` is empty. Reads only."""


class Units(Group, ABC):
    """One app on one cluster."""

    @activity.defn(name="units.apply")
    @abstractmethod
    async def apply(self, unit: UnitRef) -> UnitResult:
        """Server-side apply of all objects; a second call with the same plan changes nothing."""

    @activity.defn(name="units.ready")
    @abstractmethod
    async def ready(self, unit: UnitRef) -> UnitResult:
        """Return when every object is ready. Only watches, so it may be repeated at will."""

    @activity.defn(name="units.remove")
    @abstractmethod
    async def remove(self, unit: UnitRef) -> UnitResult:
        """Delete what carries our mark and wait until it is gone; what is gone already is success."""

    @activity.defn(name="units.release")
    @abstractmethod
    async def release(self, cluster: ClusterRef) -> UnitResult:
        """Remove the namespace if we made it and nobody needs it; repeated calls change nothing."""
