"""Endpoints made from kinds: a handler gets an `Address`, FastAPI gets a signature it can document.

The signature is built at start-up from the kinds, so that path parameters, queries and the
OpenAPI document need no line of code per kind.
"""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import Path, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from emco.domain.errors import NotFound
from emco.domain.resource import NAME_PATTERN, Address, Resource

PREFIX: Final = "/v2/"
MAX_NAME: Final = 128
_NAME: Final = re.compile(NAME_PATTERN)

_ABSENT: Final = cast(Any, SkipJsonSchema)[None]
"""Without it every optional query would be documented as one that may be null."""

Queries = Mapping[str, Any]
Handler = Callable[[Request, Address, Queries], Awaitable[Response]]
RootHandler = Callable[[Request, Address | None, Queries], Awaitable[Response]]


@dataclass(frozen=True)
class QueryParameter:
    """One query parameter of an endpoint."""

    name: str
    type: Any
    description: str
    choices: tuple[str, ...] = ()
    """Documented here, checked by the handler, which has EMCO's sentence for a wrong one."""

    def parameter(self) -> inspect.Parameter:
        """As FastAPI wants to see it: optional, absent means None."""
        extra = {"enum": list(self.choices)} if self.choices else None
        query = Query(description=self.description, json_schema_extra=extra)
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[self.type | _ABSENT, query],
        )


def at_resource(
    handler: Handler, kind: type[Resource], queries: Sequence[QueryParameter] = ()
) -> Callable[..., Awaitable[Response]]:
    """An endpoint at one resource of `kind`."""
    return _endpoint(cast(RootHandler, handler), kind, queries)


def at_collection(
    handler: RootHandler, kind: type[Resource], queries: Sequence[QueryParameter] = ()
) -> Callable[..., Awaitable[Response]]:
    """An endpoint at the list of `kind`; the handler gets the parent's address, None at the root."""
    return _endpoint(handler, kind.parent, queries)


def _endpoint(
    handler: RootHandler, kind: type[Resource] | None, queries: Sequence[QueryParameter]
) -> Callable[..., Awaitable[Response]]:
    async def endpoint(request: Request, **given: Any) -> Response:
        asked = {q.name: given[q.name] for q in queries}
        return await handler(request, _address(kind, given) if kind else None, asked)

    path = [_path_parameter(step, name) for step in _lineage(kind) for name in step.params]
    request = inspect.Parameter(
        "request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request
    )
    cast(Any, endpoint).__signature__ = inspect.Signature(
        [request, *path, *(q.parameter() for q in queries)], return_annotation=Response
    )
    return endpoint


def _lineage(kind: type[Resource] | None) -> tuple[type[Resource], ...]:
    return kind.lineage() if kind else ()


def _path_parameter(step: type[Resource], name: str) -> inspect.Parameter:
    path = Path(
        description=f"Name of the {step.noun}" if len(step.params) == 1 else step.noun,
        # Documented, not validated: a name that cannot exist is a 404 like any other.
        json_schema_extra={"pattern": NAME_PATTERN, "maxLength": MAX_NAME},
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, path])


def _address(kind: type[Resource], given: Mapping[str, Any]) -> Address:
    names = []
    for step in kind.lineage():
        for parameter in step.params:
            name = str(given[parameter])
            if len(name) > MAX_NAME or not _NAME.fullmatch(name):
                raise NotFound(f"{step.noun} not found", "the path holds what can not be a name")
            names.append(name)
    return Address.of(kind, names)


def json_response(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Compact JSON."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return Response(text, status, headers, media_type="application/json")
