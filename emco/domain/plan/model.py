"""What a plan is made of: the inputs read in one snapshot, and the plan that comes out of them.

A plan is immutable and content-addressed. It names manifests by digest; the manifests, which may
hold Kubernetes Secrets, stay in encrypted blobs and never travel with it.
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from emco.domain.dependencies import Dependency
from emco.domain.kinds.delivery import PlacementRule
from emco.domain.kinds.generic import Customization, GenericResource
from emco.domain.status import ObjectKey

Manifest = dict[str, Any]
"""One Kubernetes object as JSON."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AppInput(_Value):
    """One app of the composite app: digests of its chart and profile archives, and its overrides."""

    name: str
    chart: str
    profile: str = ""
    overrides: dict[str, str] = Field(default_factory=dict)


class ClusterInput(_Value):
    """One cluster a deployment could run on."""

    provider: str
    cluster: str
    labels: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """EMCO's name for a cluster: `provider+cluster`."""
        return f"{self.provider}+{self.cluster}"


class Customisation(_Value):
    """One change of a generic resource; `files` is the digest of its bundle, if it has one."""

    name: str
    spec: Customization
    files: str = ""


class GenericInput(_Value):
    """One generic resource with its changes in name order; `file` is the digest of its YAML."""

    intent: str
    name: str
    spec: GenericResource
    file: str = ""
    customisations: tuple[Customisation, ...] = ()


class Snapshot(_Value):
    """Everything a plan depends on, read from the store in one consistent picture."""

    deployment: str = Field(description="project/compositeApp/version/name")
    identity: str = Field(default="", description="Whose mark the objects carry, if not its own")
    release: str
    namespace: str
    namespace_labels: dict[str, str] = Field(default_factory=dict)
    cloud: str = Field(description="Path of the logical cloud")
    cloud_clusters: tuple[str, ...] = ()
    apps: tuple[AppInput, ...] = ()
    clusters: tuple[ClusterInput, ...] = ()
    rules: dict[str, tuple[PlacementRule, ...]] = Field(default_factory=dict)
    generic: tuple[GenericInput, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    @property
    def owner(self) -> str:
        """The deployment whose mark the objects carry."""
        return self.identity or self.deployment


class Capabilities(_Value):
    """What a cluster tells charts about itself; charts may render differently for each."""

    kube_version: str = ""
    api_versions: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for clusters that render alike."""
        return digest_of([self.kube_version, *self.api_versions])


class ChartInfo(_Value):
    """What `Chart.yaml` says of a chart, as far as `helm list` shows it."""

    name: str = ""
    version: str = ""
    app_version: str = ""


class Rendered(_Value):
    """One chart rendered for one set of capabilities, sorted into what is done with each object."""

    chart: ChartInfo = ChartInfo()
    crds: tuple[Manifest, ...] = ()
    resources: tuple[Manifest, ...] = ()
    hooks: tuple[Manifest, ...] = ()


class UnitPlan(_Value):
    """One app on one cluster: what will be there, and why there."""

    app: str
    cluster: str
    manifest: str = Field(
        description="Digest of the blob with the `Rendered` objects, marked as ours"
    )
    objects: tuple[ObjectKey, ...] = ()
    hooked: bool = Field(default=False, description="Its chart has hooks")
    reason: str = ""


class Plan(_Value):
    """What an operation will bring about, on every cluster."""

    deployment: str
    identity: str = ""
    release: str
    namespace: str
    namespace_labels: dict[str, str] = Field(default_factory=dict)
    cloud: str
    units: tuple[UnitPlan, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    @property
    def owner(self) -> str:
        """The deployment whose mark the objects carry: the first one, after migrations."""
        return self.identity or self.deployment

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters with at least one unit, in name order."""
        return tuple(sorted({unit.cluster for unit in self.units}))

    def on(self, cluster: str) -> tuple[UnitPlan, ...]:
        """The units of one cluster, in app order."""
        return tuple(unit for unit in self.units if unit.cluster == cluster)

    def unit(self, cluster: str, app: str) -> UnitPlan:
        """One unit; KeyError if the plan has none."""
        for unit in self.units:
            if (unit.cluster, unit.app) == (cluster, app):
                return unit
        raise KeyError((cluster, app))


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
