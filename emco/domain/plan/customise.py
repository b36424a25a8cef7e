"""What generic intents make of one app's objects on one cluster. Pure: nothing is read or fetched here.

Per resource: the object is added or looked up, then every customisation that selects the cluster
changes it, in name order: data from files first, then its patch. What came in is never changed.
"""

import base64
import copy
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from emco.domain.errors import Invalid, NotFound
from emco.domain.kinds.generic import Customization, DataKeyOption, GenericResource
from emco.domain.plan.jsonpatch import patched
from emco.domain.plan.manifests import HOOK_ANNOTATION, in_order, key_of
from emco.domain.plan.mergepatch import merged
from emco.domain.plan.model import ClusterInput, Customisation, GenericInput, Manifest, Rendered
from emco.domain.status import ObjectKey

Lookup = Callable[[str, str], Any]
"""The value under a key of a key-value set, by the set's path below /v2; raises an `EmcoError`."""

FAILED: Final = "Generic intent cannot be applied"
NEAREST: Final = 3

_LOOKUP: Final = re.compile(r"\$\((https?://[^\s()]+)\)\$")
_LOOKUP_LIKE: Final = re.compile(r"\$\(\s*[A-Za-z][A-Za-z0-9+.-]*:.*\)\$", re.DOTALL)
_KV_PATHS: Final = (
    re.compile(r"/v2/(cluster-providers/[^/]+/clusters/[^/]+/kv-pairs/[^/]+)"),
    re.compile(r"/v2/(projects/[^/]+/logical-clouds/[^/]+/kv-pairs/[^/]+)"),
)
_DATA_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")


@dataclass(frozen=True)
class Attached:
    """What was uploaded with one resource or customisation: contents by file name.

    `documents` are those files that are needed as objects, read from YAML.
    """

    contents: Mapping[str, bytes] = field(default_factory=dict)
    documents: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


NOTHING: Final = Attached()


def customised(
    rendered: Rendered,
    app: str,
    cluster: ClusterInput,
    *,
    inputs: Sequence[GenericInput],
    files: Mapping[str, Attached],
    lookup: Lookup,
) -> Rendered:
    """The objects of `app` on `cluster`. `files` is by digest, as the inputs name them.

    `rendered` itself comes back when no intent is about the app. Objects that are added carry no
    marks of ours and patches may drop some: mark the result. Raises `Invalid` naming the intent, the
    app, the object and the cluster.
    """
    of_app = [given for given in inputs if given.spec.app == app]
    if not of_app:
        return rendered
    work = _Work(rendered)
    for given in of_app:
        try:
            _carry_out(given, cluster, work, files, lookup)
        except (Invalid, NotFound) as error:
            raise Invalid(
                FAILED,
                f"{given.intent}/{given.name} for the app {app} ({_named(given.spec)}) "
                f"on {cluster.name}: {error}",
            ) from error
    return work.result()


def selects(spec: Customization, cluster: ClusterInput) -> bool:
    """Whether a customisation is meant for `cluster`."""
    if not spec.is_cluster_specific:
        return True
    chosen = spec.cluster_info
    is_named = cluster.cluster == chosen.cluster
    is_labelled = chosen.cluster_label in cluster.labels
    is_one = cluster.provider == chosen.cluster_provider and (
        is_named if chosen.scope == "name" else is_labelled
    )
    return is_one != (chosen.mode == "deny")


class _Work:
    """The objects while they change: each list entry is replaced, no object is touched."""

    def __init__(self, rendered: Rendered) -> None:
        self._rendered = rendered
        self._objects = [*rendered.resources, *rendered.hooks]

    def result(self) -> Rendered:
        hooks = [o for o in self._objects if _is_hook(o)]
        others = [o for o in self._objects if not _is_hook(o)]
        return self._rendered.model_copy(
            update={"resources": tuple(in_order(others)), "hooks": tuple(hooks)}
        )

    def add(self, item: Manifest) -> int:
        key = key_of(item)
        if any(key_of(other) == key for other in self._objects):
            raise Invalid(
                "The object is there already",
                f"{key} is rendered by the chart or added before; newObject false changes it",
            )
        self._objects.append(item)
        return len(self._objects) - 1

    def find(self, spec: GenericResource) -> list[int]:
        wanted = spec.resource_gvk
        found = [
            index
            for index, item in enumerate(self._objects)
            if item["apiVersion"] == wanted.api_version
            and item["kind"].lower() == wanted.kind.lower()
            and item["metadata"]["name"] == wanted.name
        ]
        if not found:
            raise Invalid("The object is not there", self._nearest(spec))
        return found

    def change(self, index: int, make: Callable[[Manifest], Manifest]) -> None:
        before = self._objects[index]
        after = make(before)
        _check_identity(key_of(before), after)
        self._objects[index] = after

    def _nearest(self, spec: GenericResource) -> str:
        there = {_word(o["apiVersion"], o["kind"], o["metadata"]["name"]): o for o in self._objects}
        near = difflib.get_close_matches(_named(spec), there, n=NEAREST, cutoff=0.0)
        return f"nearest are {', '.join(near)}" if near else "the app has no objects at all"


