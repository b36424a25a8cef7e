"""What a client is told when something of ours is broken: that it is, and nothing about it."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import structlog

from api.app import create_app
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.api.conftest import Api, InProcess, RecordedOperations
from tests.listeners import RecordedListeners


class Buggy(RecordedOperations):
    """Has a bug, and a secret in its message."""

    async def check(self) -> None:
        raise ValueError("password=hunter2")


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[httpx.Client]:
    """An API with buggy operations, over a database without tables."""
    keys = Keyring([secrets.token_bytes(32)])
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    with (
        closing(Store.open(url, keys=keys, migrate_first=False)) as store,
        asyncio.Runner() as runner,
    ):
        yield from _client(store, runner, tmp_path)


@pytest.fixture
def buggy(api: Api, empty: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """An API with buggy operations, over a sound database."""
    api.load(empty)
    with asyncio.Runner() as runner:
        yield from _client(api.store, runner, tmp_path)


def _client(store: Store, runner: asyncio.Runner, folder: Path) -> Iterator[httpx.Client]:
    app = create_app(store, Buggy(store), Settings(data=folder), listeners=RecordedListeners())
    transport = InProcess(app, runner)
    with httpx.Client(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def test_a_bug_is_a_500_without_internals_and_is_logged(buggy: httpx.Client) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = buggy.get("/readyz")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "ValueError" not in answer.text
    (entry,) = logs
    assert (entry["event"], entry["path"], entry["log_level"]) == (
        "request.crashed",
        "/readyz",
        "error",
    )


def test_a_broken_database_is_a_503_without_internals(broken: httpx.Client) -> None:
    for path in ("/readyz", "/v2/projects"):
        answer = broken.get(path)
        assert answer.status_code == 503
        assert "sqlalche" not in answer.text.lower()
        assert "select" not in answer.text.lower()
    assert broken.get("/healthz").status_code == 200
