"""Which events a subscription is about, when they are told, and when a listener is tried again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.events import Event, EventType
from emco.domain.kinds.notification import (
    ClusterPattern,
    Criteria,
    ResourcePattern,
    StatusSubscription,
)

Labels = Mapping[str, frozenset[str]]
"""Cluster, as provider+cluster, to its labels."""

ALWAYS_TOLD: Final = frozenset({EventType.GAP, EventType.TEST})
LONGEST_PAUSE_SECONDS: Final = 24 * 3600.0
CHAIN_WINDOWS: Final = 10
"""What never comes to rest is told after so many debounce windows all the same."""


class Listener(BaseModel):
    """How far one listener is. `cursor` is the last number it needs no more; None before the start."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cursor: int | None = None
    epoch: int = Field(default=0, description="Grows whenever somebody else moves the cursor")
    snapshot: str = Field(default="", description="Digest of the state to be told first")
    snapshot_told: int = Field(default=0, description="How much of that was told")
    paused: bool = False
    disabled: str = Field(default="", description="Why nothing is told any more; empty otherwise")
    attempts: int = Field(default=0, description="Failed ones for what is to be told next")
    failure: str = Field(
        default="", description="What came of the last attempt; empty if it succeeded"
    )
    retry_at: datetime | None = None
    delivered: int = Field(default=0, description="Events told since the beginning")
    dead: int = Field(default=0, description="Events given up since the beginning")


class DeadLetter(BaseModel):
    """An event that could not be told."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event: Event
    reason: str
    attempts: int
    time: datetime


class Attempt(BaseModel):
    """One request to a listener."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    first: str = Field(description="Id of the first event in it")
    events: int
    time: datetime
    seconds: float
    failure: str = Field(default="", description="Empty when it was taken")


def in_scope(subscription: StatusSubscription, project: str, event: Event) -> bool:
    """Whether the event is of what the subscription is about."""
    if event.project != project:
        return False
    if not (
        subscription.deployments or subscription.logical_clouds or subscription.status_context_ids
    ):
        return True
    return (
        _is_named(event.deployment, subscription.deployments)
        or any(fnmatchcase(event.logical_cloud, p) for p in subscription.logical_clouds)
        or event.status_context in subscription.status_context_ids
    )


def _is_named(deployment: str, patterns: Sequence[str]) -> bool:
    names = deployment.split("/")[1:]
    return any(
        len(names) == len(parts) and all(map(fnmatchcase, names, parts))
        for parts in (pattern.split("/") for pattern in patterns)
    )


def matches(criteria: Criteria, event: Event, labels: Labels) -> bool:
    """Whether the event fulfils the criteria. `labels` is asked where they name one."""
    if event.type in ALWAYS_TOLD:
        return True
    if criteria.pairs and event.type is not EventType.HEALTH:
        return False
    return (
        (not criteria.types or event.type in criteria.types)
        and (not criteria.views or event.view in criteria.views)
        and event.severity.rank >= criteria.minimum_severity.rank
        and (not criteria.apps or any(fnmatchcase(event.app, p) for p in criteria.apps))
        and (not criteria.clusters or any(_on(event, p, labels) for p in criteria.clusters))
        and (not criteria.resources or any(_of(event, p) for p in criteria.resources))
        and (not criteria.transitions or any(_goes(event, p) for p in criteria.transitions))
    )


def _on(event: Event, pattern: ClusterPattern, labels: Labels) -> bool:
    provider, plus, cluster = event.cluster.partition("+")
    label = pattern.cluster_label
    return (
        bool(plus)
        and fnmatchcase(provider, pattern.cluster_provider)
        and fnmatchcase(cluster, pattern.cluster)
        and (label is None or label in labels.get(event.cluster, ()))
    )


def _of(event: Event, pattern: ResourcePattern) -> bool:
    key = event.resource
    return (
        key is not None
        and fnmatchcase(key.kind, pattern.kind)
        and fnmatchcase(key.name, pattern.name)
    )


def _goes(event: Event, pattern: str) -> bool:
    source, target = (part.strip() for part in pattern.split("->"))
    return fnmatchcase(event.source, source) and fnmatchcase(event.target, target)


def needs_labels(criteria: Criteria) -> bool:
    """Whether `matches` looks at labels."""
    return any(pattern.cluster_label for pattern in criteria.clusters)


class Due(NamedTuple):
    """An event to tell, and the cursor once it is told: everything up to there is done with."""

    event: Event
    cursor: int


class Settled(NamedTuple):
    """What is due, in order, and the cursor when all of it is told."""

    due: list[Due]
    cursor: int


def settle(events: Sequence[Event], last: int, *, window: float, now: datetime) -> Settled:
    """What of `events`, taken from the log up to the number `last`, is to be told by now.

    With a `window` (seconds) changes of the same subject that follow each other within it are one
    change, from where the first began to where the last ended, and none if that is the same.
    """
    if not window:
        return Settled([Due(event, event.sequence) for event in events], last)
    chains = _chains(events, timedelta(seconds=window))
    limit = last + 1
    moving = [chain for chain in chains if not _rests(chain, timedelta(seconds=window), now)]
    while moving:  # what ends after another began that is still moving would be told too early
        limit = min(limit, *(chain[0].sequence for chain in moving))
        moving = [c for c in chains if c[0].sequence < limit <= c[-1].sequence]
    ready = sorted((c for c in chains if c[-1].sequence < limit), key=lambda c: c[-1].sequence)
    due: list[Due] = []
    done = limit - 1
    for chain in reversed(ready):
        if chain[0].source != chain[-1].target:
            due.append(Due(chain[-1].model_copy(update={"source": chain[0].source}), done))
        done = min(done, chain[0].sequence - 1)
    return Settled(due[::-1], limit - 1)


Chain = list[Event]
"""Changes of one subject, each soon after the one before."""


def _chains(events: Sequence[Event], window: timedelta) -> list[Chain]:
    found: list[Chain] = []
    current: dict[tuple[str, ...], Chain] = {}
    for event in events:
        chain = current.get(event.subject)
        if (
            chain is None
            or event.time - chain[-1].time >= window
            or event.time - chain[0].time >= CHAIN_WINDOWS * window
        ):
            chain = current[event.subject] = []
            found.append(chain)
        chain.append(event)
    return found


def _rests(chain: Chain, window: timedelta, now: datetime) -> bool:
    return now - chain[-1].time >= window or now - chain[0].time >= CHAIN_WINDOWS * window


def pause_before_next(
    attempts: int, schedule: Sequence[float], retry_after: float = 0
) -> float | None:
    """Seconds to wait after so many failed attempts; None when it is time to give up.

    A listener may ask for more time than the schedule has, but for a day at most.
    """
    if attempts > len(schedule):
        return None
    return min(max(schedule[attempts - 1], retry_after), LONGEST_PAUSE_SECONDS)