def _carry_out(
    given: GenericInput,
    cluster: ClusterInput,
    work: _Work,
    files: Mapping[str, Attached],
    lookup: Lookup,
) -> None:
    chosen = [one for one in given.customisations if selects(one.spec, cluster)]
    if given.customisations and not chosen:
        return
    if given.spec.is_new:
        targets = [work.add(_new_object(given, files.get(given.file, NOTHING)))]
    else:
        targets = work.find(given.spec)
    for one in chosen:
        change = _Change(given.spec, one, files.get(one.files, NOTHING), cluster, lookup)
        for index in targets:
            work.change(index, change.applied)


def _new_object(given: GenericInput, attached: Attached) -> Manifest:
    documents = [document for found in attached.documents.values() for document in found]
    if documents:
        item: Manifest = copy.deepcopy(documents[0])
        return item
    kinds = {"configmap": "ConfigMap", "secret": "Secret"}
    wanted = given.spec.resource_gvk
    if not given.spec.is_data:
        raise Invalid("The new object has no file", f"replace {given.name} and send its YAML")
    return {
        "apiVersion": wanted.api_version,
        "kind": kinds[wanted.kind.lower()],
        "metadata": {"name": wanted.name},
        **({"type": "Opaque"} if wanted.kind.lower() == "secret" else {}),
        "data": {},
    }


@dataclass(frozen=True)
class _Change:
    """One customisation on one cluster."""

    resource: GenericResource
    customisation: Customisation
    attached: Attached
    cluster: ClusterInput
    lookup: Lookup

    @property
    def _spec(self) -> Customization:
        return self.customisation.spec

    @property
    def _options(self) -> Mapping[str, DataKeyOption]:
        return self._spec.options(self.resource.resource_gvk.kind)

    def applied(self, item: Manifest) -> Manifest:
        """The changed object; `item` stays as it is."""
        try:
            item = self._with_data(item)
            if self._spec.patch_type == "json":
                return self._json_patched(item)
            if self._spec.patch_type == "merge":
                return self._merged(item)
        except (Invalid, NotFound) as error:
            raise Invalid(f"customization {self.customisation.name}", str(error)) from error
        return item

    def _with_data(self, item: Manifest) -> Manifest:
        data = {
            self._key(name): content
            for name, content in sorted(self.attached.contents.items())
            if self.resource.is_data and self._is_data(name)
        }
        return filled(item, data) if data else item

    def _is_data(self, name: str) -> bool:
        """Files of a patch are data only where an option says so; of a new object, all are."""
        option = self._options.get(name)
        if option is not None:
            return not option.is_patch
        if self._spec.patch_type == "merge":
            return False
        return self.resource.is_new or not self._spec.patch_type

    def _key(self, name: str) -> str:
        option = self._options.get(name)
        key = option.key_name if option is not None and option.key_name else name
        if not _DATA_KEY.fullmatch(key):
            raise Invalid(
                "A file's name cannot be a data key",
                f"'{key}': give it a keyName of letters, digits, `-`, `_` and `.`",
            )
        return key

    def _json_patched(self, item: Manifest) -> Manifest:
        operations = [
            operation.model_copy(update={"value": self._looked_up(operation.value)})
            for operation in self._spec.patch_json
        ]
        return patched(item, operations)  # type: ignore[no-any-return]

    def _looked_up(self, value: Any) -> Any:
        return answered(value, self.cluster, self.lookup)

    def _merged(self, item: Manifest) -> Manifest:
        for name in patch_files(self.resource, self._spec, sorted(self.attached.contents)):
            for document in self._documents(name):
                item = merged(item, document)
        return item

    def _documents(self, name: str) -> Iterable[Manifest]:
        for document in self.attached.documents.get(name, ()):
            if not isinstance(document, dict):
                raise Invalid("A merge patch is not an object", f"in the file {name}")
            yield document


