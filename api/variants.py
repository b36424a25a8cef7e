"""The few answers in which EMCO's kinds differ from each other: list forms chosen by a query."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from emco.domain.errors import NotFound
from emco.domain.kinds.apps import AppProfile
from emco.domain.kinds.delivery import AppPlacement, GroupIntent
from emco.domain.kinds.fleet import Cluster, ClusterLabel, KeyValues
from emco.domain.resource import Address, Resource
from emco.store.model import Stored
from emco.store.store import Store

Json = dict[str, Any]


def view(stored: Stored) -> Json:
    """One resource as its clients see it, all four metadata fields included."""
    spec: Json = stored.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    if stored.metadata is None:
        return spec
    metadata: Json = stored.metadata.model_dump(mode="json", by_alias=True)
    return {"metadata": metadata, **({"spec": spec} if has_spec(type(stored.spec)) else {})}


def has_spec(kind: type[Resource]) -> bool:
    """False for kinds that are nothing but a name (projects)."""
    return bool(kind.model_fields) or kind.model_config.get("extra") == "allow"


@dataclass(frozen=True)
class ListVariant:
    """`?query=value` on a list: `answer(store, parent, stored, value)` replaces the plain list."""

    query: str
    type: Any
    description: str
    answer: Callable[[Store, Address, Sequence[Stored], Any], Any]


def _clusters_with_label(
    store: Store, provider: Address, clusters: Sequence[Stored], label: str
) -> list[str]:
    labels = store.list(ClusterLabel, provider).items
    carriers = {
        item.address.ancestor(ClusterLabel, Cluster)
        for item in labels
        if item.address.name == label
    }
    return [c.address.name for c in clusters if c.address in carriers]


def _clusters_and_labels(
    store: Store, provider: Address, clusters: Sequence[Stored], wanted: bool
) -> list[Json]:
    if not wanted:
        return [view(c) for c in clusters]
    carried: dict[Address, list[Json]] = {}
    for item in store.list(ClusterLabel, provider).items:
        cluster = item.address.ancestor(ClusterLabel, Cluster)
        carried.setdefault(cluster, []).append(view(item))
    return [
        {"metadata": view(c)["metadata"], "labels": carried.get(c.address, [])} for c in clusters
    ]


def _profile_of_app(store: Store, parent: Address, profiles: Sequence[Stored], app: str) -> Json:
    for profile in profiles:
        if isinstance(profile.spec, AppProfile) and profile.spec.app == app:
            return view(profile)
    raise NotFound("AppProfile not found", f"{parent} has no profile for the app {app}")


def _placements_of_app(
    store: Store, parent: Address, placements: Sequence[Stored], app: str
) -> list[Json]:
    return [view(p) for p in placements if isinstance(p.spec, AppPlacement) and p.spec.app == app]


def _intent_of_key(store: Store, parent: Address, intents: Sequence[Stored], key: str) -> Json:
    for intent in intents:
        if isinstance(intent.spec, GroupIntent) and key in intent.spec.intent:
            return {"intent": {key: intent.spec.intent[key]}}
    raise NotFound("Intent not found", f"no group intent of {parent} has the key {key}")


LISTS: Final[Mapping[type[Resource], tuple[ListVariant, ...]]] = {
    Cluster: (
        ListVariant(
            "label", str, "Only the names of clusters with this label", _clusters_with_label
        ),
        ListVariant("withLabels", bool, "Every cluster with its labels", _clusters_and_labels),
    ),
    AppProfile: (ListVariant("app", str, "The profile of this app, alone", _profile_of_app),),
    AppPlacement: (ListVariant("app", str, "Only this app's", _placements_of_app),),
    GroupIntent: (ListVariant("intent", str, "Look up one key", _intent_of_key),),
}


def listed(kind: type[Resource], stored: Sequence[Stored]) -> Any:
    """The plain list. EMCO answers group intents as one object that holds the maps."""
    if kind is GroupIntent:
        return {"intent": [s.spec.intent for s in stored if isinstance(s.spec, GroupIntent)]}
    return [view(s) for s in stored]


def list_schema(kind: type[Resource], item: Json) -> Json:
    """The JSON Schema of a list answer, query variants included."""
    if kind is GroupIntent:
        maps = {"type": "object", "additionalProperties": {"type": "string"}}
        either = {"anyOf": [{"type": "array", "items": maps}, maps]}
        return {"type": "object", "properties": {"intent": either}, "required": ["intent"]}
    plain: Json = {"type": "array", "items": item}
    if kind is AppProfile:
        return {"anyOf": [plain, item]}
    if kind is Cluster:
        names = {"type": "array", "items": {"type": "string"}}
        labelled = {"type": "array", "items": {"type": "object", "required": ["labels"]}}
        return {"anyOf": [plain, names, labelled]}
    return plain


def value_of(spec: Resource, key: str) -> Json:
    """The answer to `?key=` on a key-value set."""
    if not isinstance(spec, KeyValues):
        raise TypeError(f"{spec.kind} holds no key values")
    return {"value": spec.value(key)}
