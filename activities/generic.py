"""The files of generic intents, those that are objects read from YAML.

What is read of them in one snapshot is all that planning needs; `emco.domain.plan.customise` does
the rest.
"""

from collections.abc import Mapping, Sequence

from activities.helm import load_documents
from emco.domain import bundle
from emco.domain.plan.customise import Attached, patch_files
from emco.domain.plan.model import Customisation, GenericInput
from emco.store.blobs import Blobs

RESOURCE_FILE = "file"


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
