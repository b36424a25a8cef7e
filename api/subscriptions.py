"""What can be asked of a status subscription beside its resource: pause, resume, replay, test, and how it fares."""

from collections.abc import Callable
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.asking import ReplayBody, read_replay
from api.bodies import read_limited
from api.endpoints import PREFIX, Handler, Queries, at_resource, json_response
from api.listeners import Listeners
from emco.domain.errors import Conflict, Unavailable
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address
from emco.domain.subscriptions import Listener
from emco.settings import Settings
from emco.store.events import Extent, require_kept
from emco.store.store import Store

log = structlog.get_logger("emco.api")

Json = dict[str, Any]


class Subscriptions:
    """Answers about subscriptions, and changes of where their listeners are."""

    def __init__(self, store: Store, listeners: Listeners) -> None:
        self._store, self._listeners = store, listeners

    async def changed(self, at: Address) -> None:
        """The resource was written or deleted: whoever works for it is told.

        It is stored, so nothing is lost when Temporal is away: workers look for what has no workflow.
        """
        await run_in_threadpool(self._store.touch_subscriptions)
        await self._wake(at)

    async def pause(self, request: Request, at: Address, queries: Queries) -> Response:
        """Nothing is told until it is resumed; events wait in the log for as long as that keeps them."""
        return await self._change(at, lambda one: one.model_copy(update={"paused": True}))

    async def resume(self, request: Request, at: Address, queries: Queries) -> Response:
        """Goes on where it was, at once, whatever it was waiting for or disabled by."""
        fresh = {"paused": False, "disabled": "", "failure": "", "attempts": 0, "retry_at": None}
        return await self._change(at, lambda one: one.model_copy(update=fresh))

    async def replay(self, at: Address, asked: ReplayBody) -> Response:
        """Tells again, under the same ids, what has been told from there on."""
        if asked.time is not None:
            cursor = await run_in_threadpool(self._store.sequence_at, asked.time)
        else:
            cursor = (asked.sequence or 1) - 1
        now = await run_in_threadpool(self._store.extent)
        require_kept(now, cursor)
        if cursor > now.last:
            raise Conflict("There is no such event yet", f"the last one is {now.last}")

        def go_back(one: Listener) -> Listener:
            back = {"cursor": cursor, "epoch": one.epoch + 1, "snapshot": "", "snapshot_told": 0}
            calm = {"failure": "", "attempts": 0, "retry_at": None}
            return one.model_copy(update={**back, **calm})

        return await self._change(at, go_back)

    async def test(self, request: Request, at: Address, queries: Queries) -> Response:
        """A test event is told now; the answer says whether the listener took it."""
        await run_in_threadpool(self._store.get, at)
        failure = await self._listeners.test(at)
        return json_response({"delivered": not failure, "failure": failure})

    async def status(self, request: Request, at: Address, queries: Queries) -> Response:
        """How it fares."""
        await run_in_threadpool(self._store.get, at)
        found = await run_in_threadpool(self._store.subscription, at)
        now = await run_in_threadpool(self._store.extent)
        return json_response(_answer(found[1] if found else Listener(), now))

    async def dead_letters(self, request: Request, at: Address, queries: Queries) -> Response:
        """What was given up, newest first."""
        letters = await run_in_threadpool(self._store.dead_letters, at)
        return json_response(
            [
                {
                    "event": one.event.wire(),
                    "reason": one.reason,
                    "attempts": one.attempts,
                    "time": one.time.isoformat(),
                }
                for one in letters
            ]
        )

    async def deliveries(self, request: Request, at: Address, queries: Queries) -> Response:
        """The last attempts, newest first."""
        attempts = await run_in_threadpool(self._store.attempts, at)
        return json_response([one.model_dump(mode="json") for one in attempts])

    async def _change(self, at: Address, change: Callable[[Listener], Listener]) -> Response:
        def write() -> tuple[Listener, Extent]:
            changed = self._store.change_listener(at, change, by_others=True)
            return changed, self._store.extent()

        answer = _answer(*await run_in_threadpool(write))
        await self._wake(at)
        return json_response(answer)

    async def _wake(self, at: Address) -> None:
        try:
            await self._listeners.wake(at)
        except Unavailable as error:
            log.warning("subscription.not_told", subscription=at.path, reason=str(error))


def subscription_routes(subscriptions: Subscriptions, settings: Settings) -> APIRouter:
    """The routes of the actions and questions of a subscription."""
    router = APIRouter()
    listener, letters = (
        openapi.ref(openapi.ListenerAnswer),
        {"type": "array", "items": {"type": "object"}},
    )

    async def replay(request: Request, at: Address, queries: Queries) -> Response:
        content = await read_limited(request, settings.max_body_bytes)
        return await subscriptions.replay(at, read_replay(content))

    def drained(handler: Handler) -> Handler:
        async def endpoint(request: Request, at: Address, queries: Queries) -> Response:
            await read_limited(request, settings.max_body_bytes)
            return await handler(request, at, queries)

        return endpoint

    def add(
        method: str, name: str, handler: Handler, schema: Json, *codes: int, **more: Any
    ) -> None:
        router.add_api_route(
            f"{PREFIX}{StatusSubscription.template()}/{name}",
            at_resource(handler, StatusSubscription),
            methods=[method],
            response_model=None,
            tags=["notification"],
            operation_id=f"{name}StatusSubscription",
            summary=f"{name.capitalize()} of a {StatusSubscription.noun}",
            responses={200: openapi.answer(name, schema), **openapi.problems(404, *codes)},
            **more,
        )

    add("POST", "pause", drained(subscriptions.pause), listener)
    add("POST", "resume", drained(subscriptions.resume), listener)
    add(
        "POST",
        "replay",
        replay,
        listener,
        400,
        409,
        410,
        422,
        openapi_extra=openapi.json_body(ReplayBody),
    )
    add("POST", "test", drained(subscriptions.test), openapi.ref(openapi.TriedAnswer), 503)
    add("GET", "status", subscriptions.status, listener)
    add("GET", "dead-letters", subscriptions.dead_letters, letters)
    add("GET", "deliveries", subscriptions.deliveries, letters)
    return router


def _answer(listener: Listener, now: Extent) -> Json:
    cursor = listener.cursor or 0
    return {
        "standing": _standing(listener),
        "cursor": cursor,
        "behind": 0 if listener.cursor is None else max(0, now.last - cursor),
        "delivered": listener.delivered,
        "deadLetters": listener.dead,
        "attempts": listener.attempts,
        "failure": listener.disabled or listener.failure,
        "retryAt": listener.retry_at.isoformat() if listener.retry_at else "",
    }


def _standing(listener: Listener) -> str:
    if listener.disabled:
        return "disabled"
    if listener.paused:
        return "paused"
    return "retrying" if listener.attempts else "listening"
