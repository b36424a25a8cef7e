"""What workers do beside their tasks: the log stays short, and no subscription is without its workflow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.notices import all as _every_sink  # noqa: F401  defines the sinks
from emco.chores import chores
from emco.domain.events import EventType, Note
from emco.domain.kinds.notification import StatusSubscription
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.contract.conftest import DEPLOYMENT, at, named, shop

_shop = shop  # the fixture


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path / 'emco.db'}", keys=Keyring([bytes(32)]))
    yield made
    made.close()


async def test_a_subscription_without_a_workflow_gets_one_and_old_events_go(
    shop: Store, client: Client, queue: str
) -> None:
    spec = StatusSubscription.model_validate({"sink": {"type": "log"}})
    shop.create(at(StatusSubscription, "p", "lost"), named("lost"), spec)
    for _ in range(3):
        shop.note(DEPLOYMENT, *[Note(type=EventType.HOOK)] * 1000)
    settings = Settings(task_queue=queue, events_kept=10)
    handle = client.get_workflow_handle("subscription/p/lost")
    async with chores(client, shop, settings), asyncio.timeout(20):
        while shop.extent().forgotten < 2990 or not await _runs(client):
            await asyncio.sleep(0.05)
    assert len(shop.events(2990, limit=100)) == 10
    await handle.terminate()


async def _runs(client: Client) -> bool:
    try:
        found = await client.get_workflow_handle("subscription/p/lost").describe()
    except RPCError:
        return False
    return found.status is WorkflowExecutionStatus.RUNNING
