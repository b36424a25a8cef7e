"""Projects, and the logical clouds in which a project's deployments run."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from emco.domain.errors import Invalid
from emco.domain.kinds.fleet import Cluster, ClusterProvider, KeyValues
from emco.domain.resource import Address, Body, Ref, Resource, View, Wire

NAMESPACE_PATTERN = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"

NO_PUT = Wire(put=None)


class Project(Resource, plural="projects", wire=Wire(put=(200, 200))):
    """The tenant: everything but the clusters lives below one."""


class CloudUser(Body):
    """Who the logical cloud's credentials are issued to (level 1)."""

    user_name: str = Field(default="", max_length=20)
    type: str = Field(default="certificate", max_length=128)


class LogicalCloud(Resource, plural="logical-clouds", parent=Project, noun="Logical Cloud"):
    """A group of clusters that a project's deployments may use, with a namespace of its own.

    Level "0" (admin) uses the clusters' own credentials; level "1" issues users, roles and quotas.
    """

    namespace: str = Field(
        default="",
        pattern=NAMESPACE_PATTERN,
        description="Namespace of its deployments; empty means `default` at level 0",
    )
    labels: dict[str, Annotated[str, Field(max_length=128)]] = Field(
        default_factory=dict, description="Labels put on that namespace"
    )
    level: Literal["0", "1", ""] = Field(default="1", examples=["0"])
    user: CloudUser = CloudUser()

    @property
    def is_admin(self) -> bool:
        """True for EMCO's level 0."""
        return self.level == "0"


class ClusterReference(
    Resource,
    plural="cluster-references",
    parent=LogicalCloud,
    noun="Cluster Reference",
    wire=NO_PUT,
):
    """Makes one cluster part of the logical cloud."""

    cluster_provider: Ref[ClusterProvider] = Field(examples=["edge"])
    cluster: Ref[Cluster] = Field(examples=["c1"])
    load_balancer_ip: str = Field(default="", max_length=45, alias="loadBalancerIP")


class UserPermission(
    Resource,
    plural="user-permissions",
    parent=LogicalCloud,
    noun="User Permission",
    wire=NO_PUT,
):
    """What the cloud's user may do; an empty namespace means the whole cluster."""

    namespace: str = Field(default="", pattern=NAMESPACE_PATTERN)
    api_groups: list[str] = Field(examples=[["", "apps"]])
    resources: list[str] = Field(examples=[["pods", "deployments"]])
    verbs: list[str] = Field(examples=[["get", "list", "watch"]])


class ClusterQuota(
    Resource,
    plural="cluster-quotas",
    parent=LogicalCloud,
    noun="Cluster Quota",
    wire=NO_PUT,
):
    """A ResourceQuota for the cloud's namespace on every cluster: quota key to quantity."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[str, Field(max_length=128)]]

    def check(self, at: Address, view: View) -> None:
        """Refused for admin clouds, as in EMCO: their namespace is not ours to limit."""
        cloud = view.find(LogicalCloud, at.ancestor(ClusterQuota, LogicalCloud))
        if cloud is not None and cloud.is_admin:
            raise Invalid(
                "Cluster Quotas not allowed for Logical Cloud Level 0",
                f"{at} belongs to an admin cloud; use a level 1 cloud for quotas",
            )


class LogicalCloudKv(
    KeyValues,
    plural="kv-pairs",
    parent=LogicalCloud,
    noun="Logical Cloud KV Pair",
    wire=NO_PUT,
):
    """Values kept with a logical cloud for controllers to read."""


def cloud_namespace(cloud: LogicalCloud) -> str:
    """The namespace of a cloud's deployments on its clusters."""
    return cloud.namespace or "default"
