"""The port to Temporal, against a real server and workflows that answer as a deployment's does."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api import temporal
from api.operations import Asked
from api.temporal import TemporalOperations
from emco.domain.contracts import Begun, FailureType
from emco.domain.errors import Conflict, Unavailable
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import Verb
from emco.domain.resource import Address
from emco.settings import Settings


@workflow.defn(name="Deployment")
class Echo:
    """Remembers what it was asked; refuses for deployments named after a refusal."""

    @workflow.init
    def __init__(self, start: dict[str, Any]) -> None:
        self._asked: list[Any] = [start]

    @workflow.run
    async def run(self, start: dict[str, Any]) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def instantiate(self, request: dict[str, Any]) -> Begun:
        if "refuses" in workflow.info().workflow_id:
            raise ApplicationError("No: it is live", type=FailureType.REFUSED, non_retryable=True)
        if "breaks" in workflow.info().workflow_id:
            raise ApplicationError("the disk is full", type="Other", non_retryable=True)
        self._asked.append({"instantiate": request})
        return Begun(operation=request["operation"], revision=1)

    @workflow.update
    async def terminate(self, request: dict[str, Any]) -> Begun:
        self._asked.append({"terminate": request})
        return Begun(operation=request["operation"])

    @workflow.query
    def asked(self) -> list[Any]:
        return self._asked


@pytest_asyncio.fixture
async def client(temporal_server: str) -> Client:
    for _ in range(100):  # a port that listens is a little earlier than a server that answers
        try:
            return await Client.connect(temporal_server, data_converter=pydantic_data_converter)
        except RuntimeError:
            await asyncio.sleep(0.1)
    return await Client.connect(temporal_server, data_converter=pydantic_data_converter)


@pytest.fixture
def settings() -> Settings:
    return Settings(task_queue=f"api-{uuid.uuid4().hex[:8]}")


@pytest_asyncio.fixture
async def operations(client: Client, settings: Settings) -> AsyncIterator[TemporalOperations]:
    async with Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[Echo],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield TemporalOperations(client, settings)


def deployment(name: str = "prod") -> Address:
    unique = f"{name}-{uuid.uuid4().hex[:8]}"
    return Address.of(Deployment, ["shop", "boutique", "v1", unique])


async def asked(client: Client, at: Address) -> list[Any]:
    handle = client.get_workflow_handle(f"deployment/shop/boutique/v1/{at.name}")
    answer: list[Any] = await handle.query("asked")
    return answer


async def test_the_first_operation_starts_the_workflow_and_the_next_finds_it(
    client: Client, operations: TemporalOperations
) -> None:
    at = deployment()
    await operations.ask(Verb.INSTANTIATE, at, Asked())
    await operations.ask(Verb.TERMINATE, at, Asked())
    start, first, second = await asked(client, at)
    assert start == {"deployment": f"shop/boutique/v1/{at.name}", "instantiate": False}
    assert set(first) == {"instantiate"}
    assert set(second) == {"terminate"}
    assert first["instantiate"]["operation"] != second["terminate"]["operation"]


async def test_terminate_works_when_no_workflow_is_open(
    client: Client, operations: TemporalOperations
) -> None:
    at = deployment()
    await operations.ask(Verb.TERMINATE, at, Asked())
    assert len(await asked(client, at)) == 2


async def test_a_refusal_is_a_conflict_with_its_sentence(operations: TemporalOperations) -> None:
    with pytest.raises(Conflict) as refusal:
        await operations.ask(Verb.INSTANTIATE, deployment("refuses"), Asked())
    assert (refusal.value.title, refusal.value.detail) == ("No", "it is live")


async def test_another_failure_is_unavailable_with_its_reason(
    operations: TemporalOperations,
) -> None:
    with pytest.raises(Unavailable, match="the disk is full"):
        await operations.ask(Verb.INSTANTIATE, deployment("breaks"), Asked())


async def test_without_a_worker_the_task_queue_is_named(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal, "ANSWER_WITHIN", timedelta(seconds=1))
    with pytest.raises(Unavailable, match=settings.task_queue):
        await TemporalOperations(client, settings).ask(Verb.INSTANTIATE, deployment(), Asked())


async def test_a_server_that_is_away_is_named_by_its_address(settings: Settings) -> None:
    away = await Client.connect("127.0.0.1:1", lazy=True)
    settings = settings.model_copy(update={"temporal_address": "127.0.0.1:1"})
    operations = TemporalOperations(away, settings)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await operations.ask(Verb.INSTANTIATE, deployment(), Asked())
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await operations.check()


async def test_check_returns_when_the_server_answers(operations: TemporalOperations) -> None:
    await operations.check()
