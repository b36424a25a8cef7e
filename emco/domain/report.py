"""EMCO's status JSON and `explain`, folded from the lifecycle record and the units: pure functions.

Members that would be empty are left out, as EMCO's clients know it. Two things are told
differently on purpose: a deployment whose units are not known yet is `NotReady` (EMCO calls it
`Ready`), and without any query `deployedStatus` comes along with EMCO's older `status`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from emco.domain.blockers import Rows, blockers, by_app, unready
from emco.domain.dependencies import OnTimeout
from emco.domain.errors import Invalid
from emco.domain.lifecycle import Action, Lifecycle, Progress, State
from emco.domain.releases import HookRow, HookState
from emco.domain.status import (
    NAMESPACE_CLAIM,
    Deployed,
    Footprint,
    ObjectStatus,
    Phase,
    Ready,
    UnitRow,
)

Json = dict[str, Any]

_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
_OBJECT_NAME: Final = re.compile(r"[-A-Za-z0-9_.:]{1,253}")


class Connectivity(StrEnum):
    """Whether a cluster answers; the words are EMCO's."""

    UNKNOWN = "Unknown"
    AVAILABLE = "Available"
    RETRYING = "Retrying"


class Shown(StrEnum):
    """Which of the two questions is asked of every object: is it applied, is it ready."""

    DEPLOYED = "deployed"
    READY = "ready"


class Output(StrEnum):
    """How much is told."""

    SUMMARY = "summary"
    ALL = "all"
    DETAIL = "detail"


class Lists(StrEnum):
    """A plain list instead of the full status."""

    APPS = "apps"
    CLUSTERS = "clusters"
    RESOURCES = "resources"


class Question(BaseModel):
    """A status query, understood. `legacy` answers with the member names of the `type` parameter."""

    model_config = ConfigDict(frozen=True)

    shown: Shown = Shown.DEPLOYED
    legacy: bool = False
    asked: bool = True
    output: Output = Output.ALL
    lists: Lists | None = None
    instance: str = ""
    apps: frozenset[str] = frozenset()
    clusters: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()


def question(query: Mapping[str, Sequence[str]], *, cloud: bool = False) -> Question:
    """Read the query parameters of a status call; `Invalid` with EMCO's text for a wrong one.

    `cloud` reads them as for a logical cloud: no `app`, `apps` and `type`; `ready` by default.
    """
    known = {} if cloud else {"type": query.get("type"), "apps": query.get("apps")}
    kind = _one_of(known.get("type"), ("rsync", "cluster"), "type")
    status = _one_of(query.get("status"), tuple(Shown), "status")
    output = _one_of(query.get("output"), tuple(Output), "output") or Output.ALL
    instance = query.get("instance")
    if instance is not None and not instance[-1]:
        raise Invalid("Invalid query instance", "instance must not be empty")
    shown = Shown.READY if kind == "cluster" or (cloud and not status) else Shown.DEPLOYED
    given = {Lists.APPS: known.get("apps"), **{k: query.get(k) for k in list(Lists)[1:]}}
    return Question(
        shown=Shown(status) if status else shown,
        legacy=not status and not cloud,
        asked=bool(status or kind or cloud),
        output=Output(output),
        lists=next((k for k, v in given.items() if v is not None), None),
        instance=instance[-1] if instance else "",
        apps=frozenset() if cloud else _labels(query.get("app", ()), "app"),
        clusters=_clusters(query.get("cluster", ())),
        resources=_labels(query.get("resource", ()), "resources", pattern=_OBJECT_NAME),
    )


def _one_of(given: Sequence[str] | None, allowed: Sequence[str], name: str) -> str:
    if given is None:
        return ""
    if given[-1] not in allowed:
        raise Invalid(f"Invalid query {name}", f"{name} must be one of {', '.join(allowed)}")
    return given[-1]


def _labels(
    given: Iterable[str], name: str, *, pattern: re.Pattern[str] = _LABEL_VALUE
) -> frozenset[str]:
    for value in given:
        if not pattern.fullmatch(value):
            raise Invalid(f"Invalid {name} query", f"{value!r} can not be the name of one")
    return frozenset(given)


def _clusters(given: Iterable[str]) -> frozenset[str]:
    # An unescaped plus arrives as a blank; names hold neither, so both mean the separator.
    named = frozenset(value.replace(" ", "+") for value in given)
    for value in named:
        provider, plus, cluster = value.partition("+")
        if not (plus and _is_label(provider) and _is_label(cluster)):
            raise Invalid("Invalid cluster query", "write provider+cluster, the plus as %2B")
    return named


