"""Everything a plan depends on, read from the store in one consistent picture."""

from collections.abc import Sequence

from emco.domain.dependencies import Dependency
from emco.domain.errors import Invalid
from emco.domain.kinds.apps import App, AppDependency, AppProfile, CompositeApp, CompositeProfile
from emco.domain.kinds.delivery import (
    PLACEMENT_KEY,
    AppPlacement,
    Deployment,
    GenericPlacementIntent,
    GroupIntent,
    PlacementRule,
)
from emco.domain.kinds.fleet import Cluster, ClusterLabel
from emco.domain.kinds.tenancy import ClusterReference, LogicalCloud, Project, cloud_namespace
from emco.domain.names import short_name
from emco.domain.plan.model import AppInput, ClusterInput, Snapshot
from emco.domain.resource import Address
from emco.store.generic import generic_inputs
from emco.store.reader import Reader


def read_snapshot(view: Reader, deployment: Address) -> Snapshot:
    """The inputs of a deployment's plan as they are stored now.

    Raises `NotFound` when there is no such deployment, and `Invalid` when its logical cloud or its
    placement is missing.
    """
    stored = view.get(deployment)
    spec = stored.spec
    assert isinstance(spec, Deployment)  # noqa: S101 — the address says so
    app_root = deployment.ancestor(Deployment, CompositeApp)
    project = deployment.ancestor(Deployment, Project)
    cloud_at = Address.of(LogicalCloud, [project.name, spec.logical_cloud])
    cloud = view.find(LogicalCloud, cloud_at)
    if cloud is None:
        raise Invalid("Failed to obtain Logical Cloud specified", f"{cloud_at} does not exist")
    profile_root = Address.of(
        CompositeProfile, [*app_root.names(CompositeApp), spec.composite_profile]
    )
    profiles = {
        str(profile.app): view.get(at).file or ""
        for at, profile in view.specs(AppProfile, profile_root)
    }
    overrides: dict[str, dict[str, str]] = {}
    for entry in spec.override_values:
        overrides.setdefault(entry.app, {}).update(entry.values)
    life = view.lifecycle(deployment)
    return Snapshot(
        deployment=short_name(deployment),
        identity=life.identity,
        release=life.release or spec.version,
        namespace=cloud_namespace(cloud),
        namespace_labels=cloud.labels,
        cloud=cloud_at.path,
        cloud_clusters=tuple(
            sorted(
                f"{reference.cluster_provider}+{reference.cluster}"
                for _, reference in view.specs(ClusterReference, cloud_at)
            )
        ),
        apps=tuple(
            AppInput(
                name=at.name,
                chart=view.get(at).file or "",
                profile=profiles.get(at.name, ""),
                overrides=overrides.get(at.name, {}),
            )
            for at, _ in view.specs(App, app_root)
        ),
        clusters=_clusters(view.specs(Cluster, None), view.specs(ClusterLabel, None)),
        rules=_rules(
            [intent for _, intent in view.specs(GroupIntent, deployment)],
            view.specs(AppPlacement, deployment),
        ),
        generic=generic_inputs(view, deployment),
        dependencies=dependencies(view, app_root),
    )


def dependencies(view: Reader, app_root: Address) -> tuple[Dependency, ...]:
    """What the apps of a composite app wait for, as it is written now."""
    return tuple(
        spec.of(at.ancestor(AppDependency, App).name)
        for at, spec in view.specs(AppDependency, app_root)
    )


def used_by(view: Reader, deployment: Address, clusters: Sequence[str]) -> list[Address]:
    """What an operation with these clusters must find unchanged until it ended."""
    spec = view.get(deployment).spec
    assert isinstance(spec, Deployment)  # noqa: S101 — the address says so
    app_root = deployment.ancestor(Deployment, CompositeApp)
    project = deployment.ancestor(Deployment, Project)
    profile_root = Address.of(
        CompositeProfile, [*app_root.names(CompositeApp), spec.composite_profile]
    )
    return [
        Address.of(LogicalCloud, [project.name, spec.logical_cloud]),
        *(at for at, _ in view.specs(App, app_root)),
        *(at for at, _ in view.specs(AppProfile, profile_root)),
        *(cluster_address(name) for name in clusters),
    ]


def cluster_address(name: str) -> Address:
    """`provider+cluster` as an address; neither name can contain a plus sign."""
    provider, _, cluster = name.partition("+")
    return Address.of(Cluster, [provider, cluster])


def _clusters(
    clusters: Sequence[tuple[Address, Cluster]], labels: Sequence[tuple[Address, ClusterLabel]]
) -> tuple[ClusterInput, ...]:
    by_cluster: dict[str, set[str]] = {}
    for at, label in labels:
        by_cluster.setdefault(at.ancestor(ClusterLabel, Cluster).path, set()).add(
            label.cluster_label
        )
    return tuple(
        ClusterInput(
            provider=at.names(Cluster)[0],
            cluster=at.name,
            labels=frozenset(by_cluster.get(at.path, ())),
        )
        for at, _ in clusters
    )


def _rules(
    groups: Sequence[GroupIntent], placements: Sequence[tuple[Address, AppPlacement]]
) -> dict[str, tuple[PlacementRule, ...]]:
    named = {group.intent[PLACEMENT_KEY] for group in groups if PLACEMENT_KEY in group.intent}
    if not named:
        raise Invalid(
            "GenericPlacementIntent not found",
            f"no group intent of the deployment has the key {PLACEMENT_KEY}",
        )
    rules: dict[str, tuple[PlacementRule, ...]] = {}
    for at, placement in placements:
        if at.ancestor(AppPlacement, GenericPlacementIntent).name in named:
            rules[placement.app] = (*rules.get(placement.app, ()), placement.intent)
    return rules
