"""Create, read, replace, delete and list for every kind there is: written once, derived from the registry."""

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.accept import acceptable
from api.bodies import Written, read_write
from api.endpoints import (
    PREFIX,
    Queries,
    QueryParameter,
    at_collection,
    at_resource,
    json_response,
)
from api.files import check_file, check_presence
from api.receivers import check_receiver
from api.variants import LISTS, list_schema, listed, value_of, view
from emco.domain.errors import Forbidden, Invalid, NotFound, PreconditionFailed
from emco.domain.kinds.fleet import KeyValues
from emco.domain.resource import Address, Resource
from emco.settings import Settings
from emco.store.model import Stored
from emco.store.store import Store

MAX_PAGE: Final = 1000
MAX_WARNED: Final = 20
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
FORM: Final = "multipart/form-data"

_VALIDATION = QueryParameter(
    "fieldValidation",
    Literal["Strict", "Warn"],
    "`Warn` (default) names unknown fields in a `Warning` header, `Strict` refuses them",
)
_LIMIT = QueryParameter(
    "limit",
    Annotated[int, Field(ge=1, le=MAX_PAGE)],
    "At most so many; without it the whole list",
)
_CURSOR = QueryParameter("cursor", str, "Where to go on: `X-Next-Cursor` of the page before")
_DRY_RUN = QueryParameter("dryRun", bool, "Only say whether it could be deleted")


Told = Callable[[Address], Awaitable[None]]
"""Is told the address of a resource that was replaced."""


def resource_routes(
    kinds: Sequence[type[Resource]],
    store: Store,
    settings: Settings,
    *,
    replaced: Mapping[type[Resource], Told] | None = None,
    changed: Mapping[type[Resource], Told] | None = None,
) -> APIRouter:
    """The routes of all `kinds`; says who is told when one of a kind was replaced, or in any way changed."""
    router = APIRouter()
    for kind in kinds:
        told = (replaced or {}).get(kind), (changed or {}).get(kind)
        _Routes(kind, store, settings, *told).add_to(router)
    return router