def _is_label(value: str) -> bool:
    return bool(_LABEL_VALUE.fullmatch(value))


def deployment_status(
    names: Json,
    life: Lifecycle,
    units: Sequence[UnitRow],
    asked: Question,
    *,
    created: datetime,
    connectivity: Mapping[str, str] | None = None,
) -> Json:
    """The answer to GET …/status of a deployment. `names` opens the answer as it is."""
    _check_instance(life, asked)
    units = sorted(units, key=lambda u: (u.app, u.cluster))
    known = {unit.app for unit in units}
    if unknown := sorted(asked.apps - known) if units else []:
        raise Invalid(
            f"Filter app {unknown[0]} not in list of apps for composite app "
            f"{names.get('compositeApp', '')}",
            f"the deployment has {', '.join(sorted(known))}",
        )
    if asked.lists is Lists.APPS:
        return _filled({**names, "apps": sorted(known)})
    units = [u for u in units if not asked.apps or u.app in asked.apps]
    units = [u for u in units if not asked.clusters or u.cluster in asked.clusters]
    if asked.lists is Lists.CLUSTERS:
        return _filled({**names, "clustersByApp": _clusters_by_app(units)})
    if asked.lists is Lists.RESOURCES:
        return _filled({**names, "resourcesByApp": _resources_by_app(units, asked)})
    return _filled(
        {
            **names,
            "states": states(life, created),
            **_totals(life, units, asked),
            **(
                {}
                if asked.output is Output.SUMMARY
                else {"apps": _apps(units, asked, connectivity)}
            ),
        }
    )


def cloud_status(
    names: Json,
    life: Lifecycle,
    clusters: Sequence[str],
    asked: Question,
    *,
    created: datetime,
    connectivity: Mapping[str, str] | None = None,
) -> Json:
    """The answer to GET …/status of a logical cloud that makes nothing on its clusters (level 0)."""
    _check_instance(life, asked)
    shown = sorted(c for c in clusters if not asked.clusters or c in asked.clusters)
    if asked.lists is Lists.CLUSTERS:
        return _filled({**names, "clusters": [_cluster(c) for c in shown]})
    if asked.lists is Lists.RESOURCES:
        return _filled({**names, "resources": []})
    listed = life.progress not in (None, Progress.CREATED) and asked.output is not Output.SUMMARY
    reach = connectivity or {}
    return _filled(
        {
            **names,
            "states": states(life, created),
            **_totals(life, (), asked),
            "clusters": [
                {**_cluster(c), "connectivity": reach.get(c, Connectivity.UNKNOWN)} for c in shown
            ]
            if listed
            else [],
        }
    )


def cluster_status(
    names: Json, units: Sequence[tuple[str, UnitRow]], asked: Question, facts: Mapping[str, Any]
) -> Json:
    """The answer to GET …/status of a cluster: everything of every deployment there.

    `units` come with the deployment's name; `facts` say whether the cluster answers, and since when not.
    """
    matching = [(owner, unit, o) for owner, unit in units for o in _matching(unit, asked)]
    counts = dict(sorted(Counter(_value(o, asked) for *_, o in matching).items()))
    counted = "deployedCounts" if asked.shown is Shown.DEPLOYED else "readyCounts"
    told: list[Json] = []
    if asked.output is not Output.SUMMARY:
        member = _member(asked)
        told = [
            {"deployment": owner, "app": unit.app, **_object(o, member, asked)}
            for owner, unit, o in matching
        ]
    return _filled(
        {
            "name": names["cluster"],
            "readyStatus": _worst(counts) if asked.shown is Shown.READY else "",
            counted: counts,
            "cluster": _filled(
                {
                    **names,
                    "connectivity": facts.get("connectivity") or Connectivity.UNKNOWN,
                    "since": facts.get("since"),
                    "reason": facts.get("reason"),
                    "kubeVersion": facts.get("kube_version"),
                    "resources": told,
                }
            ),
        }
    )


def states(life: Lifecycle, created: datetime) -> Json:
    """EMCO's `states`: every accepted verb in order, `Created` first."""
    actions = life.actions
    if not actions or actions[0].state is not State.CREATED:
        actions = (Action(state=State.CREATED, time=created), *actions)
    return {
        "statusctxid": life.status_context_id,
        "actions": [a.model_dump(mode="json") for a in actions],
    }


