"""Whose an object on a cluster is: only what carries our mark is ever changed or deleted."""

from collections.abc import Mapping
from typing import Any

from emco.domain.errors import Conflict
from emco.domain.plan import manifests
from emco.domain.plan.model import Plan
from emco.domain.status import ObjectKey


def is_ours(live: Mapping[str, Any], owner: str, app: str) -> bool:
    """True when the object carries the mark of this app of this deployment."""
    return marks(live) == (manifests.short_hash(owner), manifests.label_value(app))


def may_change(live: Mapping[str, Any], key: ObjectKey, plan: Plan, cluster: str, app: str) -> bool:
    """True for the app's own objects, and for those that another app of the deployment gives up."""
    if is_ours(live, plan.owner, app):
        return True
    deployment, other = marks(live)
    if deployment != manifests.short_hash(plan.owner):
        return False
    short = key.model_copy(update={"namespace": ""})
    holders = {
        manifests.label_value(unit.app)
        for unit in plan.on(cluster)
        if key in unit.objects or short in unit.objects
    }
    return other not in holders - {manifests.label_value(app)}


def foreign(live: Mapping[str, Any], key: ObjectKey, cluster: str, app: str) -> Conflict:
    """What is said of an object that somebody else has under a name of ours."""
    return Conflict(
        f"{key} on {cluster} is there already and belongs to {_holder(live)}",
        f"the app {app} renders an object of that name; rename one of the two, or "
        "delete the other one",
    )


def marks(live: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The labels that say of which deployment and app an object is."""
    labels = live["metadata"].get("labels") or {}
    return labels.get(manifests.DEPLOYMENT_LABEL), labels.get(manifests.APP_LABEL)


def _holder(live: Mapping[str, Any]) -> str:
    metadata = live["metadata"]
    path = (metadata.get("annotations") or {}).get(manifests.PATH_ANNOTATION)
    app = (metadata.get("labels") or {}).get(manifests.APP_LABEL)
    return f"the app {app} of the deployment {path}" if path else "somebody else"
