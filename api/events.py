"""The event log over HTTP: a page of it as JSON, or all that comes as server-sent events.

A stream says the number of every event as its id, so a reader that was cut off goes on where it was
with `Last-Event-ID`. A number without an event moves a reader on whose filters let nothing through.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api import openapi
from api.accept import acceptable
from api.bodies import violations
from api.endpoints import PREFIX, Queries, QueryParameter, at_resource, json_response
from emco.domain.errors import Forgotten, Invalid
from emco.domain.events import Event, EventType, Severity, View
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.notification import Criteria
from emco.domain.kinds.tenancy import Project
from emco.domain.names import short_name
from emco.domain.resource import Address, Resource
from emco.domain.subscriptions import matches
from emco.store.store import Store
from emco.store.tail import Tail

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
READ_AT_ONCE: Final = 500
MAX_PAGE: Final = 1000
BEAT_SECONDS: Final = 15.0
"""Shorter than proxies take silence for the end."""

_Sequence = Annotated[int, Field(ge=0, le=2**31 - 1)]
_QUERIES: Final = (
    QueryParameter("after", _Sequence, "Only events with greater numbers"),
    QueryParameter(
        "limit", Annotated[int, Field(ge=1, le=MAX_PAGE)], "At most so many, 100 by default"
    ),
    QueryParameter("type", list[EventType], "Only events about these"),
    QueryParameter("app", list[str], "Only of these apps; `*` and `?` as in patterns"),
    QueryParameter("cluster", list[str], "Only on these clusters, as `provider+cluster` patterns"),
    QueryParameter("resource", list[str], "Only of these objects, as `Kind/name` patterns"),
    QueryParameter("view", list[View], "Only of these views"),
    QueryParameter("transition", list[str], "Only these, as `Ready->NotReady`"),
    QueryParameter("pairs", bool, "Only that apps failed and recovered"),
    QueryParameter("severity", Severity, "Only events at least as bad"),
)


@dataclass(frozen=True)
class _Asked:
    """Whose events, which of them, and after which number."""

    project: str
    deployment: str
    criteria: Criteria
    after: int | None

    def wants(self, event: Event) -> bool:
        """Whether the event is to be shown."""
        is_ours = event.project == self.project and self.deployment in ("", event.deployment)
        return is_ours and matches(self.criteria, event, {})


class EventLog:
    """Pages and streams. Streams share one look at the log."""

    def __init__(self, store: Store) -> None:
        self._store, self._tail = store, Tail(store)

    async def read(self, request: Request, at: Address, queries: Queries) -> Response:
        """JSON, or a stream, as `Accept` says."""
        await run_in_threadpool(self._store.get, at)
        asked = _asked(request, at, queries)
        if acceptable(request.headers.get("accept"), (JSON, SSE)) != SSE:
            return json_response(await self._page(asked, queries["limit"] or 100))
        if asked.after is not None:  # refused before the stream begins, if it has to be
            await run_in_threadpool(self._store.events, asked.after, limit=1)
        return StreamingResponse(
            self._stream(asked), media_type=SSE, headers={"Cache-Control": "no-store"}
        )

    async def _page(self, asked: _Asked, limit: int) -> dict[str, Any]:
        """Events that are wanted, and the number to go on after: reading on ends when it stays."""
        cursor = asked.after
        if cursor is None:
            cursor = (await run_in_threadpool(self._store.extent)).forgotten
        found: list[Event] = []
        while len(found) < limit:
            events = await run_in_threadpool(
                self._store.events,
                cursor,
                limit=READ_AT_ONCE,
                project=asked.project,
                deployment=asked.deployment,
            )
            wanted = [event for event in events if asked.wants(event)][: limit - len(found)]
            found += wanted
            if len(found) == limit:
                cursor = found[-1].sequence
            elif events:
                cursor = events[-1].sequence
            if len(events) < READ_AT_ONCE:
                break
        return {"events": [event.wire() for event in found], "after": cursor}

    async def _stream(self, asked: _Asked) -> AsyncIterator[str]:
        """First the state as it is, unless the reader says where it was; then what comes."""
        cursor = asked.after
        if cursor is None:
            now, events = await run_in_threadpool(
                lambda: self._store.standing(asked.project, asked.deployment, wanted=asked.wants)
            )
            cursor = now.last
            for event in events:  # without ids: who is cut off in here begins anew
                yield _message(event, "")
            yield f"id: {cursor}\n\n"
        try:
            while True:
                events = await self._tail.after(cursor, READ_AT_ONCE)
                for event in events:
                    if asked.wants(event):
                        yield _message(event, f"id: {event.sequence}\n")
                if events:
                    cursor = events[-1].sequence
                    yield f"id: {cursor}\n\n"
                    continue
                try:
                    async with asyncio.timeout(BEAT_SECONDS):
                        await self._tail.beyond(cursor)
                except TimeoutError:
                    yield ": still here\n\n"
        except Forgotten as gap:  # a reader slower than retention
            yield f"event: gap\ndata: {json.dumps({'title': gap.title, 'detail': gap.detail})}\n\n"


def event_routes(store: Store) -> APIRouter:
    """The log of a project and of a deployment."""
    router, events = APIRouter(), EventLog(store)
    page = {
        "type": "object",
        "properties": {
            "events": {"type": "array", "items": {"type": "object"}},
            "after": {"type": "integer"},
        },
        "required": ["events", "after"],
    }

    def add(kind: type[Resource], name: str) -> None:
        router.add_api_route(
            f"{PREFIX}{kind.template()}/{name}",
            at_resource(events.read, kind, _QUERIES),
            methods=["GET"],
            response_model=None,
            tags=["notification"],
            operation_id=f"events{kind.kind}",
            summary=f"Events of a {kind.noun}",
            responses={
                200: openapi.answer("A page, or a stream", page, **{SSE: {"type": "string"}}),
                **openapi.problems(400, 404, 410),
            },
        )

    add(Project, "status-events")
    add(Deployment, "events")
    return router


def _asked(request: Request, at: Address, queries: Queries) -> _Asked:
    is_deployment = at.kind == Deployment.kind
    return _Asked(
        project=at.ancestor(Deployment, Project).name if is_deployment else at.name,
        deployment=short_name(at) if is_deployment else "",
        criteria=_criteria(queries),
        # A reader that was cut off sends the same query again, and with it how far it came.
        after=queries["after"] if (last := _last_event(request)) is None else last,
    )


def _last_event(request: Request) -> int | None:
    header = request.headers.get("last-event-id", "")
    if not header:
        return None
    if not header.isascii() or not header.isdecimal() or len(header) > len(str(2**31)):
        raise Invalid("Invalid Last-Event-ID", "send back the last id, exactly as it was given")
    return int(header)


def _criteria(queries: Queries) -> Criteria:
    def pair(text: str, separator: str, first: str, second: str) -> dict[str, str]:
        one, _, other = text.partition(separator)
        return {first: one, second: other or "*"}

    given = {
        "types": queries["type"] or [],
        "apps": queries["app"] or [],
        # An unescaped plus arrives as a blank.
        "clusters": [
            pair(c.replace(" ", "+"), "+", "clusterProvider", "cluster")
            for c in queries["cluster"] or []
        ],
        "resources": [pair(r, "/", "kind", "name") for r in queries["resource"] or []],
        "views": queries["view"] or [],
        "transitions": queries["transition"] or [],
        "pairs": bool(queries["pairs"]),
        "minimumSeverity": queries["severity"] or Severity.INFO,
    }
    try:
        return Criteria.model_validate(given)
    except ValidationError as error:
        raise violations(error.errors(include_url=False, include_context=False), given) from None


def _message(event: Event, number: str) -> str:
    kind = "snapshot" if event.snapshot else event.type
    return f"{number}event: {kind}\ndata: {json.dumps(event.wire(), separators=(',', ':'))}\n\n"