def explanation(
    deployment: str,
    life: Lifecycle,
    units: Sequence[UnitRow],
    *,
    queue: Sequence[str] = (),
    remnants: Sequence[Footprint] = (),
    hooks: Sequence[HookRow] = (),
) -> Json:
    """What is going on, in one answer: every unit with its phase, what it waits for and what is next.

    `queue` are the verbs that wait for their turn, `remnants` what a terminate had to leave, `hooks`
    the last runs of the charts' hooks, the oldest first.
    """
    rows = by_app(units)
    return {
        "deployment": deployment,
        "state": life.state,
        "progress": life.progress or Progress.CREATED,
        "message": life.message,
        "operation": life.operation,
        "verb": life.verb or "",
        "revision": life.revision,
        "queue": list(queue),
        "remnants": [
            {"cluster": one.cluster, "app": one.app, "objects": [str(k) for k in one.objects]}
            for one in remnants
            if one.app != NAMESPACE_CLAIM
        ],
        "hooks": [
            hook.model_dump(mode="json", include=_HOOK_SHOWN) | _hook(hook) for hook in hooks
        ],
        "units": [
            {
                "app": unit.app,
                "cluster": unit.cluster,
                "phase": unit.phase,
                "ready": sum(o.ready is Ready.READY for o in _present(unit.objects)),
                "total": sum(1 for _ in _present(unit.objects)),
                "since": unit.since.isoformat(),
                "message": unit.message,
                "waitingFor": _waiting_for(unit, rows),
                "until": unit.until.isoformat() if unit.until else "",
                "nextTry": unit.retry_at.isoformat() if unit.retry_at else "",
                "next": _next(unit, life),
            }
            for unit in sorted(units, key=lambda u: (u.app, u.cluster))
        ],
    }


_HOOK_SHOWN: Final = {"id", "event", "app", "cluster", "state", "attempt", "since", "message"}


def _hook(hook: HookRow) -> Json:
    """The rest of what is told of a hook; `question` where only a person can go on."""
    is_lost = hook.state is HookState.LOST
    asked = "it is gone and nobody saw how it ended: answer done, or again" if is_lost else ""
    return {"kind": hook.key.kind, "name": hook.key.name, "question": asked}


def _next(unit: UnitRow, life: Lifecycle) -> str:
    """What happens to a unit that is not done, and when."""
    if unit.phase in (Phase.READY, Phase.REMOVED):
        return ""
    if unit.phase is Phase.DRIFTED:
        return "put back by an update, or at once with the policy drift: heal"
    if unit.phase is Phase.DEGRADED:
        return "ready again by itself, or changed by an update"
    if not life.is_running:
        return "nothing until it is resumed, updated or terminated"
    match unit.phase:
        case Phase.RETRYING:
            return "tried again by itself"
        case Phase.FAILED:
            return "nothing until the operation has ended"
        case Phase.PENDING:
            return "applied as soon as it is its turn"
        case Phase.RUNNING_HOOK:
            return "goes on when the hook has finished"
        case Phase.WAITING if unit.until is not None:
            return "started when its delay is over"
        case Phase.WAITING:
            return _after_waiting(unit)
        case Phase.APPLIED:
            return "done when everything it waits for is ready"
        case _:
            return "under way"


def _after_waiting(unit: UnitRow) -> str:
    verb = "removed" if any(one.removal for one in unit.awaits) else "started"
    limits = [one for one in unit.awaits if one.deadline]
    if not limits:
        return f"{verb} as soon as that has come about"
    first = min(limits, key=lambda one: str(one.deadline))
    ends = "started anyway" if first.dependency.on_timeout is OnTimeout.PROCEED else "given up"
    return f"{verb} as soon as that has come about; {ends} at {first.deadline:%H:%M:%S}"


def _waiting_for(unit: UnitRow, rows: Rows) -> list[str]:
    if unit.phase is Phase.WAITING:
        return blockers(unit, rows)
    return unready(unit) if unit.phase in (Phase.APPLIED, Phase.DEGRADED) else []


def _check_instance(life: Lifecycle, asked: Question) -> None:
    if asked.instance and asked.instance not in {a.instance for a in life.actions}:
        raise Invalid("Invalid query instance", f"no action has the instance {asked.instance}")


def _present(objects: Iterable[ObjectStatus]) -> Iterator[ObjectStatus]:
    return (o for o in objects if o.deployed is not Deployed.DELETED)


def _matching(unit: UnitRow, asked: Question) -> list[ObjectStatus]:
    found = [o for o in unit.objects if not asked.resources or o.key.name in asked.resources]
    return list(_present(found)) if asked.shown is Shown.READY else found