class _Routes:
    """The routes of one kind."""

    def __init__(
        self,
        kind: type[Resource],
        store: Store,
        settings: Settings,
        replaced: Told | None,
        changed: Told | None,
    ) -> None:
        self._kind, self._replaced, self._changed = kind, replaced, changed
        self._store = store
        self._settings = settings

    def add_to(self, router: APIRouter) -> None:
        """Add this kind's routes; PUT only where EMCO has one."""
        kind, item = self._kind, openapi.body_schema(self._kind)
        tag = kind.__module__.rpartition(".")[2]
        one, many = PREFIX + kind.template(), PREFIX + kind.collection()
        write_errors = openapi.problems(400, 404, 409, 413, 422)

        def add(path: str, method: str, endpoint: Any, code: int, verb: str, **more: Any) -> None:
            router.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=code,
                tags=[tag],
                operation_id=f"{verb}{kind.kind}",
                response_model=None,
                description=kind.__doc__,
                **more,
            )

        add(
            many,
            "POST",
            at_collection(self.post, kind, [_VALIDATION]),
            201,
            "create",
            summary=f"Create a {kind.noun}",
            openapi_extra=openapi.request_body(kind),
            responses={201: openapi.answer("Created", item), **write_errors},
        )
        variants = [QueryParameter(v.query, v.type, v.description) for v in LISTS.get(kind, ())]
        add(
            many,
            "GET",
            at_collection(self.list, kind, [_LIMIT, _CURSOR, *variants]),
            200,
            "list",
            summary=f"List: {kind.noun}",
            responses={
                200: openapi.answer("In name order", list_schema(kind, item)),
                **openapi.problems(400, 404),
            },
        )
        is_kv = issubclass(kind, KeyValues)
        key = [QueryParameter("key", str, "Only the value under this key")] if is_kv else []
        add(
            one,
            "GET",
            at_resource(self.get, kind, key),
            200,
            "get",
            summary=f"Read a {kind.noun}",
            responses={200: self._get_answer(item, is_kv), **openapi.problems(403, 404, 406)},
        )
        if kind.wire.put:
            replaced, created = kind.wire.put
            puts = {c: openapi.answer("Replaced or created", item) for c in (replaced, created)}
            add(
                one,
                "PUT",
                at_resource(self.put, kind, [_VALIDATION]),
                replaced,
                "replace",
                summary=f"Replace or create a {kind.noun}",
                openapi_extra=openapi.request_body(kind),
                responses={**puts, **write_errors, **openapi.problems(412)},
            )
        add(
            one,
            "DELETE",
            at_resource(self.delete, kind, [_DRY_RUN]),
            204,
            "delete",
            summary=f"Delete a {kind.noun}",
            responses=openapi.problems(404, 409, 412),
        )
        add(
            f"{one}/references",
            "GET",
            at_resource(self.references, kind),
            200,
            "referencesOf",
            summary=f"Who refers to a {kind.noun}, and what it refers to",
            responses={
                200: openapi.answer("References", openapi.ref(openapi.ReferencesAnswer)),
                **openapi.problems(404),
            },
        )

    def _get_answer(self, item: Any, is_kv: bool) -> Any:
        value = {"type": "object", "properties": {"value": {}}, "required": ["value"]}
        schema = {"anyOf": [item, value]} if is_kv else item
        if not self._kind.wire.file or self._kind.wire.secret_file:
            return openapi.answer("The resource", schema)
        raw = {"type": "string", "format": "binary"}
        return openapi.answer("The resource, by `Accept`", schema, **{BYTES: raw, FORM: raw})

    async def post(self, request: Request, under: Address | None, queries: Queries) -> Response:
        """201 with the stored body."""
        written = await self._read(request, queries)
        parents = under.names(self._parent()) if under else ()
        at = Address.of(self._kind, [*parents, *written.spec.identity(written.metadata)])
        check_presence(written.file, written.spec)
        stored = await self._write(self._create, at, written)
        await self._tell_of_change(at)
        headers = {"Location": PREFIX + quote(at.path)}
        return self._answer(stored, 201, written, headers)

    async def put(self, request: Request, at: Address, queries: Queries) -> Response:
        """The code of `Wire.put`; without a file the one that is there stays."""
        written = await self._read(request, queries)
        named = written.spec.identity(written.metadata)
        if at.names(self._kind)[-len(named) :] != named:
            raise Invalid(
                "Mismatched name in PUT request", f"the body names {'/'.join(named)}, the URL {at}"
            )
        if_match = await self._if_match(request, at)
        stored, created = await self._write(self._replace, at, written, if_match)
        if self._replaced is not None and not created:
            await self._replaced(at)
        await self._tell_of_change(at)
        replaced_code, created_code = self._kind.wire.put or (200, 201)
        return self._answer(stored, created_code if created else replaced_code, written)

    async def get(self, request: Request, at: Address, queries: Queries) -> Response:
        """JSON, or the file, or both, as `Accept` says."""
        stored = await run_in_threadpool(self._store.get, at)
        if queries.get("key") is not None:
            return json_response(value_of(stored.spec, queries["key"]))
        if not self._kind.wire.file:
            return self._answer(stored)
        wanted = acceptable(request.headers.get("accept"), (JSON, BYTES, FORM))
        if wanted is None:
            raise _NotAcceptable(f"set Accept: {FORM}, {JSON} or {BYTES}")
        if wanted == JSON:
            return self._answer(stored)
        return _with_file(stored, await self._file(stored), wanted)

    async def list(self, request: Request, under: Address | None, queries: Queries) -> Response:
        """Everything below the parent in name order, or a page of it, or a variant of EMCO's."""
        asked = [v for v in LISTS.get(self._kind, ()) if queries[v.query] is not None]
        page = await run_in_threadpool(
            self._store.list,
            self._kind,
            under,
            limit=None if asked else queries["limit"],
            cursor=None if asked else queries["cursor"],
        )
        if asked and under is not None:
            data = await run_in_threadpool(
                asked[0].answer, self._store, under, page.items, queries[asked[0].query]
            )
            return json_response(data)
        headers = {}
        if page.cursor is not None:
            following = request.url.include_query_params(cursor=page.cursor)
            headers = {
                "X-Next-Cursor": page.cursor,
                "Link": f'<{following.path}?{following.query}>; rel="next"',
            }
        return json_response(listed(self._kind, page.items), headers=headers)

    async def delete(self, request: Request, at: Address, queries: Queries) -> Response:
        """204; with `dryRun` nothing is deleted, and what would be in the way is told all the same."""
        if_match = await self._if_match(request, at)
        await run_in_threadpool(
            self._store.delete, at, if_match=if_match, dry_run=bool(queries["dryRun"])
        )
        if not queries["dryRun"]:
            await self._tell_of_change(at)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def references(self, request: Request, at: Address, queries: Queries) -> Response:
        """Both directions and the children."""
        found = await run_in_threadpool(self._store.references, at)

        def uses(pairs: Sequence[tuple[str, Address]]) -> list[dict[str, str]]:
            return [{"field": field, "kind": a.kind, "path": a.path} for field, a in pairs]

        return json_response(
            {
                "incoming": uses(found.incoming),
                "outgoing": uses(found.outgoing),
                "children": [{"kind": a.kind, "path": a.path} for a in found.children],
            }
        )

    async def _read(self, request: Request, queries: Queries) -> Written:
        written = await read_write(request, self._kind, self._settings)
        if written.unknown and queries["fieldValidation"] == "Strict":
            lines = [f"{field}: is not a field of {self._kind.kind}" for field in written.unknown]
            raise Invalid("Invalid Input:", "\n".join(lines))
        return written

    async def _tell_of_change(self, at: Address) -> None:
        if self._changed is not None:
            await self._changed(at)

    async def _write(self, write: Any, at: Address, written: Written, *more: Any) -> Any:
        check_receiver(written.spec, self._settings)
        if written.file is not None:
            await run_in_threadpool(check_file, written.file, at, written.spec, self._settings)
        return await run_in_threadpool(write, at, written, *more)

    def _create(self, at: Address, written: Written) -> Stored:
        return self._store.create(at, written.metadata, written.spec, file=written.file)

    def _replace(self, at: Address, written: Written, if_match: int | None) -> tuple[Stored, bool]:
        there = self._store.find(at)
        if there is None or there.file is None:
            check_presence(written.file, written.spec)
        return self._store.replace(
            at, written.metadata, written.spec, file=written.file, if_match=if_match
        )

    async def _file(self, stored: Stored) -> bytes:
        if self._kind.wire.secret_file:
            raise Forbidden(
                "The file holds credentials and is never returned",
                f"{stored.address}: ask for application/json",
            )
        content = await run_in_threadpool(self._store.file, stored.address)
        if content is None:
            raise NotFound("File not found", f"{stored.address} was stored without a file")
        return content

    async def _if_match(self, request: Request, at: Address) -> int | None:
        """The generation that `If-Match` asks for; `*` is the one there is."""
        header = request.headers.get("if-match")
        if header is None:
            return None
        there = await run_in_threadpool(self._store.find, at)
        if there is None:
            raise PreconditionFailed(
                "If-Match does not match", f"{at} does not exist, so it has no generation"
            )
        if header.strip() == "*":
            return there.generation
        named = [int(g) for g in re.findall(r'"(\d{1,18})"', header)]
        if there.generation in named:
            return there.generation
        raise PreconditionFailed(
            "If-Match does not match",
            f'{at} is at generation {there.generation}, ETag "{there.generation}"; '
            "read it again and decide anew",
        )

    def _answer(
        self,
        stored: Stored,
        status: int = 200,
        written: Written | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        response = json_response(view(stored), status, headers)
        response.headers["ETag"] = f'"{stored.generation}"'
        for field in (written.unknown if written else ())[:MAX_WARNED]:
            # json.dumps makes a quoted string of printable ASCII out of any field name
            text = json.dumps(f"unknown field {field[:200]}")
            response.headers.append("Warning", f"299 - {text}")
        return response

    def _parent(self) -> type[Resource]:
        if self._kind.parent is None:
            raise TypeError(f"{self._kind.kind} has no parent")
        return self._kind.parent


class _NotAcceptable(Invalid):
    """The client accepts none of the forms a resource with a file has."""

    status = 406


def _with_file(stored: Stored, content: bytes, wanted: str) -> Response:
    """The file alone, or a form of EMCO's two parts."""
    if wanted == BYTES:
        return Response(content, media_type=BYTES)
    boundary = secrets.token_hex(16)
    parts = (
        (JSON, 'name="metadata"', json.dumps(view(stored)).encode()),
        (BYTES, 'name="file"; filename="fileContent"', content),
    )
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {media}\r\n"
        f"Content-Disposition: form-data; {names}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for media, names, data in parts
    )
    return Response(
        body + f"--{boundary}--\r\n".encode(), media_type=f"{FORM}; boundary={boundary}"
    )
