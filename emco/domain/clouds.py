"""Which step a logical cloud may take, and what a cloud or deployment must be for it to be changed or deleted.

The sentences are EMCO's. Level 0 clouds make nothing on the clusters, so their operations end the
moment they are accepted.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from emco.domain.errors import Conflict, EmcoError, IllegalTransition, InUse, Invalid, NotFound
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import Action, Lifecycle, Progress, State, Verb, done

_TERMINATE_FAILED = "The Logical Cloud has failed terminating, please delete the Logical Cloud"

_INSTANTIATE_REFUSED: Final[Mapping[Progress, str]] = {
    Progress.INSTANTIATING: "The Logical Cloud is already instantiating",
    Progress.INSTANTIATED: "The Logical Cloud is already instantiated",
    Progress.INSTANTIATE_FAILED: (
        "The Logical Cloud has failed instantiating before, please terminate and try again"
    ),
    Progress.TERMINATING: (
        "The Logical Cloud can't be re-instantiated yet, it is being terminated"
    ),
    Progress.TERMINATE_FAILED: _TERMINATE_FAILED,
}
_TERMINATE_REFUSED: Final[Mapping[Progress, str]] = {
    Progress.INSTANTIATING: "The Logical Cloud is still instantiating",
    Progress.TERMINATING: "The Logical Cloud is already being terminated",
    Progress.TERMINATED: "The Logical Cloud has already been terminated",
    Progress.TERMINATE_FAILED: _TERMINATE_FAILED,
}
_DELETE_REFUSED: Final[Mapping[Progress, str]] = {
    Progress.INSTANTIATING: ("The Logical Cloud is instantiating, please wait and then terminate"),
    Progress.INSTANTIATED: "The Logical Cloud is instantiated, please terminate first",
    Progress.INSTANTIATE_FAILED: (
        "The Logical Cloud has failed instantiating, for safety please terminate and try again"
    ),
    Progress.TERMINATING: "The Logical Cloud can't be deleted yet, it is being terminated",
}
_DEPLOYMENT_REFUSED: Final[Mapping[Progress, str]] = {
    Progress.INSTANTIATING: "The Logical Cloud is still instantiating, please wait and try again.",
    Progress.INSTANTIATE_FAILED: (
        "The Logical Cloud has failed instantiating, so it can't receive DIGs."
    ),
    Progress.TERMINATING: "The Logical Cloud is terminating, so it can no longer receive DIGs.",
    Progress.TERMINATED: ("The Logical Cloud is not currently instantiated (has been terminated)."),
    Progress.TERMINATE_FAILED: (
        "The Logical Cloud has failed terminating, so for safety it can no longer receive DIGs."
    ),
}


def instantiate_cloud(
    life: Lifecycle, name: str, *, has_clusters: bool, operation: str, now: datetime
) -> Lifecycle:
    """The record after a level 0 cloud was instantiated; refused without clusters or twice."""
    if not has_clusters:
        raise Invalid(
            "No Cluster References associated",
            f"the logical cloud {name} has no clusters; add one under its cluster-references",
        )
    _refuse(_INSTANTIATE_REFUSED, life, name)
    return _moved(life, Verb.INSTANTIATE, operation, now)


def terminate_cloud(
    life: Lifecycle, name: str, *, live: Iterable[str], operation: str, now: datetime
) -> Lifecycle:
    """The record after terminate; a cloud never instantiated stays as it is, as in EMCO.

    `live` names the deployments that may still have something on the cloud's clusters.
    """
    if users := sorted(live):
        raise Invalid(
            "Found at least one DIG associated with Logical Cloud attempted to be terminated",
            f"terminate {', '.join(users)} first",
        )
    if life.progress in (None, Progress.CREATED):
        return life
    _refuse(_TERMINATE_REFUSED, life, name)
    return _moved(life, Verb.TERMINATE, operation, now)


def may_delete_cloud(life: Lifecycle, name: str) -> None:
    """Refuses to delete a cloud that deployments may be using."""
    _refuse(_DELETE_REFUSED, life, name)


def may_receive_deployments(life: Lifecycle, name: str) -> None:
    """Refuses a deployment's instantiate while its cloud is not instantiated."""
    if life.progress in (None, Progress.CREATED):
        raise Conflict("The Logical Cloud has never been instantiated", f"instantiate {name} first")
    _refuse(_DEPLOYMENT_REFUSED, life, name, error=Conflict)


def cloud_missing(name: str) -> EmcoError:
    """What a deployment is told whose cloud does not exist."""
    return Invalid("Failed to obtain Logical Cloud specified", f"there is no logical cloud {name}")


def may_replace_deployment(life: Lifecycle, name: str, old: Deployment, new: Deployment) -> None:
    """Refuses to edit a deployment once it was approved: what was approved is what runs.

    Its policies say nothing about what runs, so they can be changed at any time.
    """
    only_policies = old != new and new == old.model_copy(update={"policies": new.policies})
    if life.state is not State.CREATED and not only_policies:
        raise Conflict(
            "The specified DeploymentIntentGroup is not in Created status",
            f"{name} is {life.state}; its policies, intents, apps and profiles can still be changed",
        )


def may_delete_deployment(life: Lifecycle, name: str) -> None:
    """Refuses to delete a deployment that may have left something on a cluster."""
    if life.state is State.INSTANTIATED:
        raise InUse(
            f"DeploymentIntentGroup must be terminated before it can be deleted {name}",
            f"its progress is {life.progress}; terminate it and wait until it is Terminated",
        )
    if life.is_live:
        raise InUse(
            f"DeploymentIntentGroup has not completed terminating: {name}",
            f"its progress is {life.progress}; wait until it is Terminated",
        )


def placement_missing(name: str) -> EmcoError:
    """What a deployment is told that has no placement."""
    return NotFound(
        "GenericPlacementIntent not found",
        f"no group intent of {name} has the key genericPlacementIntent: nothing says where to run",
    )


def _refuse(
    table: Mapping[Progress, str],
    life: Lifecycle,
    name: str,
    *,
    error: type[EmcoError] = IllegalTransition,
) -> None:
    if life.progress is not None and (text := table.get(life.progress)):
        raise error(text, f"{name} is {life.progress}")


def _moved(life: Lifecycle, verb: Verb, operation: str, now: datetime) -> Lifecycle:
    progress = done(verb)
    state = State(progress.value)
    revision = 1 + max((a.revision for a in life.actions), default=0)
    action = Action(state=state, instance=operation, time=now, revision=revision)
    return life.model_copy(
        update={
            "actions": (*life.actions, action),
            "status_context_id": operation,
            "progress": progress,
            "operation": operation,
            "message": "",
        }
    )
