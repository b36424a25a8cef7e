"""What workflows may ask of activities: one abstract class per group, one model in, one model out.

Workflows call these signatures; `activities/` implements them; tests fake them by subclassing.
Names, not secrets, and digests, not documents, travel here: everything in a model ends up in
workflow history. Fields are only ever added, and always with a default, because running
workflows replay what was written by older code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from temporalio import activity

from emco.domain.lifecycle import Outcome, Progress, Verb


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


class Rules(Message):
    """The deployment's policies, as far as a workflow decides by them."""

    on_failure: Literal["hold", "continue", "rollback"] = "hold"
    preflight: Literal["all", "per-cluster", "strict"] = "all"
    drift: Literal["off", "warn", "heal"] = "off"


class BeginRequest(Message):
    """Ask the store to accept a verb."""

    deployment: str
    verb: Verb
    operation: str
    adopt: bool = False
    """No other run of the deployment's workflow is open: whatever was under way is taken over."""
    supersede: bool = False
    """It may take the place of a running operation."""
    plan_digest: str = ""
    """Apply exactly the plan that was shown under this digest."""
    revision: int = 0
    """The revision to roll back to."""
    target: str = ""
    """The deployment to migrate to."""
    who: str = ""
    why: str = ""


class Begun(Message):
    """The verb was accepted and recorded. `verb` is what is to be brought about: never a resume."""

    operation: str
    status_context_id: str = ""
    verb: Verb = Verb.INSTANTIATE
    revision: int = 0
    queued: bool = False
    base: str = ""
    """Digest of the plan that was in effect before; empty when none was."""
    rules: Rules = Rules()


class EndRequest(Message):
    """Record how an operation ended."""

    deployment: str
    verb: Verb
    operation: str
    failure: str = ""
    outcome: Outcome = Outcome.DONE


class Ended(Message):
    """What the record says after an operation ended."""

    progress: Progress = Progress.CREATED


class PlanRequest(Message):
    """Compute the plan of an operation; `digest` says which one it is, when that is decided."""

    deployment: str
    operation: str
    digest: str = ""
    verb: Verb = Verb.INSTANTIATE
    revision: int = 0


class PlanSummary(Message):
    """The plan's digest and the clusters it touches (`provider+cluster`), in name order.

    `leaving` are the clusters on which the deployment has apps that the plan no longer puts there.
    """

    digest: str
    clusters: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    units: int = 0


class PreviewRequest(Message):
    """Show what an operation would do: an update to what is described now, or to a revision."""

    deployment: str
    revision: int = 0


class Preview(Message):
    """Digest of the report's blob, and the digest by which the plan can be asked for."""

    digest: str
    report: str


class ClusterRef(Message):
    """One cluster's part of an operation. `plan` is empty when terminating."""

    deployment: str
    operation: str
    cluster: str
    plan: str = ""
    preflight: bool = False
    """Nothing goes on there before the cluster has said that all is well, however long it is away."""
    leaving: bool = False
    """Remove only what the plan no longer puts there."""
    patient: bool = True
    """Wait for a cluster that does not answer, however long."""
    force: bool = False
    """Take fields back from whoever changed them."""


class UnitRef(Message):
    """One app on one cluster."""

    deployment: str
    operation: str
    cluster: str
    app: str
    plan: str = ""
    leaving: bool = False
    force: bool = False


class Step(StrEnum):
    """What has to be done about a unit."""

    APPLY = "apply"
    AWAIT = "await"
    """It was applied already; only its readiness is waited for."""
    KEEP = "keep"
    """It is there and ready."""


class Listening(Message):
    """One subscription, as project/name."""

    subscription: str


class Standing(StrEnum):
    """Whether a listener is to be told anything."""

    LISTENING = "listening"
    PAUSED = "paused"
    DISABLED = "disabled"
    GONE = "gone"


class Delivered(Message):
    """How far a listener has come, and in how many seconds it is to be tried again."""

    standing: Standing = Standing.LISTENING
    cursor: int = 0
    again_in: float = 0
    note: str = ""


class Tried(Message):
    """What came of telling a listener a test event; `failure` is empty when it took it."""

    failure: str = ""


