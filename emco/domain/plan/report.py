"""A plan for people: what would happen to every object, on which cluster, in which order, and why."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from emco.domain.history import Changes
from emco.domain.plan import diff
from emco.domain.plan.hooks import Event, Goal, Scope, hooks_of
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
    """One hook of a chart at one event; `runs` when this plan makes it run."""

    kind: str
    name: str
    event: Event
    weight: int = 0
    scope: Scope = Scope.RELEASE
    runs: bool = False


class ShownUnit(_Shown):
    """One app on one cluster. Units are dealt with side by side, the objects of one in this order.

    `after` names the apps it waits for before it starts; a unit that is left alone or removed has none.
    """

    app: str
    cluster: str
    action: diff.Kind
    reason: str = ""
    after: tuple[str, ...] = ()
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
    goals: Mapping[tuple[str, str], Goal | None],
    *,
    digest: str,
    revision: int,
    passed_over: Sequence[PassedOver],
) -> PlanReport:
    """`changed` maps `app@cluster` to the changes of its objects, `hooks` a manifest's digest to its hooks,
    `goals` a unit (app, cluster) to what becomes of its release; None when it is left alone."""
    planned = {f"{u.app}@{u.cluster}": u for u in plan.units}
    units = []
    for name, changes in changed.items():
        unit = planned.get(name)
        app, _, cluster = name.partition("@")
        goal = goals.get((app, cluster))
        units.append(
            ShownUnit(
                app=app,
                cluster=cluster,
                action=_action(changes, is_planned=unit is not None),
                reason=unit.reason if unit else "not placed here any more",
                after=_needs(plan, app) if goal else (),
                objects=tuple(_object(change) for change in changes),
                hooks=_hooks(hooks[unit.manifest], _events(goal)) if unit else (),
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


def _needs(plan: Plan, app: str) -> tuple[str, ...]:
    """Those of the plan that one waits for: an app that is placed nowhere is waited for by nobody."""
    placed = {unit.app for unit in plan.units}
    return tuple(sorted({d.needs for d in plan.dependencies if d.app == app} & placed))


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


def _events(goal: Goal | None) -> frozenset[Event]:
    return frozenset({e for e in (goal.before, goal.after) if e}) if goal else frozenset()


def _hooks(items: Sequence[Manifest], runs: frozenset[Event]) -> tuple[ShownHook, ...]:
    """Those that run now come first, event by event, in the order in which they run."""
    shown = (
        ShownHook(
            kind=hook.key.kind,
            name=hook.key.name,
            event=event,
            weight=hook.weight,
            scope=hook.scope,
            runs=event in runs,
        )
        for event in Event
        for hook in hooks_of(items, event)
    )
    return tuple(sorted(shown, key=lambda hook: not hook.runs))
