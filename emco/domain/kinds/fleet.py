"""The clusters that deployments can run on, and what is known about each."""

from typing import Any

from pydantic import Field

from emco.domain.errors import NotFound
from emco.domain.resource import Body, Metadata, Name, Resource, Wire

LISTED = Wire(put=(201, 201))


class ClusterProvider(Resource, plural="cluster-providers", noun="Cluster provider", wire=LISTED):
    """Who runs a set of clusters; cluster names are unique within one."""


class GitOps(Body):
    """EMCO's pointer to a git repository that a GitOps agent on the cluster follows."""

    git_ops_type: str = Field(default="", max_length=512)
    git_ops_reference_object: str = Field(default="", max_length=512)
    git_ops_resource_object: str = Field(default="", max_length=512)


class Cluster(
    Resource,
    plural="clusters",
    parent=ClusterProvider,
    wire=Wire(put=None, file="file", secret_file=True),
):
    """One Kubernetes cluster; its kubeconfig travels as the multipart `file` and is kept encrypted."""

    git_ops: GitOps | None = None

    @property
    def needs_file(self) -> bool:
        """A GitOps cluster is reached through its repository."""
        return self.git_ops is None


class ClusterLabel(
    Resource,
    plural="labels",
    parent=Cluster,
    noun="Cluster Label",
    wire=Wire(put=(201, 201), bare=True),
):
    """A word by which placement intents choose clusters: the whole body is `{"clusterLabel": "east"}`."""

    cluster_label: Name = Field(examples=["east"])

    def identity(self, metadata: Metadata | None) -> tuple[str, ...]:
        """A label is its own name."""
        return (self.cluster_label,)


class KeyValues(Resource):
    """A list of one-entry maps, as EMCO writes key-value sets."""

    kv: list[dict[str, Any]] = Field(default_factory=list, examples=[[{"zone": "a"}]])

    def value(self, key: str) -> Any:
        """The value under `key`; `NotFound` when no entry has it."""
        for entry in self.kv:
            if key in entry:
                return entry[key]
        raise NotFound(f"{self.noun} key value not found", f"no entry has the key '{key}'")


class ClusterKv(
    KeyValues,
    plural="kv-pairs",
    parent=Cluster,
    params=("clusterKv",),
    noun="Cluster key value pair",
    wire=LISTED,
):
    """Facts about one cluster that customisations and controllers read."""


class ClusterSyncObject(
    KeyValues,
    plural="cluster-sync-objects",
    parent=ClusterProvider,
    noun="Cluster sync object",
    wire=LISTED,
):
    """Where and how a provider's GitOps clusters are reached."""
