"""What is remembered of each unit's release and of every run of its hooks: records and their moves.

A release is what Helm means by it: one app on one cluster, counted from its first install. Whether
something is an install or an upgrade is read from here, never guessed from the cluster.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.plan.hooks import Event, Goal, Hook, Scope
from emco.domain.plan.manifests import short_hash
from emco.domain.plan.model import Plan, UnitPlan
from emco.domain.status import ObjectKey

MAX_NAME: Final = 53


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ReleaseStatus(StrEnum):
    """The words are Helm's."""

    PENDING_INSTALL = "pending-install"
    PENDING_UPGRADE = "pending-upgrade"
    PENDING_ROLLBACK = "pending-rollback"
    DEPLOYED = "deployed"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    UNINSTALLING = "uninstalling"


class ReleaseRow(_Row):
    """One app on one cluster (`provider+cluster`). `version` counts as `helm history` does.

    `run` names what made this version: a revision of the deployment, or the way back from one.
    """

    app: str
    cluster: str
    name: str = Field(default="", description="What `helm list` calls it")
    namespace: str = ""
    owner: str = Field(default="", description="The deployment whose mark its objects carry")
    version: int = 1
    run: str
    goal: Goal = Goal.INSTALL
    manifest: str = Field(description="Digest of the `Rendered` objects")
    hooked: bool = Field(default=False, description="Its chart has hooks")
    status: ReleaseStatus = ReleaseStatus.PENDING_INSTALL
    first: datetime
    last: datetime
    message: str = ""


def run_of(revision: int, operation: str, goal: Goal) -> str:
    """What an operation's hooks are counted under: the same when it is resumed, so that none is run
    twice, and another for every new revision, way back, removal and test."""
    if goal is Goal.TEST:
        return f"{revision}/test/{operation}"
    if goal is Goal.DELETE:
        return f"{revision}/delete"
    return f"{revision}/back" if operation.endswith("/back") else str(revision)


def advanced(
    row: ReleaseRow | None,
    plan: Plan,
    unit: UnitPlan,
    *,
    run: str,
    is_rollback: bool,
    now: datetime,
) -> ReleaseRow:
    """The release while a plan's unit is brought about; the same row when that was begun before."""
    if row is None:
        return ReleaseRow(
            app=unit.app,
            cluster=unit.cluster,
            name=release_name(plan.release, unit.app),
            namespace=plan.namespace,
            owner=plan.owner,
            run=run,
            manifest=unit.manifest,
            hooked=unit.hooked,
            first=now,
            last=now,
        )
    if row.status is ReleaseStatus.DEPLOYED and row.manifest == unit.manifest:
        return row
    if row.run == run and row.manifest == unit.manifest:
        return row.model_copy(update={"status": pending(row.goal)})
    goal = Goal.ROLLBACK if is_rollback else Goal.UPGRADE
    return row.model_copy(
        update={
            "version": row.version + 1,
            "run": run,
            "goal": goal,
            "manifest": unit.manifest,
            "hooked": unit.hooked,
            "status": pending(goal),
            "last": now,
            "message": "",
        }
    )


def pending(goal: Goal) -> ReleaseStatus:
    """The status while an install, upgrade or rollback is under way."""
    return ReleaseStatus(f"pending-{goal}")


def release_name(release: str, app: str) -> str:
    """Helm's name of a unit: the deployment's release and the app, at most 53 characters as Helm wants.

    EMCO gives every app of a deployment the same release name; Helm keeps its records by name.
    """
    name = f"{release}-{app}"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}-{short_hash(name)[:8]}"


def ending(row: ReleaseRow, *, run: str, now: datetime) -> ReleaseRow:
    """The release while it is uninstalled."""
    return row.model_copy(
        update={"run": run, "goal": Goal.DELETE, "status": ReleaseStatus.UNINSTALLING, "last": now}
    )


class HookState(StrEnum):
    """How far one run of a hook is."""

    WAITING = "Waiting"
    """It will run on `cluster`; nothing of it has been sent there."""
    STARTING = "Starting"
    """Its object may be on the cluster."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    LOST = "Lost"
    """Its object is gone and nobody saw how it ended: only a person can say whether it did its work."""
    ABANDONED = "Abandoned"
    """Another operation took its operation's place, and its object was removed."""


OPEN: Final = frozenset({HookState.STARTING, HookState.RUNNING})
"""States in which an object of it may be on a cluster under our finalizer."""


class HookRow(_Row):
    """One hook in one run of a release. A failed or lost one that is run again is the next attempt."""

    id: str
    run: str
    event: Event
    key: ObjectKey
    app: str
    cluster: str = Field(description="Where it runs, as provider+cluster")
    scope: Scope = Scope.RELEASE
    attempt: int = 0
    operation: str = Field(default="", description="The operation of the last attempt")
    state: HookState = HookState.WAITING
    uid: str = ""
    began: datetime | None = Field(default=None, description="When its object was created")
    since: datetime
    message: str = ""

    @property
    def mark(self) -> str:
        """The annotation by which the object of this attempt is known again."""
        return f"{self.id}#{self.attempt}"


class Answer(StrEnum):
    """What a person can say of a lost hook."""

    DONE = "done"
    """It did its work: go on without it."""
    AGAIN = "again"
    """It did not, or doing it twice is harmless: run it anew."""


def hook_id(hook: Hook, run: str, app: str, cluster: str) -> str:
    """Equal for what must run only once.

    With a wider scope the chart's event does not count, only whether it is before or after: an
    upgrade here and an install there are one occasion.
    """
    name = f"{hook.key.kind}/{hook.key.name}"
    if hook.scope is Scope.RELEASE:
        return f"{run}:{hook.event}:{hook.index}:{name}:{app}@{cluster}"
    moment = hook.event.partition("-")[0]
    where = f"@{cluster}" if hook.scope is Scope.CLUSTER else f"{app}@"
    return f"{run}:{moment}:{name}:{where}"


def begun(row: HookRow, operation: str, now: datetime) -> HookRow:
    """The next attempt. What has succeeded, runs, or waits for a person's word stays as it is.

    An attempt that failed in this very operation stays failed: only a new operation tries again.
    """
    is_retried = row.state is HookState.FAILED and row.operation != operation
    if row.state not in (HookState.WAITING, HookState.ABANDONED) and not is_retried:
        return row
    return row.model_copy(
        update={
            "attempt": row.attempt + 1,
            "operation": operation,
            "state": HookState.STARTING,
            "uid": "",
            "began": None,
            "since": now,
            "message": "",
        }
    )


def answered(row: HookRow, answer: Answer, now: datetime) -> HookRow:
    """A lost hook after a person's word; ValueError for one that is not lost."""
    if row.state is not HookState.LOST:
        raise ValueError(f"it is {row.state}, nothing is to be answered")
    state = HookState.SUCCEEDED if answer is Answer.DONE else HookState.WAITING
    return row.model_copy(update={"state": state, "since": now, "message": f"answered: {answer}"})


def next_leader(row: HookRow, clusters: tuple[str, ...]) -> str:
    """The cluster after the row's, in name order and round again."""
    later = [c for c in sorted(clusters) if c > row.cluster]
    return later[0] if later else min(clusters)
