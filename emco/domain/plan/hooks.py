"""Which hooks of a chart run when, in Helm's order and under Helm's policies: read from the objects.

After Helm 4.3 (`pkg/action/hooks.go`, `pkg/release/v1/util/manifest_sorter.go`): hooks of one event
run by weight, then name, then kind; a hook with an event that Helm does not know never runs; a
weight that is no number is zero. `emco.io/hook-scope` and `emco.io/hook-timeout` are ours.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from emco.domain.errors import Invalid
from emco.domain.plan.manifests import HOOK_ANNOTATION, HOOK_WEIGHT_ANNOTATION, in_order, key_of
from emco.domain.plan.model import Manifest
from emco.domain.status import ObjectKey

DELETE_POLICY_ANNOTATION: Final = "helm.sh/hook-delete-policy"
SCOPE_ANNOTATION: Final = "emco.io/hook-scope"
TIMEOUT_ANNOTATION: Final = "emco.io/hook-timeout"
RUN_ANNOTATION: Final = "emco.io/hook-run"
"""Our mark on a hook's object: which run of which hook it is. See `HookRow.mark`."""
OPERATION_ANNOTATION: Final = "emco.io/operation"
FINALIZER: Final = "emco.io/hook"
"""Keeps a running hook's object until its end is written down, whoever deletes it."""

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


class Event(StrEnum):
    """When a hook runs; the words are Helm's."""

    PRE_INSTALL = "pre-install"
    POST_INSTALL = "post-install"
    PRE_UPGRADE = "pre-upgrade"
    POST_UPGRADE = "post-upgrade"
    PRE_ROLLBACK = "pre-rollback"
    POST_ROLLBACK = "post-rollback"
    PRE_DELETE = "pre-delete"
    POST_DELETE = "post-delete"
    TEST = "test"


_EVENTS: Final = {**{event.value: event for event in Event}, "test-success": Event.TEST}


class Goal(StrEnum):
    """What is done to a release, as Helm names it. EMCO's update is an upgrade."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    DELETE = "delete"
    TEST = "test"

    @property
    def before(self) -> Event:
        """The event before the objects are dealt with; of a test, all there is."""
        return Event.TEST if self is Goal.TEST else Event(f"pre-{self}")

    @property
    def after(self) -> Event | None:
        """The event after the objects are ready, or gone."""
        return None if self is Goal.TEST else Event(f"post-{self}")


class DeletePolicy(StrEnum):
    """When the object of a hook is deleted; the words are Helm's."""

    BEFORE_CREATION = "before-hook-creation"
    SUCCEEDED = "hook-succeeded"
    FAILED = "hook-failed"


class Scope(StrEnum):
    """How often a hook runs when its chart is put on several clusters, or in several apps."""

    RELEASE = "release"
    """For every app on every cluster, as with Helm."""
    CLUSTER = "cluster"
    """Once a cluster, however many apps of the deployment bring it."""
    DEPLOYMENT = "deployment"
    """Once for the app, on one of its clusters."""


class Hook(BaseModel):
    """One hook for one event. `index` is its place in the order of that event."""

    model_config = ConfigDict(frozen=True)

    event: Event
    index: int
    key: ObjectKey
    weight: int = 0
    policies: frozenset[str] = frozenset({DeletePolicy.BEFORE_CREATION})
    scope: Scope = Scope.RELEASE
    timeout: int = 0
    manifest: Manifest

    @property
    def title(self) -> str:
        """What people call it: `pre-install hook migrate`."""
        return f"{self.event} hook {self.key.name}"

    @property
    def runs_to_completion(self) -> bool:
        """True for kinds whose work has an end; the others are done when they exist."""
        return (self.key.group, self.key.kind) in {("batch", "Job"), ("", "Pod")}

    def is_deleted(self, policy: DeletePolicy) -> bool:
        """Whether its object goes at that moment. CRDs never do: all their objects would too."""
        return policy in self.policies and self.key.kind != "CustomResourceDefinition"


