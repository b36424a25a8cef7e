"""The API over the real store on SQLite, and operations that record what the workflow would."""

import asyncio
import secrets
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.operations import Operations
from emco.domain.errors import Conflict, Unavailable
from emco.domain.lifecycle import Verb, accept
from emco.domain.resource import Address
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.api import world


class RecordedOperations(Operations):
    """Does what a deployment's workflow does before an update answers: records it in the store.

    `refuses` and `silent` make it behave like a workflow that refuses and a server that is away.
    """

    def __init__(self, store: Store) -> None:
        self.asked: list[tuple[Verb, Address]] = []
        self.refuses = False
        self.silent = False
        self._store = store

    async def instantiate(self, deployment: Address) -> None:
        await self._ask(Verb.INSTANTIATE, deployment)

    async def terminate(self, deployment: Address) -> None:
        await self._ask(Verb.TERMINATE, deployment)

    async def check(self) -> None:
        if self.silent:
            raise Unavailable("Temporal is unavailable", "127.0.0.1:7233: connection refused")

    async def _ask(self, verb: Verb, deployment: Address) -> None:
        await self.check()
        self.asked.append((verb, deployment))
        if self.refuses:
            raise Conflict("the workflow says no")
        self._store.change_lifecycle(
            deployment,
            lambda life: accept(
                life,
                verb,
                deployment.name,
                operation=uuid.uuid4().hex,
                now=datetime.now(UTC),
                adopt=True,
            ),
        )


@pytest.fixture(scope="session")
def keys() -> Keyring:
    return Keyring([secrets.token_bytes(32)])


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, keys: Keyring) -> Path:
    """A migrated database that is copied for each test, because migrating takes longer."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    Store.open(f"sqlite:///{path}", keys=keys).close()
    return path


@pytest.fixture
def store(tmp_path: Path, empty_database: Path, keys: Keyring) -> Iterator[Store]:
    path = tmp_path / "emco.db"
    shutil.copy(empty_database, path)
    store = Store.open(f"sqlite:///{path}", keys=keys, migrate_first=False)
    yield store
    store.close()


@pytest.fixture
def operations(store: Store) -> RecordedOperations:
    return RecordedOperations(store)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, max_body_bytes=64 * 1024, max_file_bytes=1024 * 1024)


class InProcess(httpx.BaseTransport):
    """Hands requests to the application without a socket."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._runner = runner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._runner.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


@pytest.fixture
def client(
    store: Store, operations: RecordedOperations, settings: Settings
) -> Iterator[httpx.Client]:
    transport_app = create_app(store, operations, settings)
    with (
        asyncio.Runner() as runner,
        httpx.Client(
            transport=InProcess(transport_app, runner), base_url="http://127.0.0.1:9015"
        ) as client,
    ):
        yield client


@pytest.fixture
def shop(client: httpx.Client) -> httpx.Client:
    """The client, with one resource of every kind stored."""
    world.build(client)
    return client
