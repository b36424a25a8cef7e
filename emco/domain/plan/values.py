"""Which value a chart sees: chart defaults < profile < deployment overrides.

Helm itself lays values over a chart's defaults, so only what stands above them is merged here.
Overrides are Helm `--set` assignments, read here instead of on a command line, where a secret
among them would be visible to everyone on the machine.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from emco.domain.errors import Invalid

MAX_INDEX = 65_536
SHORTEST_HIDDEN = 4
HIDDEN = "(hidden)"
_STEP = re.compile(r"((?:\\.|[^.\[\\])+)|\[(\d+)\]|(\.)")
SOUNDS_SECRET = re.compile(r"(?i)pass|pwd|secret|token|cred|key")
_INTEGER = re.compile(r"^-?(0|[1-9]\d*)$")


def effective(profile: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Profile values with the overrides set in them, in key order so that the result never varies."""
    values: dict[str, Any] = _copied(profile)
    for key in sorted(overrides):
        assign(values, key, overrides[key])
    return values


def assign(values: dict[str, Any], key: str, text: str) -> None:
    """Set one `--set` style path (`a.b[0].c`, dots escaped as `\\.`) to the typed value of `text`.

    Raises `Invalid` naming the key when it is not a path or runs into a value of another shape.
    """
    steps = _steps(key)
    here: Any = values
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        wanted: Any = typed(text) if after is None else ([] if isinstance(after, int) else {})
        here = _descend(here, step, wanted, key, last=after is None)


def typed(text: str) -> Any:
    """Helm's guess: booleans, null, integers without leading zeros, `{a,b}` lists, else a string."""
    if text.startswith("{") and text.endswith("}"):
        return [typed(part) for part in text[1:-1].split(",")] if text != "{}" else []
    if text in ("true", "false"):
        return text == "true"
    if text == "null":
        return None
    if _INTEGER.match(text):
        return int(text)
    return text.replace("\\,", ",")


def hidden(text: str, values: Any) -> str:
    """`text` without the strings of `values`: what a renderer says may quote them.

    Nobody can tell which value is a secret, so every string of four characters or more goes where
    it stands alone, outside names and paths; below a key that sounds like one it goes anywhere.
    """
    found = sorted(set(_strings(values, sounds_secret=False)), key=lambda s: -len(s[0]))
    for value, sounds_secret in found:
        escaped = re.escape(value)
        pattern = escaped if sounds_secret else rf"(?<![\w/.-]){escaped}(?![\w/.-])"
        text = re.sub(pattern, HIDDEN, text)
    return text


def _strings(values: Any, *, sounds_secret: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            secret = sounds_secret or bool(SOUNDS_SECRET.search(str(key)))
            yield from _strings(value, sounds_secret=secret)
    elif isinstance(values, list):
        for value in values:
            yield from _strings(value, sounds_secret=sounds_secret)
    elif isinstance(values, str) and len(values) >= SHORTEST_HIDDEN:
        yield values, sounds_secret


def _steps(key: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 0
    while position < len(key):
        match = _STEP.match(key, position)
        if match is None:
            raise Invalid("Invalid override value", f"'{key}' is not a path such as a.b[0].c")
        name, index, _dot = match.groups()
        if name is not None:
            steps.append(re.sub(r"\\(.)", r"\1", name))
        elif index is not None:
            steps.append(int(index))
        position = match.end()
    if not steps or isinstance(steps[0], int) or key.endswith("."):
        raise Invalid("Invalid override value", f"'{key}' is not a path such as a.b[0].c")
    return steps


def _descend(here: Any, step: str | int, wanted: Any, key: str, *, last: bool) -> Any:
    if isinstance(step, int):
        if not isinstance(here, list) or step > MAX_INDEX:
            raise Invalid("Invalid override value", f"'{key}': [{step}] does not index a list")
        here.extend([None] * (step + 1 - len(here)))
    elif not isinstance(here, dict):
        raise Invalid("Invalid override value", f"'{key}': '{step}' is below a value, not a map")
    current = here[step] if isinstance(step, int) else here.get(step)
    if last or current is None:
        here[step] = wanted
    return here[step]


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_copied(v) for v in value]
    return value
