"""Generic intents out of the store: what a deployment asks for, its files, and the values it looks up.

What is read in one snapshot is all that planning needs; `emco.domain.plan.customise` does the rest.
"""

from collections.abc import Mapping, Sequence

from activities.helm import load_documents
from emco.domain import bundle
from emco.domain.errors import Invalid, NotFound
from emco.domain.kinds.delivery import Deployment, GroupIntent
from emco.domain.kinds.fleet import ClusterKv, KeyValues
from emco.domain.kinds.generic import (
    GENERIC_KEY,
    Customization,
    GenericK8sIntent,
    GenericResource,
)
from emco.domain.kinds.tenancy import LogicalCloudKv
from emco.domain.plan.customise import Attached, Lookup, has_lookup, patch_files
from emco.domain.plan.model import Customisation, GenericInput
from emco.domain.resource import Address
from emco.store.blobs import Blobs
from emco.store.reader import Reader

RESOURCE_FILE = "file"


def generic_inputs(view: Reader, deployment: Address) -> tuple[GenericInput, ...]:
    """The resources of the intents that the deployment's group intents name, in path order.

    Raises `Invalid` when an intent that is named does not exist.
    """
    groups = [group for _, group in view.specs(GroupIntent, deployment)]
    named = sorted({g.intent[GENERIC_KEY] for g in groups if GENERIC_KEY in g.intent})
    found: list[GenericInput] = []
    for name in named:
        intent = Address.of(GenericK8sIntent, [*deployment.names(Deployment), name])
        if view.find(GenericK8sIntent, intent) is None:
            raise Invalid("Intent not found", f"a group intent names {intent}, which is not there")
        found += _resources(view, intent)
    return tuple(found)


def _resources(view: Reader, intent: Address) -> list[GenericInput]:
    changes: dict[Address, list[Customisation]] = {}
    for stored in view.iterate(Customization, intent):
        if isinstance(spec := stored.spec, Customization):
            above = stored.address.ancestor(Customization, GenericResource)
            changes.setdefault(above, []).append(
                Customisation(name=stored.address.name, spec=spec, files=stored.file or "")
            )
    return [
        GenericInput(
            intent=intent.name,
            name=stored.address.name,
            spec=spec,
            file=stored.file or "",
            customisations=tuple(changes.get(stored.address, ())),
        )
        for stored in view.iterate(GenericResource, intent)
        if isinstance(spec := stored.spec, GenericResource)
    ]


def generic_lookup(view: Reader, inputs: Sequence[GenericInput]) -> Lookup:
    """What `$(…)$` in patches stands for, as it is in this snapshot; read only if there is any."""
    known: dict[str, KeyValues] = {}
    if any(
        has_lookup(operation.value)
        for given in inputs
        for change in given.customisations
        for operation in change.spec.patch_json
    ):
        known = {
            at.path: spec
            for kind in (ClusterKv, LogicalCloudKv)
            for at, spec in view.specs(kind, None)
        }

    def lookup(path: str, key: str) -> object:
        if (found := known.get(path)) is None:
            raise NotFound("Key value pair not found", f"there is no {path}")
        return found.value(key)

    return lookup


def generic_files(store: Blobs, inputs: Sequence[GenericInput]) -> Mapping[str, Attached]:
    """The uploaded files of `inputs` by digest, those that are objects read from YAML.

    Raises `Invalid` naming the resource when one of those is not YAML.
    """
    files: dict[str, Attached] = {}
    for given in inputs:
        if given.file and given.spec.is_new:
            content = store.blob(given.file)
            documents = tuple(load_documents(content, f"The file of {given.intent}/{given.name}"))
            files[given.file] = Attached({RESOURCE_FILE: content}, {RESOURCE_FILE: documents})
        for change in given.customisations:
            if change.files:
                known = files.get(change.files, Attached())
                files[change.files] = _unpacked(store, given, change, known)
    return files


def _unpacked(
    store: Blobs, given: GenericInput, change: Customisation, known: Attached
) -> Attached:
    contents = known.contents or bundle.unpack(store.blob(change.files))
    where = f"of {given.intent}/{given.name}/{change.name}"
    documents = {
        name: tuple(load_documents(contents[name], f"The file {name} {where}"))
        for name in patch_files(given.spec, change.spec, contents)
    }
    return Attached(contents, {**known.documents, **documents})