def _totals(life: Lifecycle, units: Sequence[UnitRow], asked: Question) -> Json:
    if life.progress in (None, Progress.CREATED):
        return {}
    objects = [o for unit in units for o in _matching(unit, asked)]
    counts = Counter(_value(o, asked) for o in objects)
    counted = dict(sorted(counts.items()))
    if not asked.legacy:
        key = "deployedCounts" if asked.shown is Shown.DEPLOYED else "readyCounts"
        totals: Json = {"deployedStatus": life.progress}
    else:
        key = "rsyncStatus" if asked.shown is Shown.DEPLOYED else "clusterStatus"
        totals = {"status": life.progress}
        if not asked.asked:
            totals["deployedStatus"] = life.progress
    if asked.shown is Shown.READY:
        totals["readyStatus"] = _overall(life, counted)
    return {**totals, key: counted}


def _overall(life: Lifecycle, counts: Mapping[str, int]) -> Ready:
    unknown_yet = not counts and life.progress in (
        Progress.INSTANTIATING,
        Progress.INSTANTIATE_FAILED,
    )
    return Ready.NOT_READY if unknown_yet else _worst(counts)


def _worst(counts: Mapping[str, int]) -> Ready:
    if counts.get(Ready.NOT_READY) or counts.get(Ready.NOT_PRESENT):
        return Ready.NOT_READY
    return Ready.UNKNOWN if counts.get(Ready.UNKNOWN) else Ready.READY


def _value(status: ObjectStatus, asked: Question) -> str:
    if asked.shown is Shown.DEPLOYED:
        return status.deployed
    return status.ready


def _cluster(name: str) -> Json:
    provider, _, cluster = name.partition("+")
    return {"clusterProvider": provider, "cluster": cluster}


def _apps(
    units: Sequence[UnitRow], asked: Question, connectivity: Mapping[str, str] | None
) -> list[Json]:
    reach = connectivity or {}
    by_app: dict[str, list[Json]] = {}
    member, named = "readyStatus" if asked.legacy else "connectivity", _member(asked)
    for unit in units:
        objects = _matching(unit, asked)
        if objects or not asked.resources:
            by_app.setdefault(unit.app, []).append(
                _filled(
                    {
                        **_cluster(unit.cluster),
                        member: reach.get(unit.cluster) or _reached(unit),
                        "resources": [_object(o, named, asked) for o in objects],
                    }
                )
            )
    return [{"name": app, "clusters": clusters} for app, clusters in by_app.items()]


def _reached(unit: UnitRow) -> Connectivity:
    if unit.phase is Phase.RETRYING:
        return Connectivity.RETRYING
    is_untried = unit.phase in (Phase.PENDING, Phase.WAITING)
    return Connectivity.UNKNOWN if is_untried else Connectivity.AVAILABLE


def _object(status: ObjectStatus, member: str, asked: Question) -> Json:
    shown = _named(status)
    if asked.output is Output.DETAIL and status.observed:
        shown["detail"] = status.observed
    shown[member] = _value(status, asked)
    return shown


def _member(asked: Question) -> str:
    """Under what name an object's state is told."""
    return {
        (False, Shown.DEPLOYED): "deployedStatus",
        (False, Shown.READY): "readyStatus",
        (True, Shown.DEPLOYED): "rsyncStatus",
        (True, Shown.READY): "clusterStatus",
    }[asked.legacy, asked.shown]


def _named(status: ObjectStatus) -> Json:
    group, _, version = status.key.api_version.rpartition("/")
    return {
        "GVK": {"Group": group, "Version": version, "Kind": status.key.kind},
        "name": status.key.name,
    }


def _clusters_by_app(units: Sequence[UnitRow]) -> list[Json]:
    by_app: dict[str, list[Json]] = {}
    for unit in units:
        by_app.setdefault(unit.app, []).append(_cluster(unit.cluster))
    return [{"app": app, "clusters": clusters} for app, clusters in by_app.items()]


def _resources_by_app(units: Sequence[UnitRow], asked: Question) -> list[Json]:
    return [
        {
            "app": unit.app,
            **_cluster(unit.cluster),
            "resources": [_named(o) for o in _matching(unit, asked)],
        }
        for unit in units
        if _matching(unit, asked)
    ]


def _filled(members: Json) -> Json:
    return {k: v for k, v in members.items() if v not in ("", None, [], {}, ())}
