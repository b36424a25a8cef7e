"""Kubernetes objects as uploaded YAML: checked for their shape before they are kept, never for their sense.

Aliases are refused: a few lines of them can stand for gigabytes. Messages quote no values, since a
Secret is an object too.
"""

from typing import Any, Final

import yaml

from emco.domain.errors import Invalid
from emco.settings import Settings

TITLE: Final = "Invalid Kubernetes object"

_OPENING: Final = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING: Final = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def check_object(content: bytes, name: str, settings: Settings) -> None:
    """One object with apiVersion, kind and metadata.name; `Invalid` says what is wrong with `name`."""
    documents = check_documents(content, name, settings)
    if len(documents) != 1:
        raise Invalid(TITLE, f"{name} holds {len(documents)} YAML documents; one object is wanted")
    metadata = documents[0].get("metadata")
    for field, value in (
        ("apiVersion", documents[0].get("apiVersion")),
        ("kind", documents[0].get("kind")),
        ("metadata.name", metadata.get("name") if isinstance(metadata, dict) else None),
    ):
        if not isinstance(value, str) or not value:
            raise Invalid(TITLE, f"{name}: {field} is missing or not a string")


def check_documents(content: bytes, name: str, settings: Settings) -> list[dict[str, Any]]:
    """The YAML documents of a file that are not empty; each has to be a mapping."""
    try:
        _check_events(content, name, settings.max_json_depth)
        # Every scalar stays a string: what a number or a date means is for others to say.
        loaded = [d for d in yaml.load_all(content, Loader=yaml.CBaseLoader) if d]
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise Invalid(TITLE, f"{name} is not valid YAML{where}") from e
    for document in loaded:
        if not isinstance(document, dict):
            raise Invalid(TITLE, f"{name} is not a YAML mapping")
    return loaded


def _check_events(content: bytes, name: str, max_depth: int) -> None:
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CBaseLoader):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid(TITLE, f"{name} has aliases (`*name`); write out what they stand for")
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > max_depth:
            raise Invalid(TITLE, f"{name} is nested deeper than {max_depth} levels")
