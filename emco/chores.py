"""What a worker does beside its tasks: old events are forgotten, and no subscription stays without its workflow.

Every worker does all of it; what another one did already is found done.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from emco.domain import names
from emco.domain.contracts import Listening
from emco.domain.errors import EmcoError
from emco.settings import Settings
from emco.store.store import Store

PAUSE_SECONDS: Final = 60.0

log = structlog.get_logger("emco.chores")


@asynccontextmanager
async def chores(client: Client, store: Store, settings: Settings) -> AsyncIterator[None]:
    """Done again and again for as long as the block runs."""

    async def forget() -> None:
        before = datetime.now(UTC) - timedelta(days=settings.events_kept_days)
        forgotten = 1
        while forgotten:
            forgotten = await asyncio.to_thread(
                store.forget_events, before=before, keep=settings.events_kept
            )

    async def start_missing() -> None:
        for subscription in await asyncio.to_thread(store.subscriptions):
            short = names.subscription_name(subscription)
            await client.start_workflow(
                names.SUBSCRIPTION_WORKFLOW,
                Listening(subscription=short),
                id=names.subscription_id(short),
                task_queue=settings.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=short,
            )

    running = [asyncio.create_task(_again_and_again(chore)) for chore in (forget, start_missing)]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        for task in running:
            with suppress(asyncio.CancelledError):
                await task


async def _again_and_again(chore: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await chore()
        except (EmcoError, RPCError, RuntimeError) as error:  # the next round finds it undone
            log.warning("chore.failed", chore=chore.__name__, reason=str(error))
        await asyncio.sleep(PAUSE_SECONDS)
