"""The command against the real API: over HTTP, on a clean SQLite store, with operations that tests script."""

import asyncio
import json
import secrets
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from api.app import create_app
from api.operations import Accepted, Asked, Operations
from emco.cli.app import app
from emco.domain.lifecycle import Outcome, Verb, accept, ended
from emco.domain.resource import Address
from emco.domain.status import ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.listeners import RecordedListeners

ROOT = Path(__file__).resolve().parents[3]
BOUTIQUE = ROOT / "charts" / "online-boutique" / "emco.yaml"
STEP_SECONDS = 0.02

Step = Callable[[Store, Address], None]


class Scripted(Operations):
    """Accepts an operation as the workflow does, then carries out the steps a test gave it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.steps: dict[Verb, list[Step]] = {}
        self.asked = Asked()
        self.report: dict[str, object] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def preview(self, deployment: Address, revision: int = 0) -> str:
        return self._store.put_blob(json.dumps(self.report).encode())

    async def policies_changed(self, deployment: Address) -> None:
        """Nobody to be told."""

    async def dependencies_changed(self, deployment: Address) -> None:
        """Nobody to be told."""

    async def check(self) -> None:
        """Always there."""

    async def ask(self, verb: Verb, deployment: Address, asked: Asked) -> Accepted:
        operation, now = uuid.uuid4().hex, datetime.now(UTC)
        self.asked = asked
        life = self._store.change_lifecycle(
            deployment,
            lambda life: accept(life, verb, deployment.name, operation=operation, now=now),
        )
        task = asyncio.create_task(self._carry_out(self.steps.get(verb, [done(verb)]), deployment))
        self._tasks.add(task)
        return Accepted(operation, life.revision)

    async def _carry_out(self, steps: list[Step], deployment: Address) -> None:
        for step in steps:
            await asyncio.sleep(STEP_SECONDS)
            step(self._store, deployment)

    async def settle(self) -> None:
        """Wait until every step was taken, so that none reaches into the next test."""
        await asyncio.gather(*self._tasks)
        self._tasks.clear()


def done(verb: Verb, failure: str = "") -> Step:
    """The operation ends."""
    return lambda store, at: _end(store, at, verb, failure)


def _end(store: Store, at: Address, verb: Verb, failure: str) -> None:
    outcome = Outcome.FAILED if failure else Outcome.DONE
    now = datetime.now(UTC)
    store.change_lifecycle(at, lambda life: ended(life, outcome, now=now, failure=failure))


def unit(app: str, phase: Phase, *, cluster: str = "edge+c1", message: str = "") -> Step:
    """One app on one cluster reaches `phase`; it has one object."""
    key = ObjectKey(api_version="apps/v1", kind="Deployment", namespace="ns", name=app)
    ready = Ready.READY if phase is Phase.READY else Ready.NOT_READY
    row = UnitRow(
        app=app,
        cluster=cluster,
        phase=phase,
        since=datetime.now(UTC),
        message=message,
        objects=(ObjectStatus(key=key, ready=ready, message=message),),
    )
    return lambda store, at: store.put_unit(at, row)


@dataclass
class Served:
    """The API, its store and what tests say about operations."""

    url: str
    store: Store
    operations: Scripted
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def settle(self) -> None:
        asyncio.run_coroutine_threadsafe(self.operations.settle(), self.loop).result(timeout=30)
        self.operations.steps.clear()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path, Path]]:
    """One API for the session, since building its routes takes longer than a test."""
    folder = tmp_path_factory.mktemp("cli")
    database, template = folder / "emco.db", folder / "empty.db"
    store = Store.open(f"sqlite:///{database}", keys=Keyring([secrets.token_bytes(32)]))
    _copy(database, template)
    operations = Scripted(store)
    config = uvicorn.Config(
        create_app(store, operations, Settings(data=folder), listeners=RecordedListeners()),
        port=0,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    running = uvicorn.Server(config)
    served = Served("", store, operations)
    thread = threading.Thread(target=served.loop.run_until_complete, args=(running.serve(),))
    thread.start()
    while not running.started:
        time.sleep(0.005)
    port = running.servers[0].sockets[0].getsockname()[1]
    served.url = f"http://127.0.0.1:{port}"
    yield served, database, template
    running.should_exit = True
    thread.join()
    served.loop.close()
    store.close()


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture
def served(server: tuple[Served, Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The API with nothing stored; the command finds it."""
    made, database, template = server
    _copy(template, database)
    monkeypatch.setenv("EMCO_URL", made.url)
    yield made
    made.settle()


Emco = Callable[..., Result]


@pytest.fixture
def emco(monkeypatch: pytest.MonkeyPatch) -> Emco:
    """Runs the command as a shell would, with wide output; returns exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()

    def run(*arguments: str | Path, stdin: str | None = None) -> Result:
        result = runner.invoke(app, [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.fixture
def kubeconfigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Online Boutique's file asks the environment for."""
    for name in ("C1", "C2"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(KUBECONFIG)
        monkeypatch.setenv(f"KUBECONFIG_{name}", str(path))


@pytest.fixture
def boutique(
    served: Served, server: tuple[Served, Path, Path], emco: Emco, kubeconfigs: None
) -> Served:
    """Online Boutique applied, its cloud open, nothing approved; applied once and then copied."""
    _, database, template = server
    ready = template.with_name("boutique.db")
    if ready.exists():
        _copy(ready, database)
        return served
    assert emco("apply", "-f", BOUTIQUE).exit_code == 0
    assert emco("instantiate", "--cloud", "shop/edge-cloud").exit_code == 0
    _copy(database, ready)
    return served