def patch_files(resource: GenericResource, spec: Customization, names: Iterable[str]) -> list[str]:
    """Which of a customisation's files are merge patches, and so have to be YAML."""
    if spec.patch_type != "merge":
        return []
    options = spec.options(resource.resource_gvk.kind)
    return [n for n in names if n not in options or options[n].is_patch]


def filled(item: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """A ConfigMap or Secret with `files` by key. A Secret's are base64; a ConfigMap's only if they are no text."""
    result = copy.deepcopy(item)
    for key, content in files.items():
        encoded = base64.b64encode(content).decode()
        field_, value = (
            ("data", encoded) if item["kind"] == "Secret" else _text_or(content, encoded)
        )
        for other in ("data", "stringData", "binaryData"):
            if isinstance(result.get(other), dict):
                result[other].pop(key, None)
        result[field_] = {**(result.get(field_) or {}), key: value}
    return result


def _text_or(content: bytes, encoded: str) -> tuple[str, str]:
    try:
        return "data", content.decode()
    except UnicodeDecodeError:
        return "binaryData", encoded


def answered(value: Any, cluster: ClusterInput, lookup: Lookup) -> Any:
    """`value` with every `$(http://…)$` in it, at any depth, replaced by what is stored there.

    Raises `Invalid` for an address that is not one of our key-value sets: nothing is fetched.
    """
    if isinstance(value, dict):
        return {key: answered(item, cluster, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [answered(item, cluster, lookup) for item in value]
    if not isinstance(value, str) or not _LOOKUP_LIKE.fullmatch(value):
        return value
    if (match := _LOOKUP.fullmatch(value)) is None:
        raise _not_ours(value)
    path, key = _kv_of(match[1], cluster)
    return copy.deepcopy(lookup(path, key))


def has_lookup(value: Any) -> bool:
    """Whether `answered` would ask for anything."""
    if isinstance(value, dict):
        return any(map(has_lookup, value.values()))
    if isinstance(value, list):
        return any(map(has_lookup, value))
    return isinstance(value, str) and _LOOKUP_LIKE.fullmatch(value) is not None


def _kv_of(url: str, cluster: ClusterInput) -> tuple[str, str]:
    """The path below /v2 and the key that a URL names, whatever host it has."""
    filled_in = url.replace("{clusterProvider}", cluster.provider).replace(
        "{cluster}", cluster.cluster
    )
    try:
        parts = urlsplit(filled_in)
    except ValueError:
        raise _not_ours(url) from None
    keys = parse_qs(parts.query).get("key", [])
    paths = [m[1] for pattern in _KV_PATHS if (m := pattern.fullmatch(unquote(parts.path)))]
    if not paths or len(keys) != 1:
        raise _not_ours(url)
    return paths[0], keys[0]


def _not_ours(url: str) -> Invalid:
    shown = url.partition("?")[0].rpartition("@")[2][:200]
    return Invalid(
        "Only key-value pairs of emco can be looked up",
        f"'{shown}' is not …/v2/cluster-providers/P/clusters/C/kv-pairs/N?key=K or "
        "…/v2/projects/P/logical-clouds/C/kv-pairs/N?key=K; other addresses are not fetched",
    )


def _check_identity(before: ObjectKey, after: Manifest) -> None:
    metadata = after.get("metadata") if isinstance(after, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    found = (after.get("apiVersion"), after.get("kind"), name) if isinstance(after, dict) else ()
    if found != (before.api_version, before.kind, before.name):
        raise Invalid(
            "A customization cannot make another object of an object",
            f"{before} would change its apiVersion, kind or name",
        )


def _is_hook(item: Manifest) -> bool:
    return HOOK_ANNOTATION in (item["metadata"].get("annotations") or {})


def _named(spec: GenericResource) -> str:
    wanted = spec.resource_gvk
    return _word(wanted.api_version, wanted.kind, wanted.name)


def _word(api_version: str, kind: str, name: str) -> str:
    return f"{api_version} {kind}/{name}"
