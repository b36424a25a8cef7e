"""`emco api` and `emco worker` as a production runs them: PostgreSQL, several of each, keys from outside."""

import base64
import os
from collections.abc import Iterator

import pytest

from emco.sandbox.toolchain import Tools
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment
from tests.postgres import Postgres


@pytest.fixture
def production(
    tmp_path_factory: pytest.TempPathFactory,
    temporal_server: str,
    tools: Tools,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[System, System]]:
    """Two machines, as far as they can tell: nothing in common but database, keys and Temporal."""
    monkeypatch.setenv("EMCO_SECRET_KEYS", base64.b64encode(os.urandom(32)).decode())
    database = postgres.create()
    pair = [
        System(
            tmp_path_factory.mktemp(f"machine{n}"),
            temporal_server,
            tools["helm"],
            database=database,
            queue="production",
        )
        for n in range(2)
    ]
    for system in pair:
        system.start()
    yield pair[0], pair[1]
    for system in pair:
        system.stop()
    postgres.drop(database)


def test_a_deployment_over_postgresql_with_two_apis_and_two_workers(
    production: tuple[System, System], kubeconfigs: dict[str, str], kubes: dict[str, Kube]
) -> None:
    here, there = production
    shop = Shop(here.client, "production", "ns-production")
    shop.cloud(kubeconfigs)
    apps = {f"a{n}": chart(f"a{n}", config_map(f"a{n}"), deployment(f"a{n}")) for n in range(4)}
    shop.deployment(apps, {app: ["c1", "c2"] for app in apps})
    assert shop.instantiate() == "Instantiated"
    same = Shop(there.client, "production", "ns-production")
    assert same.status() == shop.status(), "the other machine sees the same"
    here.kill("worker")
    assert same.terminate() == "Terminated"
    for kube in kubes.values():
        assert kube.get("/api/v1/namespaces/ns-production") is None
    assert not (here.data / "emco.db").exists()
    assert not (here.data / "secret.key").exists()
