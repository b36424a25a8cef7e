"""In which order documents are applied, whatever order they were written in.

What a document needs comes before it: its parent, what its spec refers to, and for a verb
everything it may act on. Otherwise the order of the files stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from emco.cli.documents import Document
from emco.cli.places import ancestors
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.resource import Address

_ENDING: Final = frozenset({"terminate", "stop"})
"""Verbs that undo; they stay where they were written, among the verbs of the same resource."""


def needs(documents: Sequence[Document]) -> list[list[int]]:
    """For each document the indexes of those that must come before it, in file order."""
    index: dict[str, int] = {}
    for number, document in enumerate(documents):
        if not document.verb:
            index.setdefault(document.path, number)
    return [
        sorted(set(_needed(number, documents, index)) - {number})
        for number in range(len(documents))
    ]


def ordered(documents: Sequence[Document]) -> list[int]:
    """The indexes of `documents` in the order to apply them; for deleting, go backwards."""
    needed = needs(documents)
    done: dict[int, None] = {}
    visiting: set[int] = set()

    def visit(number: int) -> None:
        if number in done or number in visiting:  # a circle: the API will say what is wrong with it
            return
        visiting.add(number)
        for other in needed[number]:
            visit(other)
        done[number] = None

    for number in range(len(documents)):
        visit(number)
    return list(done)


def _needed(number: int, documents: Sequence[Document], index: Mapping[str, int]) -> Iterator[int]:
    document = documents[number]
    if not document.verb:
        yield from (index[path] for path in ancestors(document.path) if path in index)
        yield from (index[path] for path in _references(document) if path in index)
        return
    for other, earlier in enumerate(documents):
        is_same = earlier.verb and earlier.path == document.path
        if (is_same and other < number) or (
            document.verb not in _ENDING and (not earlier.verb or _opens(earlier, document))
        ):
            yield other


def _opens(earlier: Document, document: Document) -> bool:
    """A logical cloud is instantiated before the deployments that run in it."""
    return _is_cloud(earlier) and not _is_cloud(document) and earlier.verb not in _ENDING


def _is_cloud(document: Document) -> bool:
    return document.place.kind is LogicalCloud


def _references(document: Document) -> Iterator[str]:
    kind = document.place.collection
    if kind is None:
        return
    try:
        body = document.body if kind.wire.bare else document.body.get("spec") or {}
        spec = kind.model_validate(body)
        for _, address in spec.references(Address(kind.kind, document.path)):
            yield address.path
    except (ValidationError, ValueError):  # the API will say what is wrong with it
        return
