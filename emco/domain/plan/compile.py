"""From inputs and rendered charts to a plan: which charts to render, and what comes of them.

Both steps are pure, so that the same snapshot and the same renderings always give the same plan.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

from emco.domain.plan.manifests import key_of
from emco.domain.plan.model import (
    AppInput,
    Capabilities,
    Plan,
    Rendered,
    Snapshot,
    UnitPlan,
    digest_of,
)
from emco.domain.plan.placement import place

Placed = Mapping[str, Mapping[str, str]]
"""App to cluster to the reason why it was chosen."""


@dataclass(frozen=True)
class Rendering:
    """One call of the renderer; clusters with equal capabilities share it."""

    app: AppInput
    capabilities: Capabilities
    is_upgrade: bool = False

    @property
    def key(self) -> str:
        """Equal for renderings that must give the same objects."""
        return digest_of([self.app.model_dump(), self.capabilities.digest, self.is_upgrade])


def renderings(
    snapshot: Snapshot,
    placed: Placed,
    capabilities: Mapping[str, Capabilities],
    installed: Set[tuple[str, str]] = frozenset(),
) -> dict[tuple[str, str], Rendering]:
    """What has to be rendered for each (app, cluster); those with an equal `key` are the same.

    `capabilities` is by cluster name; `installed` are the units that have a release already.
    """
    return {
        (app.name, cluster): Rendering(
            app, capabilities[cluster], is_upgrade=(app.name, cluster) in installed
        )
        for app in snapshot.apps
        for cluster in placed[app.name]
    }


def inputs_digest(snapshot: Snapshot) -> str:
    """Equal while a plan made now would be made from the same things.

    Of the clusters only those count that are chosen: one that joins elsewhere changes nothing.
    """
    kept = snapshot.model_dump(mode="json", exclude={"clusters", "cloud_clusters", "rules"})
    return digest_of([kept, place(snapshot)])


def compile_plan(
    snapshot: Snapshot,
    placed: Placed,
    rendered: Mapping[tuple[str, str], tuple[str, Rendered]],
) -> Plan:
    """The plan. `rendered` maps (app, cluster) to the manifest's digest and its marked objects."""
    units = []
    for app in snapshot.apps:
        for cluster, reason in placed[app.name].items():
            digest, objects = rendered[app.name, cluster]
            keys = tuple(key_of(item) for item in objects.resources)
            units.append(
                UnitPlan(
                    app=app.name,
                    cluster=cluster,
                    manifest=digest,
                    objects=keys,
                    hooked=bool(objects.hooks),
                    reason=reason,
                )
            )
    return Plan(
        deployment=snapshot.deployment,
        identity=snapshot.identity,
        release=snapshot.release,
        namespace=snapshot.namespace,
        namespace_labels=snapshot.namespace_labels,
        cloud=snapshot.cloud,
        units=tuple(sorted(units, key=lambda u: (u.cluster, u.app))),
        dependencies=snapshot.dependencies,
    )
