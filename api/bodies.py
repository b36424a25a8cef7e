"""Reading requests: JSON and multipart bodies, within limits, with errors that name the place.

EMCO's codes: 400 `Empty body`, 422 for what cannot be read or has the wrong JSON type, 400
`Invalid Input:` with a line per violation for what breaks a rule of the schema.
"""

import json
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from fastapi import Request
from pydantic import Field, ValidationError, create_model
from pydantic_core import ErrorDetails
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from emco.domain import bundle
from emco.domain.errors import Invalid, TooLarge, Unprocessable
from emco.domain.resource import Body, Metadata, Resource, Wire, unknown_fields
from emco.settings import Settings

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_WRONG_TYPE: Final = re.compile(r"(string|int|bool|float|dict|list|model|model_attributes)_type$")
_METADATA_PART: Final = "metadata"
_PARTS: Final = 16
_FILES: Final = 256
"""Most files of one resource, where there may be many."""


@dataclass(frozen=True)
class Written:
    """A write as the client meant it. `unknown` are the JSON paths nothing was made of.

    `file` is a bundle where the kind's file part may be repeated.
    """

    metadata: Metadata | None
    spec: Resource
    file: bytes | None = None
    unknown: tuple[str, ...] = ()


@cache
def body_model(kind: type[Resource]) -> type[Body]:
    """The whole JSON body of a kind: `{"metadata": …, "spec": …}`, or the spec alone."""
    if kind.wire.bare:
        return kind
    required = any(field.is_required() for field in kind.model_fields.values())
    spec = Field() if required else Field(default_factory=kind)
    return cast(
        type[Body],
        create_model(
            f"{kind.kind}Body",
            __base__=Body,
            __doc__=kind.__doc__,
            metadata=(Metadata, Field()),
            spec=(kind, spec),
        ),
    )


async def read_write(request: Request, kind: type[Resource], settings: Settings) -> Written:
    """Read the body of a POST or PUT for a resource of `kind`."""
    multipart = request.headers.get("content-type", "").lower().startswith("multipart/")
    if kind.wire.file and multipart:
        text, file = await _form(request, kind.wire, settings)
    else:
        text, file = await read_limited(request, settings.max_body_bytes), None
    data = parse_json(text, max_depth=settings.max_json_depth)
    metadata, spec, unknown = validated(kind, data)
    return Written(metadata, spec, file, unknown)


async def read_limited(request: Request, limit: int) -> bytes:
    """The whole body; `TooLarge` as soon as it is over `limit`, whatever its header said."""
    return b"".join([chunk async for chunk in _limited(request, limit)])


async def _limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    seen = 0
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> TooLarge:
    return TooLarge("Request body too large", f"at most {limit:,} bytes are accepted here")


async def _form(request: Request, wire: Wire, settings: Settings) -> tuple[bytes, bytes | None]:
    """The part `metadata` (a form value or a JSON part) and the file, or the bundle of files, of a form."""
    limit = settings.max_file_bytes + settings.max_body_bytes
    parser = MultiPartParser(
        request.headers,
        cast(Any, _limited(request, limit)),
        max_files=_FILES if wire.repeated else _PARTS,
        max_fields=_PARTS,
        max_part_size=settings.max_body_bytes,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as e:
        reason = e.message if isinstance(e, MultiPartException) else "malformed part header"
        raise Unprocessable("Malformed multipart form", reason) from e
    try:
        read = _files if wire.repeated else _file
        return await _metadata(form, settings), await read(form, wire.file or "", settings)
    finally:
        await form.close()


async def _metadata(form: FormData, settings: Settings) -> bytes:
    value = form.get(_METADATA_PART)
    if value is None:
        raise Invalid("Empty body", f"the form has no part named `{_METADATA_PART}`")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if (value.size or 0) > settings.max_body_bytes:
        raise _too_large(settings.max_body_bytes)
    return await value.read()


async def _file(form: FormData, part: str, settings: Settings) -> bytes | None:
    value = form.get(part)
    return None if value is None else await _content(value, part, settings.max_file_bytes)


async def _files(form: FormData, part: str, settings: Settings) -> bytes | None:
    """All parts of that name as one bundle; together they are held to the limit of one file."""
    files: dict[str, bytes] = {}
    left = settings.max_file_bytes
    for value in form.getlist(part):
        content = await _content(value, part, left)
        left -= len(content)
        name = (value.filename if isinstance(value, UploadFile) else "") or ""
        if name in files:
            raise Unprocessable("Unable to process file", f"two files are called {name!r}")
        files[name] = content
    return bundle.pack(files) if files else None


async def _content(value: UploadFile | str, part: str, limit: int) -> bytes:
    if not isinstance(value, UploadFile):
        raise Unprocessable(
            "Unable to process file", f"the part `{part}` needs a filename in its header"
        )
    if (value.size or 0) > limit:
        raise TooLarge("File too large", f"at most {limit:,} bytes are accepted here")
    return await value.read()


def parse_json(text: bytes, *, max_depth: int) -> Any:
    """JSON that every part of the system can hold: bounded depth, whole strings, finite numbers."""
    if not text.strip():
        raise Invalid("Empty body", "send a JSON object")
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", text)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > max_depth:
            raise Unprocessable("Malformed JSON", f"nested deeper than {max_depth} levels")
    try:
        data = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError) as e:
        raise Unprocessable("Malformed JSON", _reason(e)) from e
    for value in _leaves(data):
        if isinstance(value, float) and not math.isfinite(value):
            raise Unprocessable("Malformed JSON", "a number is out of range")
        if isinstance(value, str) and not _is_storable(value):
            raise Unprocessable("Malformed JSON", "a string has a NUL or half a surrogate pair")
    return data


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def validated(kind: type[Resource], data: Any) -> tuple[Metadata | None, Resource, tuple[str, ...]]:
    """Metadata, spec, and the JSON paths that were left out; every violation in one error."""
    model = body_model(kind)
    try:
        body = model.model_validate(data)
    except ValidationError as e:
        raise violations(e.errors(include_url=False, include_context=False), data) from None
    unknown = unknown_fields(body, data)
    if isinstance(body, Resource):  # EMCO's clients send an empty `metadata` along
        return None, body, tuple(f for f in unknown if f.lower() != _METADATA_PART)
    parts = cast(Any, body)
    return parts.metadata, parts.spec, tuple(unknown)


def violations(errors: Sequence[ErrorDetails], data: Any) -> Invalid:
    """What breaks the schema, a line for each place, with the code that EMCO has for it."""
    lines = [f"{_place(e, data)}: {_sentence(e)}" for e in errors]
    if any(_WRONG_TYPE.search(e["type"]) for e in errors):
        return Unprocessable("Invalid Input:", "\n".join(lines))
    return Invalid("Invalid Input:", "\n".join(lines))


def _sentence(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is required"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_type" and isinstance(error["input"], (int, float)):
        return f"{message}; put quotes around it"
    return message


def _place(error: ErrorDetails, data: Any) -> str:
    """The JSON path of an error. Names of union branches are in pydantic's location, not in the JSON."""
    path = ""
    here = data
    *_, last = error["loc"] or ("",)
    for step in error["loc"]:
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
            continue
        key = _key(here, step)
        if key is not None:
            path, here = f"{path}.{key}" if path else key, here[key]
        elif step == last and error["type"] == "missing":
            path = f"{path}.{step}" if path else str(step)
    return path or "body"


def _key(here: Any, step: object) -> str | None:
    if not isinstance(here, Mapping):
        return None
    return next((k for k in here if k.lower() == str(step).lower()), None)
