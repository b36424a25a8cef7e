"""The API over the real store on SQLite, and operations that record what the workflow would."""

import asyncio
import secrets
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api.app import create_app
from api.openapi import Emco
from api.operations import Accepted, Asked, Operations
from emco.domain.errors import Conflict, Unavailable
from emco.domain.history import Changes
from emco.domain.lifecycle import Verb, accept
from emco.domain.plan.report import PlanReport
from emco.domain.resource import Address
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.api import world
from tests.listeners import RecordedListeners


class RecordedOperations(Operations):
    """Does what a deployment's workflow does before an update answers: records it in the store.

    `refuses` and `silent` make it behave like a workflow that refuses and a server that is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.forget()

    def forget(self) -> None:
        """Start over."""
        self.asked: list[tuple[Verb, Address]] = []
        self.with_verb: list[Asked] = []
        self.told: list[Address] = []
        self.refuses = False
        self.silent = False

    async def preview(self, deployment: Address, revision: int = 0) -> str:
        await self.check()
        report = PlanReport(
            deployment="shop/boutique/v1/prod",
            digest="0" * 64,
            release="prod",
            namespace="shop",
            changes=Changes(),
        )
        return self._store.put_blob(report.model_dump_json(by_alias=True).encode())

    async def policies_changed(self, deployment: Address) -> None:
        self.told.append(deployment)

    async def dependencies_changed(self, deployment: Address) -> None:
        await self.check()
        self.told.append(deployment)

    async def check(self) -> None:
        if self.silent:
            raise Unavailable("Temporal is unavailable", "127.0.0.1:7233: connection refused")

    async def ask(self, verb: Verb, deployment: Address, asked: Asked) -> Accepted:
        await self.check()
        self.asked.append((verb, deployment))
        self.with_verb.append(asked)
        if self.refuses:
            raise Conflict("the workflow says no")
        life = self._store.change_lifecycle(
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
        return Accepted(life.operation, life.revision)


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


@dataclass(frozen=True)
class Api:
    """One application for the whole session, since building its routes takes longer than a test.

    Tests get a clean database by having its content replaced, not by opening another one.
    """

    app: Emco
    store: Store
    operations: RecordedOperations
    listeners: RecordedListeners
    settings: Settings
    database: Path
    transport: InProcess

    def load(self, template: Path) -> None:
        """Replace what is stored."""
        self.operations.forget()
        self.listeners.forget()
        with (
            closing(sqlite3.connect(template)) as source,
            closing(sqlite3.connect(self.database)) as target,
        ):
            source.backup(target)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=self.transport, base_url="http://127.0.0.1:9015")


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    database = folder / "emco.db"
    keys = Keyring([secrets.token_bytes(32)])
    settings = Settings(data=folder, max_body_bytes=64 * 1024, max_file_bytes=1024 * 1024)
    with (
        closing(Store.open(f"sqlite:///{database}", keys=keys)) as store,
        asyncio.Runner() as runner,
    ):
        operations, listeners = RecordedOperations(store), RecordedListeners()
        app = create_app(store, operations, settings, listeners=listeners)
        transport = InProcess(app, runner)
        yield Api(app, store, operations, listeners, settings, database, transport)


@pytest.fixture(scope="session")
def empty(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database before anything was stored."""
    return _copy(api, tmp_path_factory.mktemp("empty") / "emco.db")


@pytest.fixture(scope="session")
def full(api: Api, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database with one resource of every kind, created through the API."""
    api.load(empty)
    with api.client() as client:
        world.build(client)
    return _copy(api, tmp_path_factory.mktemp("full") / "emco.db")


def _copy(api: Api, path: Path) -> Path:
    with closing(sqlite3.connect(api.database)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    return path


@pytest.fixture
def client(api: Api, empty: Path) -> Iterator[httpx.Client]:
    """A client of an API with nothing stored."""
    api.load(empty)
    with api.client() as client:
        yield client


@pytest.fixture
def shop(api: Api, full: Path) -> Iterator[httpx.Client]:
    """A client of an API with one resource of every kind."""
    api.load(full)
    with api.client() as client:
        yield client


@pytest.fixture
def store(api: Api) -> Store:
    return api.store


@pytest.fixture
def operations(api: Api) -> RecordedOperations:
    return api.operations


@pytest.fixture(scope="session")
def port(api: Api) -> Iterator[int]:
    """The same application behind a real server on a real socket."""
    config = uvicorn.Config(api.app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
