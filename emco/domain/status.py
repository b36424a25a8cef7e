"""How far each unit and each of its objects has come, and how EMCO's status JSON is folded from it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.dependencies import Dependency


class Phase(StrEnum):
    """Where one unit is on its way."""

    PENDING = "Pending"
    WAITING = "Waiting"
    APPLYING = "Applying"
    APPLIED = "Applied"
    RUNNING_HOOK = "RunningHook"
    READY = "Ready"
    DEGRADED = "Degraded"
    """It was ready and is not any more, without anybody having changed it."""
    RETRYING = "Retrying"
    FAILED = "Failed"
    DRIFTED = "Drifted"
    REMOVING = "Removing"
    REMOVED = "Removed"


class Deployed(StrEnum):
    """EMCO's `deployedStatus` of one object."""

    PENDING = "Pending"
    APPLIED = "Applied"
    FAILED = "Failed"
    RETRYING = "Retrying"
    DELETED = "Deleted"


class Ready(StrEnum):
    """EMCO's `readyStatus` of one object."""

    READY = "Ready"
    NOT_READY = "NotReady"
    NOT_PRESENT = "NotPresent"
    UNKNOWN = "Unknown"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ObjectKey(_Row):
    """One Kubernetes object on one cluster; an empty namespace means cluster-scoped."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str

    @property
    def group(self) -> str:
        """`apps` of `apps/v1`; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """`v1` of `apps/v1`."""
        return self.api_version.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}".replace(" /", " ")


class ObjectStatus(_Row):
    """What is known of one object of a unit."""

    key: ObjectKey
    deployed: Deployed = Deployed.PENDING
    ready: Ready = Ready.NOT_PRESENT
    message: str = ""
    observed: dict[str, Any] | None = Field(
        default=None, description="The live object as last seen, without secret data"
    )
    seen: int = Field(default=0, description="The resource version at which all this was so")


class Awaited(_Row):
    """What a unit at its gate waits for: a dependency that is not met yet, or one's dependents to go.

    `deadline` is when it gives up, or goes on without.
    """

    dependency: Dependency
    deadline: datetime | None = None
    removal: bool = False

    @property
    def app(self) -> str:
        """The app that is waited for."""
        return self.dependency.app if self.removal else self.dependency.needs

    def __str__(self) -> str:
        if self.removal:
            return f"{self.app} to be removed"
        return str(self.dependency.model_copy(update={"wait": 0}))


class ObjectTold(_Row):
    """What the event log said last of one object."""

    key: ObjectKey
    deployed: Deployed = Deployed.PENDING
    ready: Ready = Ready.NOT_PRESENT


class Told(_Row):
    """What the event log said last of one unit; kept by the store, whoever writes the row."""

    deployed: str = ""
    ready: str = ""
    health: str = ""
    gate: str = ""
    objects: tuple[ObjectTold, ...] = ()


class UnitRow(_Row):
    """What is known of one app on one cluster (`provider+cluster`)."""

    app: str
    cluster: str
    phase: Phase = Phase.PENDING
    since: datetime
    message: str = ""
    retry_at: datetime | None = Field(default=None, description="When a failed step is next tried")
    awaits: tuple[Awaited, ...] = Field(default=(), description="What keeps its gate shut")
    until: datetime | None = Field(default=None, description="When a delay ends and it starts")
    plan: str = ""
    manifest: str = Field(default="", description="Digest of what the plan wants on the cluster")
    applied: str = Field(
        default="", description="Digest of what was applied completely; empty while it changes"
    )
    objects: tuple[ObjectStatus, ...] = ()
    namespace: str = Field(
        default="", description="Where objects are whose chart leaves their namespace out"
    )
    told: Told = Told()


NAMESPACE_CLAIM = ""
"""The `app` of the footprint that stands for the use of the namespace itself, one per cluster."""


class Footprint(_Row):
    """What one unit may have left on a cluster; written before the first object is applied."""

    app: str
    cluster: str
    namespace: str
    identity: str = Field(
        default="", description="The deployment whose mark the objects carry; empty means its own"
    )
    objects: tuple[ObjectKey, ...] = ()
