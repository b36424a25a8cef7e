"""Generic Kubernetes intents: objects added to an app, and changes to objects that its chart renders.

EMCO's generic action controller (GAC) owns these kinds. A group intent names an intent under
`GENERIC_KEY`; what is in it happens while a deployment is planned. Clients send booleans as strings.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from emco.domain.kinds.apps import App
from emco.domain.kinds.delivery import REPLACED_OR_CREATED, Deployment
from emco.domain.kinds.fleet import Cluster, ClusterProvider
from emco.domain.resource import NAME_PATTERN, Address, Body, Ref, Resource, Wire

GENERIC_KEY: Final = "gac"
"""EMCO's well-known controller name: under this key a group intent names a `GenericK8sIntent`."""

DATA_KINDS: Final = frozenset({"configmap", "secret"})
"""Kinds, in lower case, that can be made of the files of their customizations alone."""

NAME_OR_NOTHING: Final = rf"^$|{NAME_PATTERN}"
DATA_KEY: Final = r"^[-._A-Za-z0-9]*$"

_POINTER: Final = re.compile(r"^(/([^~/]|~[01])*)*$")
_NEEDS_VALUE: Final = frozenset({"add", "replace", "test"})
_NEEDS_FROM: Final = frozenset({"move", "copy"})


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _flag(value: Any) -> Any:
    return _lower(value) or "false" if isinstance(value, str) else value


Flag = Annotated[Literal["true", "false"], BeforeValidator(_flag)]
"""A boolean as EMCO writes it: a string, in any case; empty is false."""

MaybeName = Annotated[str, Field(pattern=NAME_OR_NOTHING, max_length=128)]


class GenericK8sIntent(
    Resource,
    plural="generic-k8s-intents",
    parent=Deployment,
    params=("genericK8sIntent",),
    wire=REPLACED_OR_CREATED,
):
    """A set of objects to add or change."""


class ResourceGvk(Body):
    """Which object is meant. Its kind is compared without regard to case."""

    api_version: str = Field(min_length=1, max_length=256)
    kind: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=253)


class GenericResource(
    Resource,
    plural="resources",
    parent=GenericK8sIntent,
    noun="Generic Resource",
    wire=Wire(put=REPLACED_OR_CREATED.put, file="file", file_required=False, secret_file=True),
):
    """An object to add to an app (`newObject`), or one of the app's own that is to be changed.

    The multipart `file` holds a new object as YAML. A new ConfigMap or Secret needs none: it can be
    made of the files of its customizations. An object is added where a customization selects the
    cluster, or everywhere when there is no customization.
    """

    app: Ref[App] = Field(examples=["frontend"])
    new_object: Flag = Field(examples=["false"])
    resource_gvk: ResourceGvk = Field(
        alias="resourceGVK",
        examples=[{"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"}],
    )

    @property
    def is_new(self) -> bool:
        """True when the object is to be added."""
        return self.new_object == "true"

    @property
    def is_data(self) -> bool:
        """True for ConfigMaps and Secrets, which hold files."""
        return self.resource_gvk.kind.lower() in DATA_KINDS

    @property
    def needs_file(self) -> bool:
        """True when there is no other way to know the new object."""
        return self.is_new and not self.is_data


class ClusterSelection(Body):
    """For which clusters a customization is meant: one by name, or all of a provider with a label.

    With `mode` deny it is meant for every cluster but those.
    """

    scope: Annotated[Literal["label", "name", ""], BeforeValidator(_lower)] = ""
    cluster_provider: MaybeName = ""
    cluster: MaybeName = ""
    cluster_label: MaybeName = ""
    mode: Annotated[Literal["allow", "deny", ""], BeforeValidator(_lower)] = "allow"

    def missing(self) -> str:
        """The JSON name of a field without which nothing can be selected, or an empty string."""
        needed = {
            "scope": self.scope,
            "clusterProvider": self.cluster_provider,
            **({"cluster": self.cluster} if self.scope == "name" else {}),
            **({"clusterLabel": self.cluster_label} if self.scope == "label" else {}),
        }
        return next((name for name, value in needed.items() if not value), "")


