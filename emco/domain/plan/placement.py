"""Where each app runs: EMCO's placement rules, with a reason for every cluster chosen.

`allOf` entries are mandatory: the named cluster, or every cluster with the label. A nested
`anyOf` and the top-level `anyOf` each take one cluster out of theirs, the first in name order.
Clusters outside the logical cloud are never chosen; a mandatory one outside it is refused.
"""

from collections.abc import Iterable, Sequence

from emco.domain.errors import Invalid
from emco.domain.kinds.delivery import AnyOf, ClusterChoice, PlacementRule
from emco.domain.plan.model import ClusterInput, Snapshot

NO_CLUSTERS = "No compatible clusters have been provided to the Deployment Intent Group"
OUTSIDE_CLOUD = "The specified Logical Cloud doesn't provide the mandatory clusters"


def place(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """App to chosen cluster to reason, both in name order.

    Raises `Invalid` when an app has no placement, when nothing is left to choose, or when a
    mandatory cluster is not part of the logical cloud.
    """
    return {app: _place_app(app, snapshot) for app in sorted(a.name for a in snapshot.apps)}


def _place_app(app: str, snapshot: Snapshot) -> dict[str, str]:
    rules = snapshot.rules.get(app, ())
    if not rules:
        raise Invalid(NO_CLUSTERS, f"the app '{app}' has no app intent; every app needs one")
    chosen: dict[str, str] = {}
    for rule in rules:
        for cluster, reason in _apply(rule, app, snapshot):
            chosen.setdefault(cluster, reason)
    if not chosen:
        raise Invalid(
            NO_CLUSTERS,
            f"no cluster of {snapshot.cloud} satisfies the app intent of '{app}': "
            f"it offers {', '.join(snapshot.cloud_clusters) or 'no clusters'}",
        )
    return dict(sorted(chosen.items()))


def _apply(rule: PlacementRule, app: str, snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    for entry in rule.all_of:
        if isinstance(entry, AnyOf):
            yield from _one_of(entry.any_of, snapshot)
        else:
            yield from _every(entry, app, snapshot)
    if rule.any_of:
        yield from _one_of(rule.any_of, snapshot)


def _every(choice: ClusterChoice, app: str, snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    for cluster in _matching(choice, snapshot.clusters):
        if cluster.name not in snapshot.cloud_clusters:
            raise Invalid(
                OUTSIDE_CLOUD,
                f"the app '{app}' must run on {cluster.name} ({_describe(choice)}), "
                f"which {snapshot.cloud} does not reference",
            )
        yield cluster.name, f"allOf: {_describe(choice)}"


def _one_of(choices: Sequence[ClusterChoice], snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    candidates = {
        cluster.name: choice
        for choice in choices
        for cluster in _matching(choice, snapshot.clusters)
        if cluster.name in snapshot.cloud_clusters
    }
    if candidates:
        name = min(candidates)
        yield (
            name,
            f"anyOf: {_describe(candidates[name])}, first of {len(candidates)} in name order",
        )


def _matching(choice: ClusterChoice, clusters: Iterable[ClusterInput]) -> list[ClusterInput]:
    return sorted(
        (
            c
            for c in clusters
            if c.provider == choice.cluster_provider
            and (c.cluster == choice.cluster or choice.cluster_label in c.labels)
        ),
        key=lambda c: c.name,
    )


def _describe(choice: ClusterChoice) -> str:
    if choice.cluster is not None:
        return f"cluster {choice.cluster_provider}+{choice.cluster}"
    return f"label {choice.cluster_label} of {choice.cluster_provider}"
