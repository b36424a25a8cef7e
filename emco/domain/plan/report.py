"""A plan for people: what would happen to every object, on which cluster, in which order, and why."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from emco.domain.history import Changes
from emco.domain.plan import diff
from emco.domain.plan.manifests import HOOK_ANNOTATION, HOOK_WEIGHT_ANNOTATION, in_order
from emco.domain.plan.model import Manifest, Plan, Snapshot
from emco.domain.plan.placement import place


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class ShownObject(_Shown):
    """One object; `fields` only when it is changed."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str
    action: diff.Kind
    fields: tuple[diff.FieldChange, ...] = ()


class ShownHook(_Shown):
    """One hook of a chart and when it runs."""

    kind: str
    name: str
    events: str
    weight: str = "0"


class ShownUnit(_Shown):
    """One app on one cluster. Units are dealt with side by side, the objects of one in this order."""

    app: str
    cluster: str
    action: diff.Kind
    reason: str = ""
    objects: tuple[ShownObject, ...] = ()
    hooks: tuple[ShownHook, ...] = ()


class PassedOver(_Shown):
    """A cluster of the logical cloud on which an app is not put."""

    app: str
    cluster: str
    reason: str


class PlanReport(_Shown):
    """The answer of GET …/plan. `digest` asks for exactly this plan; `revision` is what is up now."""

    deployment: str
    digest: str
    revision: int = 0
    release: str
    namespace: str
    changes: Changes
    units: tuple[ShownUnit, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


def plan_report(
    plan: Plan,
    changed: Mapping[str, Sequence[diff.ObjectChange]],
    hooks: Mapping[str, Sequence[Manifest]],
    *,
    digest: str,
    revision: int,
    passed_over: Sequence[PassedOver],
) -> PlanReport:
    """`changed` maps `app@cluster` to the changes of its objects, `hooks` a manifest's digest to its hooks."""
    planned = {f"{u.app}@{u.cluster}": u for u in plan.units}
    units = []
    for name, changes in changed.items():
        unit = planned.get(name)
        app, _, cluster = name.partition("@")
        units.append(
            ShownUnit(
                app=app,
                cluster=cluster,
                action=_action(changes, is_planned=unit is not None),
                reason=unit.reason if unit else "not placed here any more",
                objects=tuple(_object(change) for change in changes),
                hooks=_hooks(hooks[unit.manifest]) if unit else (),
            )
        )
    return PlanReport(
        deployment=plan.deployment,
        digest=digest,
        revision=revision,
        release=plan.release,
        namespace=plan.namespace,
        changes=diff.summary(changed),
        units=tuple(units),
        passed_over=tuple(passed_over),
    )


def passed_over(snapshot: Snapshot) -> list[PassedOver]:
    """Every cluster of the cloud that an app is not put on, and why not."""
    placed = place(snapshot)
    labels = {cluster.name: cluster.labels for cluster in snapshot.clusters}
    found = []
    for app, chosen in placed.items():
        for cluster in snapshot.cloud_clusters:
            if cluster in chosen:
                continue
            candidate = any(
                choice.cluster_provider == cluster.partition("+")[0]
                and (
                    choice.cluster == cluster.partition("+")[2]
                    or choice.cluster_label in labels.get(cluster, ())
                )
                for rule in snapshot.rules.get(app, ())
                for choice in rule.choices()
            )
            reason = (
                "anyOf takes one cluster, and another came first in name order"
                if candidate
                else "no rule of its app intent names it or one of its labels"
            )
            found.append(PassedOver(app=app, cluster=cluster, reason=reason))
    return found


def _action(changes: Sequence[diff.ObjectChange], *, is_planned: bool) -> diff.Kind:
    kinds = {change.kind for change in changes}
    if not is_planned:
        return diff.Kind.DELETE
    if kinds <= {diff.Kind.KEEP}:
        return diff.Kind.KEEP
    return diff.Kind.CREATE if kinds == {diff.Kind.CREATE} else diff.Kind.CHANGE


def _object(change: diff.ObjectChange) -> ShownObject:
    return ShownObject(
        api_version=change.key.api_version,
        kind=change.key.kind,
        namespace=change.key.namespace,
        name=change.key.name,
        action=change.kind,
        fields=change.fields,
    )


def _hooks(items: Sequence[Manifest]) -> tuple[ShownHook, ...]:
    """In Helm's order: by weight, then kind, then name."""
    ranks = {item["kind"]: rank for rank, item in enumerate(in_order(items))}
    shown = map(_hook, items)
    return tuple(sorted(shown, key=lambda h: (_weight(h.weight), ranks[h.kind], h.name)))


def _weight(text: str) -> int:
    """Helm takes a weight that is no number for zero."""
    try:
        return int(text)
    except ValueError:
        return 0


def _hook(item: Manifest) -> ShownHook:
    annotations = item["metadata"].get("annotations") or {}
    return ShownHook(
        kind=item["kind"],
        name=item["metadata"]["name"],
        events=str(annotations.get(HOOK_ANNOTATION, "")),
        weight=str(annotations.get(HOOK_WEIGHT_ANNOTATION, "0")),
    )