class PatchOperation(Body):
    """One operation of a JSON patch (RFC 6902).

    A value `$(http://…/kv-pairs/NAME?key=KEY)$` stands for what is stored under that key.
    """

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: str = Field(max_length=4096, description="JSON pointer (RFC 6901)")
    value: Any = None
    from_: str = Field(default="", max_length=4096, alias="from", description="JSON pointer")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {str(key).lower() for key in data}
        op = data.get("op")
        if op in _NEEDS_VALUE and "value" not in given:
            raise ValueError(f"the operation {op} needs a value")
        if op in _NEEDS_FROM and "from" not in given and "from_" not in given:
            raise ValueError(f"the operation {op} needs `from`")
        return data

    @field_validator("path", "from_")
    @classmethod
    def _is_pointer(cls, pointer: str) -> str:
        if not _POINTER.match(pointer):
            raise ValueError("not a JSON pointer: it starts with `/`, and `~` is written `~0`")
        return pointer

    @model_serializer(mode="wrap")
    def _keep_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A null is a value here, and what is read back must be good for writing again.
        needed = {"op", "path"}
        needed |= {"value"} if self.op in _NEEDS_VALUE else set()
        needed |= {"from", "from_"} if self.op in _NEEDS_FROM else set()
        kept = {key: value for key, value in handler(self).items() if key in needed}
        return {**kept, "value": self.value} if "value" in needed else kept


class DataKeyOption(Body):
    """What one uploaded file is for: data under `keyName`, or with `mergePatch` a patch."""

    file_name: str = Field(min_length=1, max_length=255)
    key_name: str = Field(default="", pattern=DATA_KEY, max_length=253)
    merge_patch: Flag = "false"

    @property
    def is_patch(self) -> bool:
        """True when the file is no data."""
        return self.merge_patch == "true"


class DataOptions(Body):
    """Options for the files of a ConfigMap or Secret."""

    data_key_options: list[DataKeyOption] = Field(default_factory=list)


class Customization(
    Resource,
    plural="customizations",
    parent=GenericResource,
    noun="Customization",
    wire=Wire(
        put=REPLACED_OR_CREATED.put,
        file="files",
        repeated=True,
        file_required=False,
        secret_file=True,
    ),
):
    """A change of one object, on all clusters or on some.

    The repeated multipart part `files` holds what becomes data of a ConfigMap or Secret, under the
    name of the file unless an option gives another key, and merge patches as YAML.
    """

    cluster_specific: Flag = Field(default="false", examples=["true"])
    cluster_info: ClusterSelection = Field(
        default=ClusterSelection(),
        examples=[{"scope": "label", "clusterProvider": "edge", "clusterLabel": "east"}],
    )
    patch_type: Annotated[Literal["json", "merge", ""], BeforeValidator(_lower)] = Field(
        default="", examples=["json"]
    )
    patch_json: list[PatchOperation] = Field(
        default_factory=list, examples=[[{"op": "replace", "path": "/spec/replicas", "value": 3}]]
    )
    config_map_options: DataOptions = DataOptions()
    secret_options: DataOptions = DataOptions()

    @property
    def is_cluster_specific(self) -> bool:
        """True when `cluster_info` counts."""
        return self.cluster_specific == "true"

    @model_validator(mode="after")
    def _consistent(self) -> "Customization":
        if self.is_cluster_specific and (missing := self.cluster_info.missing()):
            raise ValueError(f"clusterSpecific is true, so clusterInfo.{missing} is required")
        if self.patch_type == "json" and not self.patch_json:
            raise ValueError("patchType is json, so patchJson needs at least one operation")
        return self

    def references(self, at: Address) -> Iterator[tuple[str, Address]]:
        """The provider, and the cluster where one is chosen by name; with a label its name means nothing."""
        if not self.is_cluster_specific:
            return
        chosen = self.cluster_info
        provider = Address.of(ClusterProvider, [chosen.cluster_provider])
        yield "spec.clusterInfo.clusterProvider", provider
        if chosen.scope == "name":
            cluster = Address.of(Cluster, [chosen.cluster_provider, chosen.cluster])
            yield "spec.clusterInfo.cluster", cluster

    def options(self, kind: str) -> dict[str, DataKeyOption]:
        """The options that count for a kind of object, by file name."""
        of_kind = {"configmap": self.config_map_options, "secret": self.secret_options}
        chosen = of_kind.get(kind.lower(), DataOptions())
        return {option.file_name: option for option in chosen.data_key_options}
