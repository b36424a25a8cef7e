"""What every level of tests can ask for: the sandbox's tools, a pair of clusters, a Temporal server."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from emco.sandbox import processes, temporal, toolchain
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.settings import Settings

pytest_plugins = ["tests.postgres"]

CLUSTERS = ("c1", "c2")

# A busy machine makes an example slow, not wrong.
hypothesis.settings.register_profile("emco", deadline=None)
hypothesis.settings.load_profile("emco")


@pytest.fixture(scope="session")
def tools() -> toolchain.Tools:
    """The sandbox's programs; the first run on a machine builds them, which takes minutes."""
    return toolchain.find(Settings(), print)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of this test run alone; whatever is in it dies with the run."""
    folder = tmp_path_factory.mktemp("sandbox")
    made = Sandbox(folder, owner=os.getpid())
    yield made
    made.delete([info.name for info in made.all()])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def clusters(sandbox: Sandbox, tools: toolchain.Tools) -> list[ClusterInfo]:
    """Two control planes, started once and used by every test with namespaces of its own."""
    return sandbox.create(CLUSTERS, tools)


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Temporal server as `emco up` starts it."""
    folder: Path = tmp_path_factory.mktemp("temporal")
    (port,) = processes.free_ports(1)
    server = processes.start(
        temporal.command(folder / "temporal.db", port=port, ui_port=None),
        log=folder / "temporal.log",
    )
    assert processes.until(lambda: processes.listens(port), seconds=30), folder / "temporal.log"
    yield f"127.0.0.1:{port}"
    processes.stop(server)
