"""Deployments and the intents that say where their apps run and which controllers take part."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from emco.domain.kinds.apps import App, CompositeApp, CompositeProfile, OverrideValues
from emco.domain.kinds.fleet import Cluster, ClusterProvider
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.resource import Address, Body, Name, Ref, Resource, Wire

PLACEMENT_KEY = "genericPlacementIntent"
"""The reserved key of a group intent: it names the placement, not a controller."""

REPLACED_OR_CREATED = Wire(put=(200, 201))


class Controller(Resource, plural="controllers"):
    """A placement or action controller that takes part in planning."""

    host: str = Field(default="", max_length=128)
    port: int = Field(default=0, ge=0, le=65535)
    type: str = Field(default="", max_length=48, examples=["placement", "action"])
    priority: int = Field(default=0, ge=0, le=100, description="Lower numbers are called first")


class DtcController(Controller, plural="dtc-controllers", noun="DtcController"):
    """A sub-controller of EMCO's traffic controller; kept for its clients."""


class ClmController(
    Controller, plural="clm-controllers", noun="ClmController", wire=Wire(put=(200, 200))
):
    """A controller told about clusters that come and go; kept for EMCO's clients."""


class IgnoredDifference(Body):
    """Fields that are not drift: below a JSON pointer, or whatever a field manager owns."""

    kind: str = Field(default="", max_length=128, description="Empty means every kind")
    name: str = Field(default="", max_length=253, description="Empty means every object")
    json_pointer: str = Field(default="", max_length=1024, examples=["/spec/replicas"])
    manager: str = Field(default="", max_length=128, examples=["my-autoscaler"])

    @model_validator(mode="after")
    def _says_what(self) -> "IgnoredDifference":
        if not self.json_pointer and not self.manager:
            raise ValueError("needs a jsonPointer or a manager")
        if self.json_pointer and not self.json_pointer.startswith("/"):
            raise ValueError("a jsonPointer begins with /")
        return self


class Policies(Body):
    """How a deployment's operations behave; may be changed at any time, unlike the rest."""

    on_failure: Literal["hold", "continue", "rollback"] = Field(
        default="hold",
        description="`hold` stops where it is, `continue` lets other clusters go on, "
        "`rollback` puts back what the operation changed, on every cluster",
    )
    preflight: Literal["all", "per-cluster", "strict"] = Field(
        default="all",
        description="`all` applies nothing unless every cluster that answers is well, "
        "`per-cluster` lets each decide for itself, `strict` wants all to answer first",
    )
    drift: Literal["off", "warn", "heal"] = Field(
        default="off", description="What is done about objects that somebody else changed"
    )
    hook_timeout: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="Seconds that a hook may run; its annotation emco.io/hook-timeout goes first",
    )
    revisions: int = Field(default=10, ge=1, le=1000, description="How many are kept")
    ignore_differences: list[IgnoredDifference] = Field(default_factory=list, max_length=100)


class Deployment(
    Resource,
    plural="deployment-intent-groups",
    parent=CompositeApp,
    params=("deploymentIntentGroup",),
    noun="DeploymentIntentGroup",
    wire=REPLACED_OR_CREATED,
):
    """One deployment of a composite app: a profile, a release name, a logical cloud, values."""

    composite_profile: Ref[CompositeProfile] = Field(examples=["production"])
    version: Name = Field(
        description="Used as the Helm release name of every app", examples=["boutique"]
    )
    logical_cloud: Ref[LogicalCloud] = Field(examples=["edge-cloud"])
    override_values: list[OverrideValues] = Field(description="Required, as in EMCO; `[]` for none")
    policies: Policies | None = Field(default=None, description="How its operations behave")

    @property
    def in_force(self) -> Policies:
        """The policies, given or not."""
        return self.policies or Policies()


class GroupIntent(
    Resource,
    plural="intents",
    parent=Deployment,
    noun="Intent",
    wire=REPLACED_OR_CREATED,
):
    """Names the intents that belong to a deployment, by the controller that understands each.

    The intents may be created later: their names are checked when the deployment is approved.
    """

    intent: dict[str, Name] = Field(examples=[{PLACEMENT_KEY: "placement"}])

    def references(self, at: Address) -> Iterator[tuple[str, Address]]:
        """The controllers; the intents they own are late-bound."""
        for controller in sorted(self.intent):
            if controller != PLACEMENT_KEY:
                yield f"spec.intent.{controller}", Address.of(Controller, [controller])


class GenericPlacementIntent(
    Resource,
    plural="generic-placement-intents",
    parent=Deployment,
    wire=REPLACED_OR_CREATED,
):
    """A set of per-app placement intents."""


class ClusterChoice(Body):
    """One cluster by name, or every cluster of a provider that carries a label."""

    cluster_provider: Ref[ClusterProvider] = Field(examples=["edge"])
    cluster: Ref[Cluster] | None = None
    cluster_label: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_empty_strings(cls, data: Any) -> Any:
        # EMCO's Go structs send "" for what was left out.
        return {k: v for k, v in data.items() if v != ""} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _exactly_one(self) -> "ClusterChoice":
        if self.cluster is None and self.cluster_label is None:
            raise ValueError("Missing cluster or clusterLabel")
        if self.cluster is not None and self.cluster_label is not None:
            raise ValueError("Only one of cluster name or cluster label allowed")
        return self


class AnyOf(Body):
    """One cluster out of these; the first of them in name order is taken."""

    any_of: list[ClusterChoice] = Field(min_length=1)


def _shape(value: Any) -> str:
    if isinstance(value, AnyOf):
        return "anyOf"
    keys = value if isinstance(value, dict) else {}
    return "anyOf" if any(str(k).lower() == "anyof" and keys[k] for k in keys) else "choice"


Mandatory = Annotated[
    Annotated[ClusterChoice, Tag("choice")] | Annotated[AnyOf, Tag("anyOf")],
    Discriminator(_shape),
]


class PlacementRule(Body):
    """Where one app runs: on all of `allOf`, and on one of the top-level `anyOf`."""

    all_of: list[Mandatory] = Field(default_factory=list)
    any_of: list[ClusterChoice] = Field(default_factory=list)

    def choices(self) -> Iterator[ClusterChoice]:
        """Every choice in it, wherever it stands."""
        for entry in self.all_of:
            yield from entry.any_of if isinstance(entry, AnyOf) else (entry,)
        yield from self.any_of


class AppPlacement(
    Resource,
    plural="app-intents",
    parent=GenericPlacementIntent,
    params=("genericAppPlacementIntent",),
    noun="AppIntent",
    wire=REPLACED_OR_CREATED,
):
    """The placement of one app."""

    app: Ref[App] = Field(examples=["frontend"])
    intent: PlacementRule = Field(
        examples=[{"allOf": [{"clusterProvider": "edge", "clusterLabel": "east"}]}]
    )