def events_of(item: Mapping[str, Any]) -> tuple[Event, ...]:
    """The events of a hook, in the order they are written; none if Helm knows one of them not."""
    names = str(_annotations(item).get(HOOK_ANNOTATION, "")).split(",")
    found = [_EVENTS.get(name.strip().lower()) for name in names]
    return () if None in found else tuple(event for event in found if event)


def weight_of(item: Mapping[str, Any]) -> int:
    """A weight that is no number is zero."""
    text = str(_annotations(item).get(HOOK_WEIGHT_ANNOTATION, "0"))
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else 0


def hooks_of(items: Sequence[Manifest], event: Event | None) -> tuple[Hook, ...]:
    """The hooks that run at an event, in their order. Raises as `check` does."""
    found = [item for item in in_order(items) if event in events_of(item)]
    found.sort(key=lambda item: (weight_of(item), item["metadata"]["name"]))
    return tuple(_hook(item, event, index) for index, item in enumerate(found) if event)


class End(BaseModel):
    """How a hook's object ended; `why` is its own reason and message."""

    model_config = ConfigDict(frozen=True)

    is_success: bool
    why: str = ""


def end_of(live: Mapping[str, Any]) -> End | None:
    """None while the object of a hook is still at work. Kinds whose work has no end are done at once."""
    status = live.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or [] if c.get("status") == "True"}
    match live["kind"]:
        case "Job":
            if failed := conditions.get("Failed"):
                return End(is_success=False, why=_told(failed))
            return End(is_success=True) if "Complete" in conditions else None
        case "Pod":
            if status.get("phase") == "Failed":
                return End(is_success=False, why=_told(status) or _exit_of(status))
            return End(is_success=True) if status.get("phase") == "Succeeded" else None
        case "CustomResourceDefinition":
            return End(is_success=True) if "Established" in conditions else None
        case _:
            return End(is_success=True)


def _told(status: Mapping[str, Any]) -> str:
    return ": ".join(str(status[part]) for part in ("reason", "message") if status.get(part))


def _exit_of(status: Mapping[str, Any]) -> str:
    """What the first container that failed said as it ended."""
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            told = _told(ended)
            return f"exit code {ended['exitCode']}" + (f", {told}" if told else "")
    return ""


def check(items: Sequence[Manifest], app: str) -> None:
    """Raise `Invalid` naming app, object and annotation where one of ours cannot be understood."""
    for item in items:
        try:
            _scope(item), _timeout(item)
        except ValueError as error:
            raise Invalid(
                f"The hook {key_of(item)} of the app {app} cannot be understood", str(error)
            ) from None


def _hook(item: Manifest, event: Event, index: int) -> Hook:
    given = [
        p.strip().lower()
        for p in str(_annotations(item).get(DELETE_POLICY_ANNOTATION, "")).split(",")
    ]
    return Hook(
        event=event,
        index=index,
        key=key_of(item),
        weight=weight_of(item),
        policies=frozenset(filter(None, given)) or frozenset({DeletePolicy.BEFORE_CREATION}),
        scope=_scope(item),
        timeout=_timeout(item),
        manifest=item,
    )


def _scope(item: Mapping[str, Any]) -> Scope:
    text = str(_annotations(item).get(SCOPE_ANNOTATION, Scope.RELEASE)).strip().lower()
    if text not in set(Scope):
        raise ValueError(f"{SCOPE_ANNOTATION} is {text!r}, not one of {', '.join(Scope)}")
    return Scope(text)


def _timeout(item: Mapping[str, Any]) -> int:
    """Seconds; 0 where nothing is said."""
    text = str(_annotations(item).get(TIMEOUT_ANNOTATION, "")).strip()
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if text and not total:
        raise ValueError(f"{TIMEOUT_ANNOTATION} is {text!r}, not a time such as 90s or 10m")
    return total


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item["metadata"].get("annotations") or {}
