"""Secrets inside a spec: masked wherever the spec is shown, whole only in its sealed file."""

import json
from typing import Any, Final, TypeVar

from pydantic import SecretStr

from emco.domain.errors import Invalid
from emco.domain.resource import Resource

R = TypeVar("R", bound=Resource)

MASK: Final = str(SecretStr("?"))


def sealed_spec(spec: Resource, kept: bytes | None) -> bytes:
    """The file of a spec with its secrets in the clear; a mask stands for what `kept` has in its place.

    Raises `Invalid` naming the field where nothing is kept.
    """
    whole = spec.model_dump(by_alias=True)
    return json.dumps(
        _unmasked(whole, json.loads(kept) if kept else None, "spec"), default=str
    ).encode()


def revealed(kind: type[R], sealed: bytes) -> R:
    """The spec as it was written."""
    return kind.model_validate_json(sealed)


def gives_secrets(spec: Resource) -> bool:
    """Whether there is a secret in the spec, and not only masks: it cannot be compared with what is shown."""
    return _gives(spec.model_dump())


def _gives(value: Any) -> bool:
    if isinstance(value, SecretStr):
        return value.get_secret_value() not in ("", MASK)
    if isinstance(value, dict):
        return any(map(_gives, value.values()))
    return isinstance(value, list) and any(map(_gives, value))


def _unmasked(new: Any, old: Any, where: str) -> Any:
    if isinstance(new, SecretStr):
        value = new.get_secret_value()
        if value != MASK:
            return value
        if not isinstance(old, str):
            raise Invalid("Invalid Input:", f"{where}: no secret is kept here, so give it whole")
        return old
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {k: _unmasked(v, before.get(k), f"{where}.{k}") for k, v in new.items()}
    if isinstance(new, list):
        earlier = old if isinstance(old, list) else []
        return [
            _unmasked(v, earlier[i] if i < len(earlier) else None, f"{where}[{i}]")
            for i, v in enumerate(new)
        ]
    return new
