"""What workflows may ask of activities: one abstract class per group, one model in, one model out.

Workflows call these signatures; `activities/` implements them; tests fake them by subclassing.
Names, not secrets, and digests, not documents, travel here: everything in a model ends up in
workflow history. Fields are only ever added, and always with a default, because running
workflows replay what was written by older code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from temporalio import activity

from emco.domain.dependencies import Dependency
from emco.domain.lifecycle import Outcome, Progress, Verb
from emco.domain.status import Awaited


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
    `gated` is true when some app waits for another, of those to come or of those to go.
    """

    digest: str
    clusters: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    units: int = 0
    gated: bool = False


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
    go_on: bool = False
    """A unit that fails ends only what waits for it."""
    gated: tuple[str, ...] | None = None
    """The apps that start on the parent's word only; None when no app of the operation waits."""
    needed: tuple[str, ...] = ()
    """The apps whose milestones the parent wants to know."""


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
    hooked: tuple[str, ...] = ()
    """The apps whose charts have hooks."""
    since: dict[str, datetime] = Field(default_factory=dict)
    """Since when those that need no apply are where they are; told when some app waits."""


class Stage(StrEnum):
    """What a unit goes through, as far as its hooks care."""

    APPLY = "apply"
    REMOVE = "remove"
    TEST = "test"


class HooksRequest(UnitRef):
    """Ask which hooks are to run around a stage of a unit."""

    stage: Stage = Stage.APPLY


class HookStep(Message):
    """One hook of an event; `title` is what people call it."""

    event: str
    index: int
    title: str


class HookPlan(Message):
    """The hooks before and after a stage, in Helm's order. `goal` is Helm's word for the stage."""

    goal: str = ""
    before: tuple[HookStep, ...] = ()
    after: tuple[HookStep, ...] = ()


class HookRef(UnitRef):
    """One hook of one unit. After the `last` of an event what hooks leave behind is tidied up."""

    goal: str
    event: str
    index: int
    last: bool = False


class UnitResult(Message):
    """How many objects a step dealt with; `note` is one line for the UI."""

    objects: int = 0
    note: str = ""


class GraphRequest(Message):
    """Ask who waits for whom: in a plan, as it is written now, or among what is to be removed.

    `removal` asks for what is on the clusters and not in the plan of `digest`; without a digest
    for everything that is there. `anew` asks for the dependencies as they are written now.
    """

    deployment: str
    digest: str = ""
    removal: bool = False
    anew: bool = False


class Graph(Message):
    """Who waits for whom, and where each of them is: app to clusters."""

    dependencies: tuple[Dependency, ...] = ()
    clusters: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class Milestone(StrEnum):
    """What a unit has come to, as far as others wait for it."""

    DEPLOYED = "deployed"
    READY = "ready"
    GONE = "gone"
    FAILED = "failed"
    AWAY = "away"
    """Its cluster does not answer, and the operation does not wait for it."""


class Reached(Message):
    """One unit's milestone. `kept` means that it was reached before this operation."""

    app: str
    milestone: Milestone
    at: datetime
    kept: bool = False
    message: str = ""


class News(Message):
    """What one cluster's part has come to since its last word; its first says that it listens.

    `sender` is the id of its workflow.
    """

    operation: str
    cluster: str
    sender: str
    reached: tuple[Reached, ...] = ()


class Opening(Message):
    """A gate's state as far as its unit has to know: shut, open from a moment on, or failed."""

    app: str
    due: datetime | None = None
    why: str = ""
    failure: str = ""


class Openings(Message):
    """The parent's word to one cluster's part. `needed` replaces what it wants to be told of."""

    operation: str
    gates: tuple[Opening, ...] = ()
    needed: tuple[str, ...] | None = None


class WaitingUnit(Message):
    """What is to be shown of a unit at its gate: what it waits for, or that it waits no more."""

    app: str
    cluster: str
    awaits: tuple[Awaited, ...] = ()
    until: datetime | None = None
    failure: str = ""


class Waiting(Message):
    """Gates whose state changed; `since` is when."""

    deployment: str
    since: datetime
    units: tuple[WaitingUnit, ...] = ()


class SteadyRequest(Message):
    """Watch one unit until it was ready for `seconds` without a break."""

    unit: UnitRef
    seconds: int


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


class Hooks(Group, ABC):
    """The hooks of one app on one cluster."""

    @activity.defn(name="hooks.begin")
    @abstractmethod
    async def begin(self, request: HooksRequest) -> HookPlan:
        """Begin the unit's release, and say which hooks run around it. A second call in the same
        operation, or in one that resumes it, begins nothing and says the same."""

    @activity.defn(name="hooks.run")
    @abstractmethod
    async def run(self, hook: HookRef) -> UnitResult:
        """Run one hook to its end, whatever became of earlier attempts to do so.

        One that has finished is not run again; one that is under way is waited for.
        """


class Gating(Group, ABC):
    """Who waits for whom, and how that is shown."""

    @activity.defn(name="gating.graph")
    @abstractmethod
    async def graph(self, request: GraphRequest) -> Graph:
        """The dependencies and where their apps are. Reads only."""

    @activity.defn(name="gating.show")
    @abstractmethod
    async def show(self, waiting: Waiting) -> None:
        """Write what units wait for into their rows; one that has started keeps its own.

        Repeated calls change nothing.
        """

    @activity.defn(name="gating.steady")
    @abstractmethod
    async def steady(self, request: SteadyRequest) -> UnitResult:
        """Return when every object of a unit was ready for so many seconds without a break.

        Only watches, so it may be repeated at will; the count begins anew after a crash.
        """


class Drift(Group, ABC):
    """What somebody else changed."""

    @activity.defn(name="drift.watch")
    @abstractmethod
    async def watch(self, cluster: ClusterRef) -> UnitResult:
        """Follow the deployment's objects on one cluster and mark the units that drift.

        Returns, with a note that says what, when something is to be healed; otherwise goes on
        until it is cancelled. Only looks, so it may be repeated at will.
        """


class StatusRef(Message):
    """One cluster, `provider+cluster`, whose objects are followed."""

    cluster: str = Field(pattern=r"^[^+]+\+[^+]+$")


class Followed(Message):
    """Why following ended: `unused` when no deployment has anything on the cluster any more."""

    unused: bool = False


class Status(Group, ABC):
    """What the clusters say of our objects, at any time."""

    @activity.defn(name="status.follow")
    @abstractmethod
    async def follow(self, cluster: StatusRef) -> Followed:
        """Write what becomes of every object of ours on one cluster, until it is unused or a day
        has passed. Only looks, and begins by comparing everything, so it may be repeated at will."""


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
