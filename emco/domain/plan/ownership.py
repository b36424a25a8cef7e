"""Which fields of a live object others may keep: what a scaler, or whoever declared them, owns.

Server-side apply records a manager for every field. A field is left to another manager when that
manager applied it, as we do, or set it through a subresource, as a scaler does. A field that
somebody merely edited is ours to put back.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from emco.domain.kinds.delivery import IgnoredDifference
from emco.domain.plan.model import Manifest

FIELD_MANAGER: Final = "emco"
_ABSENT: Final = object()

Path = tuple[str, ...]


def yielding(
    item: Manifest, live: Mapping[str, Any], ignored: Sequence[IgnoredDifference] = ()
) -> Manifest:
    """`item` without the fields that differ in `live` and belong to somebody else by right."""
    kept: Any = item
    for fields in _of_others(live, ignored):
        kept = _without(kept, live, fields)
    for rule in _matching(item, ignored):
        if rule.json_pointer:
            kept = _cut(kept, [_unescaped(s) for s in rule.json_pointer[1:].split("/")])
    result: Manifest = kept
    return result


def last_writer(live: Mapping[str, Any]) -> str:
    """The manager who wrote to the object last, other than us and the status; empty if unknown."""
    entries = [
        e
        for e in live["metadata"].get("managedFields") or []
        if e.get("manager") != FIELD_MANAGER and not e.get("subresource")
    ]
    return str(max(entries, key=lambda e: str(e.get("time", "")))["manager"]) if entries else ""


def _of_others(
    live: Mapping[str, Any], ignored: Sequence[IgnoredDifference]
) -> Iterator[Mapping[str, Any]]:
    managers = {rule.manager for rule in _matching(live, ignored) if rule.manager}
    for entry in live.get("metadata", {}).get("managedFields") or []:
        manager = entry.get("manager", "")
        by_right = (
            entry.get("operation") == "Apply" or entry.get("subresource") or manager in managers
        )
        if manager != FIELD_MANAGER and by_right:
            yield entry.get("fieldsV1") or {}


def _matching(
    item: Mapping[str, Any], ignored: Sequence[IgnoredDifference]
) -> list[IgnoredDifference]:
    return [
        rule
        for rule in ignored
        if rule.kind in ("", item["kind"]) and rule.name in ("", item["metadata"]["name"])
    ]


def _without(item: Any, live: Any, fields: Mapping[str, Any]) -> Any:
    """A copy of `item` without the leaves of `fields` whose value in `live` is another one."""
    for name, below in fields.items():
        if isinstance(item, dict) and name.startswith("f:") and name[2:] in item:
            item = _without_member(item, live, name[2:], below)
        elif isinstance(item, list) and name.startswith("k:"):
            item = _without_entry(item, live, json.loads(name[2:]), below)
    return item


def _without_member(item: dict[str, Any], live: Any, key: str, below: Any) -> dict[str, Any]:
    there = live.get(key, _ABSENT) if isinstance(live, Mapping) else _ABSENT
    if set(below) <= {"."}:
        return {k: v for k, v in item.items() if k != key} if there != item[key] else item
    return {**item, key: _without(item[key], there, below)}


def _without_entry(item: list[Any], live: Any, key: Mapping[str, Any], below: Any) -> list[Any]:
    def found(entries: Any) -> Any:
        if not isinstance(entries, list):
            return None
        return next((e for e in entries if all(e.get(k) == v for k, v in key.items())), None)

    mine = found(item)
    if mine is None:
        return item
    return [_without(e, found(live) or {}, below) if e is mine else e for e in item]


def _cut(item: Any, path: Sequence[str]) -> Any:
    """A copy of `item` without what is at the path; as it is when there is nothing."""
    step, rest = path[0], path[1:]
    if isinstance(item, dict) and step in item:
        if not rest:
            return {k: v for k, v in item.items() if k != step}
        return {**item, step: _cut(item[step], rest)}
    if isinstance(item, list) and step.isdigit() and int(step) < len(item):
        index = int(step)
        replaced = [_cut(item[index], rest)] if rest else []
        return [*item[:index], *replaced, *item[index + 1 :]]
    return item


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
