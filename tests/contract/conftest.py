"""The store on both of its databases; every test of this folder runs on each."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emco.domain.kinds.apps import App, AppDependency, CompositeApp, CompositeProfile
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.fleet import Cluster, ClusterProvider
from emco.domain.kinds.tenancy import ClusterReference, LogicalCloud, Project
from emco.domain.resource import Address, Metadata, Resource
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.postgres import Postgres

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A migrated database to copy: faster than migrating each."""
    url = postgres.create()
    Store.open(url, keys=Keyring([KEY])).close()
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated database."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'emco.db'}"
        Store.open(made, keys=Keyring([KEY])).close()
        yield made
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    made = postgres.create(request.getfixturevalue("template"))
    yield made
    postgres.drop(made)


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[..., Store]]:
    """Opens the database, as another process would; closed after the test."""
    opened: list[Store] = []

    def make(*keys: bytes) -> Store:
        opened.append(Store.open(url, keys=Keyring(keys or (KEY,)), migrate_first=False))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()


def at(kind: type[Resource], *names: str) -> Address:
    return Address.of(kind, names)


def named(name: str) -> Metadata:
    return Metadata(name=name)


PROJECT = at(Project, "p")
APP_ROOT = at(CompositeApp, "p", "ca", "v1")
PROFILE = at(CompositeProfile, "p", "ca", "v1", "cp")
CLOUD = at(LogicalCloud, "p", "lc")
DEPLOYMENT = at(Deployment, "p", "ca", "v1", "d")
CLUSTER = at(Cluster, "edge", "c1")
counter = itertools.count()


def app(name: str) -> Address:
    return at(App, "p", "ca", "v1", name)


def dependency(waiting: str, name: str) -> Address:
    return at(AppDependency, "p", "ca", "v1", waiting, name)


def spec_of_deployment() -> Deployment:
    return Deployment.model_validate(
        {"compositeProfile": "cp", "version": "r", "logicalCloud": "lc", "overrideValues": []}
    )


def add_app(store: Store, name: str) -> None:
    store.create(app(name), named(name), App(), file=name.encode())


@pytest.fixture
def shop(store: Store) -> Store:
    """What `fill` makes."""
    fill(store)
    return store


def fill(store: Store) -> None:
    """A project with a composite app of two apps, a cloud over one cluster, and a deployment."""
    store.create(PROJECT, named("p"), Project())
    store.create(APP_ROOT, named("ca"), CompositeApp(composite_app_version="v1"))
    add_app(store, "a")
    add_app(store, "b")
    store.create(PROFILE, named("cp"), CompositeProfile())
    store.create(at(ClusterProvider, "edge"), named("edge"), ClusterProvider())
    store.create(CLUSTER, named("c1"), Cluster(), file=b"kubeconfig")
    store.create(CLOUD, named("lc"), LogicalCloud(level="0"))
    reference = ClusterReference.model_validate({"clusterProvider": "edge", "cluster": "c1"})
    store.create(at(ClusterReference, "p", "lc", "r"), named("r"), reference)
    store.create(DEPLOYMENT, named("d"), spec_of_deployment())
