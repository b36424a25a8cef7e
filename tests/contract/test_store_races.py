"""Concurrent writers, with connections of their own: integrity is the database's, not luck's."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emco.domain.errors import Conflict, EmcoError, Invalid, NotFound
from emco.domain.kinds.apps import AppDependency, CompositeApp, find_cycle
from emco.domain.kinds.tenancy import Project
from emco.store.store import Store
from tests.contract.conftest import APP_ROOT, DEPLOYMENT, add_app, app, at, dependency, named
from tests.postgres import Postgres

ROUNDS = 1000
ROOT = Path(__file__).resolve().parents[2]


def race(*attempts: Callable[[], object]) -> list[object]:
    """Start all at the same instant; what each returned, or the error it raised."""
    barrier = threading.Barrier(len(attempts))

    def run(attempt: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return attempt() or "done"
        except EmcoError as error:
            return error

    return list(POOL.map(run, attempts))


POOL = ThreadPoolExecutor(4)


def test_deleting_and_referring_never_leave_a_dangling_reference(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    one, other = open_store(), open_store()
    wins = {"delete": 0, "refer": 0}
    for _ in range(ROUNDS):
        if shop.find(app("b")) is None:
            add_app(shop, "b")
        wait = AppDependency.model_validate({"app": "b", "opStatus": "Ready"})
        deleted, referred = race(
            lambda: one.delete(app("b")),
            lambda: other.create(dependency("a", "d"), named("d"), wait),  # noqa: B023
        )
        assert isinstance(deleted, Conflict) != isinstance(referred, Conflict), (deleted, referred)
        if isinstance(referred, Conflict):
            wins["delete"] += 1
            assert shop.find(dependency("a", "d")) is None
        else:
            wins["refer"] += 1
            assert shop.find(app("b")) is not None
            shop.delete(dependency("a", "d"))
    assert wins["delete"] + wins["refer"] == ROUNDS


def test_deleting_a_parent_and_adding_a_child_never_leave_an_orphan(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    one, other = open_store(), open_store()
    project, child = at(Project, "x"), at(CompositeApp, "x", "c", "1")
    for _ in range(ROUNDS // 2):
        if shop.find(project) is None:
            shop.create(project, named("x"), Project())
        race(
            lambda: one.delete(project),
            lambda: other.create(child, named("c"), CompositeApp(composite_app_version="1")),
        )
        if shop.find(child) is not None:
            assert shop.find(project) is not None
            shop.delete(child)


@pytest.mark.parametrize("verb", ["create", "replace"])
def test_writers_that_together_would_close_a_cycle_never_do(
    shop: Store, open_store: Callable[..., Store], verb: str
) -> None:
    stores = [open_store() for _ in range(3)]
    add_app(shop, "c")
    ring = {"a": "b", "b": "c", "c": "a"}

    def wait(store: Store, waiting: str) -> Callable[[], object]:
        spec = AppDependency.model_validate({"app": ring[waiting], "opStatus": "Ready"})
        return lambda: getattr(store, verb)(dependency(waiting, "d"), named("d"), spec)

    for _ in range(50):
        results = race(*(wait(store, name) for store, name in zip(stores, ring, strict=True)))
        assert sum(isinstance(r, Invalid) for r in results) == 1, results
        with shop.snapshot() as view:
            waits = view.specs(AppDependency, APP_ROOT)
        graph = {address.path.split("/")[6]: [str(spec.app)] for address, spec in waits}
        assert find_cycle(graph) == []
        for address, _spec in waits:
            shop.delete(address)


def test_of_two_creations_of_the_same_resource_one_wins(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    one, other = open_store(), open_store()
    project = at(Project, "x")
    for _ in range(100):
        results = race(
            lambda: one.create(project, named("x"), Project()),
            lambda: other.create(project, named("x"), Project()),
        )
        assert sum(isinstance(r, Conflict) for r in results) == 1
        shop.delete(project)


def test_lifecycle_changes_never_overwrite_each_other(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    stores = [open_store() for _ in range(4)]
    for _ in range(25):
        race(
            *(
                lambda s=s: s.change_lifecycle(
                    DEPLOYMENT, lambda life: life.model_copy(update={"message": life.message + "x"})
                )
                for s in stores
            )
        )
    assert len(shop.lifecycle(DEPLOYMENT).message) == 100


def test_deleting_what_another_writer_deleted_is_not_found(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    one, other = open_store(), open_store()
    for _ in range(100):
        add_app(shop, "z")
        results = race(lambda: one.delete(app("z")), lambda: other.delete(app("z")))
        assert sum(isinstance(r, NotFound) for r in results) == 1


def test_processes_that_open_a_new_database_at_once_take_turns(
    tmp_path: Path, postgres: Postgres
) -> None:
    script = (
        "import sys; from emco.store.store import Store; from emco.store.crypto import Keyring\n"
        "store = Store.open(sys.argv[1], keys=Keyring([bytes(32)])); print(store.put_blob(b'x'))"
    )
    for url in (f"sqlite:///{tmp_path / 'new.db'}", postgres.create()):
        started = [
            subprocess.Popen(
                [sys.executable, "-c", script, url],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        for process in started:
            told, wrong = process.communicate(timeout=60)
            assert process.returncode == 0, wrong
            assert len(told.strip()) == 64
