"""Merge patches: Kubernetes' strategic one for its own kinds, RFC 7386 for all others.

The strategic merge knows which lists are really maps (containers by name, say). The API server
reads that from its types; the lists that matter in practice are named here, all others are replaced
whole, as they are there.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from emco.domain.errors import Invalid
from emco.domain.plan.model import Manifest

BUILT_IN_GROUPS: Final = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
"""API groups whose kinds the API server merges strategically; custom resources never are."""

_POD_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_WITH_PODS: Final = (
    "CronJob DaemonSet Deployment Job Pod PodTemplate ReplicaSet ReplicationController StatefulSet"
).split()

MERGE_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    **dict.fromkeys(_WITH_PODS, _POD_KEYS),
    "MutatingWebhookConfiguration": {"webhooks": "name"},
    "Service": {"ports": "port"},
    "ServiceAccount": {"imagePullSecrets": "name", "secrets": "name"},
    "ValidatingWebhookConfiguration": {"webhooks": "name"},
}
"""By kind: the lists that are maps, and the field that identifies an element. `ports` of a
NetworkPolicy, say, are replaced whole."""

UNIONS: Final = frozenset({"finalizers"})
"""Lists of plain values that a patch adds to."""

_PATCH: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"


def merged(target: Manifest, patch: Manifest) -> Manifest:
    """`target` with `patch` merged into it; neither is changed.

    Raises `Invalid` naming the path where an element of a list does not say which one it is, or where a
    directive is unknown.
    """
    group = str(target.get("apiVersion", "")).rpartition("/")[0]
    if group not in BUILT_IN_GROUPS:
        result = _plain(target, patch)
    else:
        keys = MERGE_KEYS.get(str(target.get("kind")), {})
        result = _Strategic(keys).map(target, patch, "")
    if not isinstance(result, dict):
        raise Invalid("Merge patch does not apply", "it leaves nothing of the object")
    return result


def _plain(target: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects are merged, everything else is replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _plain(result.get(key), value)
    return result


class _Strategic:
    """The merge for one object, whose kind says by what its lists are merged."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys

    def map(self, target: Any, patch: Mapping[str, Any], where: str) -> dict[str, Any] | None:
        """The merged object, or None when the patch deletes it."""
        directive = _directive(patch, where)
        if directive == "delete":
            return None
        own = {key: value for key, value in patch.items() if key != _PATCH}
        if directive == "replace":
            return copy.deepcopy(own)
        result: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
        for key, value in own.items():
            self._member(result, key, value, where)
        if isinstance(retained := patch.get(_RETAIN), list):
            result = {key: value for key, value in result.items() if key in retained}
        return copy.deepcopy(result)

    def _member(self, result: dict[str, Any], key: str, value: Any, where: str) -> None:
        here = f"{where}/{key}"
        if key == _RETAIN or key.startswith(_ORDER):
            return  # the order of elements stays as it was: it means nothing to Kubernetes
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            gone = value if isinstance(value, list) else []
            result[name] = [item for item in result.get(name) or [] if item not in gone]
            return
        merged_value = value
        if isinstance(value, dict):
            merged_value = self.map(result.get(key), value, here)
        elif isinstance(value, list):
            merged_value = self._list(result.get(key), value, key, here)
        if merged_value is None:
            result.pop(key, None)
        else:
            result[key] = merged_value

    def _list(self, target: Any, patch: list[Any], name: str, where: str) -> list[Any]:
        there: list[Any] = list(target) if isinstance(target, list) else []
        if name in UNIONS:
            return [*there, *(item for item in patch if item not in there)]
        markers = [item for item in patch if isinstance(item, dict) and set(item) == {_PATCH}]
        if any(_directive(item, where) == "replace" for item in markers):
            return [copy.deepcopy(item) for item in patch if item not in markers]
        identity = self._keys.get(name)
        if identity is None or not _are_maps([*there, *patch]):
            return copy.deepcopy(patch)
        for item in patch:
            self._element(there, item, identity, where)
        return there

    def _element(self, there: list[Any], item: Any, identity: str, where: str) -> None:
        wanted = item.get(identity)
        if wanted is None:
            raise Invalid(
                "Merge patch does not apply",
                f"{where}: elements of this list are told apart by `{identity}`, and one has none",
            )
        index = next((i for i, old in enumerate(there) if old.get(identity) == wanted), None)
        merged_item = self.map({} if index is None else there[index], item, f"{where}[{wanted}]")
        if index is None:
            there.extend([] if merged_item is None else [merged_item])
        else:
            there[index : index + 1] = [] if merged_item is None else [merged_item]


def _are_maps(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _directive(patch: Mapping[str, Any], where: str) -> str:
    directive = patch.get(_PATCH, "merge")
    if directive not in ("merge", "replace", "delete"):
        raise Invalid(
            "Merge patch does not apply",
            f"{where or 'the root'}: {_PATCH} is delete, replace or merge",
        )
    return str(directive)
