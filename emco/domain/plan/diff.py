"""What changes from one plan to the next: object by object, and field by field for people.

Pure: both sides are manifests that we rendered and marked. Values in Secrets are never shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from emco.domain.history import Changes
from emco.domain.plan.manifests import key_of
from emco.domain.plan.model import Manifest
from emco.domain.plan.values import HIDDEN, SOUNDS_SECRET
from emco.domain.status import ObjectKey

MAX_SHOWN: Final = 200
"""Characters of one value that are shown."""

_NAMES: Final = ("name", "mountPath", "containerPort", "port", "key", "ip")
"""Members by which an entry of a list is told apart from its neighbours."""
_ABSENT: Final = object()


class Kind(StrEnum):
    """What happens to an object or a unit."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    KEEP = "keep"


class FieldChange(BaseModel):
    """One field: its path, and its value on both sides; None where it is absent."""

    model_config = ConfigDict(frozen=True)

    path: str
    before: Any = None
    after: Any = None


class ObjectChange(BaseModel):
    """One object."""

    model_config = ConfigDict(frozen=True)

    key: ObjectKey
    kind: Kind
    fields: tuple[FieldChange, ...] = ()


def objects(before: Sequence[Manifest], after: Sequence[Manifest]) -> list[ObjectChange]:
    """Every object of both sides, in the order in which it is dealt with: kept ones included."""
    old = {key_of(item): item for item in before}
    new = {key_of(item): item for item in after}
    found = []
    for key, item in new.items():
        if key not in old:
            found.append(ObjectChange(key=key, kind=Kind.CREATE))
        elif changed := fields(old[key], item):
            found.append(ObjectChange(key=key, kind=Kind.CHANGE, fields=tuple(changed)))
        else:
            found.append(ObjectChange(key=key, kind=Kind.KEEP))
    gone = [ObjectChange(key=key, kind=Kind.DELETE) for key in reversed(old) if key not in new]
    return [*found, *gone]


def fields(before: Manifest, after: Manifest) -> list[FieldChange]:
    """The fields that differ, in path order, without secrets."""
    is_secret = (after.get("apiVersion"), after.get("kind")) == ("v1", "Secret")
    return [
        _shown(change, hide=is_secret and change.path.startswith(("data", "stringData")))
        for change in _walk(before, after, "")
    ]


def asked_of(item: Manifest, live: Manifest, *, below: str) -> list[str]:
    """The members of one member in which `item` asks for something else than is there."""
    wanted, there = item.get(below) or {}, live.get(below) or {}
    return [f"{below}.{m}" for m in sorted(wanted) if not _is_covered(wanted[m], there.get(m))]


def summary(changed: Mapping[str, Sequence[ObjectChange]]) -> Changes:
    """Counts over all units; `changed` maps `app@cluster` to the unit's objects."""
    kinds = [change.kind for changes in changed.values() for change in changes]
    return Changes(
        created=kinds.count(Kind.CREATE),
        changed=kinds.count(Kind.CHANGE),
        deleted=kinds.count(Kind.DELETE),
        units=tuple(
            name
            for name, changes in sorted(changed.items())
            if any(change.kind is not Kind.KEEP for change in changes)
        ),
    )


def _walk(before: Any, after: Any, path: str) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            here = f"{path}.{_quoted(name)}" if path else _quoted(name)
            yield from _walk(before.get(name, _ABSENT), after.get(name, _ABSENT), here)
        return
    if isinstance(before, list) and isinstance(after, list):
        old, new = _entries(before), _entries(after)
        if old is not None and new is not None:
            for name in dict.fromkeys([*old, *new]):
                yield from _walk(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{path}[{name}]")
            return
    yield FieldChange(
        path=path,
        before=None if before is _ABSENT else before,
        after=None if after is _ABSENT else after,
    )


def _is_covered(wanted: Any, there: Any) -> bool:
    """True when everything in `wanted` is in `there` as well; servers add defaults."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return all(_is_covered(value, there.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return all(map(_is_covered, wanted, there))
    return bool(wanted == there)


def _entries(items: list[Any]) -> dict[str, Any] | None:
    """The entries by the member that names them, or None when nothing does so uniquely."""
    for member in _NAMES:
        if all(isinstance(item, dict) and member in item for item in items):
            named = {str(item[member]): item for item in items}
            if len(named) == len(items):
                return named
    return None


def _quoted(name: str) -> str:
    return f'"{name}"' if "." in name or "/" in name else name


def _shown(change: FieldChange, *, hide: bool) -> FieldChange:
    secret = hide or bool(SOUNDS_SECRET.search(change.path.rpartition(".")[2]))
    return FieldChange(
        path=change.path,
        before=_value(change.before, secret=secret),
        after=_value(change.after, secret=secret),
    )


def _value(value: Any, *, secret: bool) -> Any:
    if value is None:
        return None
    if secret:
        return HIDDEN
    if isinstance(value, (dict, list)):
        return _redacted(value)
    return (
        value if not isinstance(value, str) or len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
    )


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: HIDDEN
            if SOUNDS_SECRET.search(str(name)) and not isinstance(item, (dict, list))
            else _redacted(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return _value(value, secret=False)
