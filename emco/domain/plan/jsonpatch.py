"""JSON patches (RFC 6902) on Kubernetes objects, with one liberty: `add` creates missing parents.

Charts leave out what is empty, so `/data/key` of a ConfigMap without `data`, or a first annotation,
must be addable. A missing parent becomes an object, or a list where the pointer ends in `-`.
"""

import copy
import re
from collections.abc import Iterable
from typing import Any, Final

from emco.domain.errors import Invalid
from emco.domain.kinds.generic import PatchOperation

END: Final = "-"
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")

Json = Any


def patched(document: Json, operations: Iterable[PatchOperation]) -> Json:
    """`document` after all `operations`, which succeed together or not at all.

    The document is not changed. Raises `Invalid` naming the operation and what is wrong with it;
    values are never quoted.
    """
    result = copy.deepcopy(document)
    for number, operation in enumerate(operations):
        try:
            result = _apply(result, operation)
        except _Refused as refused:
            raise Invalid(
                "JSON patch does not apply",
                f"patchJson[{number}] ({operation.op} {operation.path}): {refused}",
            ) from None
    return result


class _Refused(Exception):
    """Why one operation does not apply."""


def _apply(document: Json, operation: PatchOperation) -> Json:
    path = tokens(operation.path)
    match operation.op:
        case "add":
            return _add(document, path, copy.deepcopy(operation.value))
        case "remove":
            return _remove(document, path)
        case "replace":
            return _replace(document, path, copy.deepcopy(operation.value))
        case "move":
            origin = tokens(operation.from_)
            if path[: len(origin)] == origin and path != origin:
                raise _Refused("a value cannot be moved into itself")
            value = _get(document, origin)
            return document if path == origin else _add(_remove(document, origin), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, tokens(operation.from_))))
        case "test":
            if not _is_equal(_get(document, path), operation.value):
                raise _Refused("the value is another one")
            return document


def tokens(pointer: str) -> list[str]:
    """The steps of a JSON pointer (RFC 6901): `/a~1b/0` is `["a/b", "0"]`."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _get(document: Json, path: list[str]) -> Json:
    here = document
    for depth, step in enumerate(path):
        here = here[_existing(here, step, path[: depth + 1])]
    return here


def _existing(parent: Json, step: str, so_far: list[str]) -> Any:
    """The key or index of something that is there."""
    if isinstance(parent, dict):
        if step not in parent:
            raise _Refused(f"there is no {_pointer(so_far)}")
        return step
    if isinstance(parent, list):
        index = _index(step, so_far)
        if index >= len(parent):
            raise _Refused(f"there is no {_pointer(so_far)}: the list has {len(parent)}")
        return index
    raise _Refused(f"{_pointer(so_far[:-1])} is neither an object nor a list")


def _index(step: str, so_far: list[str]) -> int:
    if not _INDEX.fullmatch(step):
        raise _Refused(f"{_pointer(so_far[:-1])} is a list, and '{step}' is no place in it")
    return int(step)


def _add(document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _parent_for_add(document, path), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if last == END else _index(last, path)
        if index > len(parent):
            raise _Refused(f"{_pointer(path[:-1])} has {len(parent)} elements")
        parent.insert(index, value)
    else:
        raise _Refused(f"{_pointer(path[:-1])} is neither an object nor a list")
    return document


def _parent_for_add(document: Json, path: list[str]) -> Json:
    here = document
    for depth, step in enumerate(path[:-1]):
        # A null is what YAML makes of `data:` with nothing below it.
        if isinstance(here, dict) and here.get(step) is None:
            here[step] = [] if path[depth + 1] == END else {}
        here = here[_existing(here, step, path[: depth + 1])]
    return here


def _remove(document: Json, path: list[str]) -> Json:
    if not path:
        raise _Refused("the whole object cannot be removed")
    parent = _get(document, path[:-1])
    del parent[_existing(parent, path[-1], path)]
    return document


def _replace(document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent = _get(document, path[:-1])
    parent[_existing(parent, path[-1], path)] = value
    return document


def _is_equal(one: Json, other: Json) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_equal(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_is_equal(a, b) for a, b in pairs)
    return bool(one == other)


def _pointer(path: list[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path) or "the root"