class Outline(Message):
    """The apps of one cluster's part, in the order in which they are started.

    An app without a step is applied. `prune` are the apps that leave objects behind.
    """

    apps: tuple[str, ...] = ()
    steps: dict[str, Step] = Field(default_factory=dict)
    prune: tuple[str, ...] = ()


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

    @activity.defn(name="records.queue")
    @abstractmethod
    async def queue(self, request: BeginRequest) -> None:
        """Note that a verb waits for its turn. Repeated calls change nothing."""

    @activity.defn(name="records.hand_over")
    @abstractmethod
    async def hand_over(self, request: BeginRequest) -> Begun:
        """Give the deployment to `target`, whose migrate begins. A second call changes nothing."""

    @activity.defn(name="records.rules")
    @abstractmethod
    async def rules(self, request: PlanRequest) -> Rules:
        """The deployment's policies as they are now. Reads only."""

    @activity.defn(name="records.end")
    @abstractmethod
    async def end(self, request: EndRequest) -> Ended:
        """Record the end. A second call changes nothing, and one for an operation that was
        superseded changes only what is remembered of that operation."""


class Planning(Group, ABC):
    """From what is stored to what will be on the clusters."""

    @activity.defn(name="planning.plan")
    @abstractmethod
    async def plan(self, request: PlanRequest) -> PlanSummary:
        """Snapshot, place, render, store. The same operation always yields the plan first stored for it."""

    @activity.defn(name="planning.claim")
    @abstractmethod
    async def claim(self, request: PlanRequest) -> None:
        """Write down what will be on the clusters, before anything is. Repeated calls add nothing."""

    @activity.defn(name="planning.preview")
    @abstractmethod
    async def preview(self, request: PreviewRequest) -> Preview:
        """Plan without an operation, and say what would change. Touches no cluster."""

    @activity.defn(name="planning.footprint")
    @abstractmethod
    async def footprint(self, request: PlanRequest) -> PlanSummary:
        """Every cluster where the deployment may have left something. Reads only."""

    @activity.defn(name="planning.outline")
    @abstractmethod
    async def outline(self, request: ClusterRef) -> Outline:
        """The apps of one cluster and what has to be done about each. Reads only.

        Of the plan; of the footprint when `plan` is empty; of what is in the footprint and not in
        the plan when the request is `leaving`.
        """


class Units(Group, ABC):
    """One app on one cluster."""

    @activity.defn(name="units.preflight")
    @abstractmethod
    async def preflight(self, cluster: ClusterRef) -> UnitResult:
        """Fail with everything that would be refused on one cluster. Changes nothing there.

        A cluster that does not answer is waited for only when the request says `preflight`.
        """

    @activity.defn(name="units.apply")
    @abstractmethod
    async def apply(self, unit: UnitRef) -> UnitResult:
        """Server-side apply of all objects; a second call with the same plan changes nothing."""

    @activity.defn(name="units.ready")
    @abstractmethod
    async def ready(self, unit: UnitRef) -> UnitResult:
        """Return when every object is ready. Only watches, so it may be repeated at will."""

    @activity.defn(name="units.prune")
    @abstractmethod
    async def prune(self, unit: UnitRef) -> UnitResult:
        """Delete the unit's objects that the plan no longer has; what is gone already is success."""

    @activity.defn(name="units.remove")
    @abstractmethod
    async def remove(self, unit: UnitRef) -> UnitResult:
        """Delete what carries our mark and wait until it is gone; what is gone already is success."""

    @activity.defn(name="units.release")
    @abstractmethod
    async def release(self, cluster: ClusterRef) -> UnitResult:
        """Remove the namespace if we made it and nobody needs it; repeated calls change nothing."""


class Drift(Group, ABC):
    """What somebody else changed."""

    @activity.defn(name="drift.watch")
    @abstractmethod
    async def watch(self, cluster: ClusterRef) -> UnitResult:
        """Follow the deployment's objects on one cluster and mark the units that drift.

        Returns, with a note that says what, when something is to be healed; otherwise goes on
        until it is cancelled. Only looks, so it may be repeated at will.
        """


class Notices(Group, ABC):
    """Telling listeners."""

    @activity.defn(name="notices.deliver")
    @abstractmethod
    async def deliver(self, listening: Listening) -> Delivered:
        """Tell one listener what is new, for as long as all goes well, and wait for more.

        Returns when the listener is to be left alone for a while, and every hour. The cursor in
        the store says what was told, so a second call goes on there; what was told after the
        cursor was last written is told again, under the same ids.
        """

    @activity.defn(name="notices.test")
    @abstractmethod
    async def test(self, listening: Listening) -> Tried:
        """Tell one listener a test event, once. A second call tells another one."""
