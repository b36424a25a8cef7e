"""One system and one pair of clusters for the session; each test gets a project and namespace of its own."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emco.sandbox import processes, temporal
from emco.sandbox.clusters import ClusterInfo
from emco.sandbox.toolchain import Tools
from tests.e2e.system import Kube, Shop, System


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def system(
    tmp_path_factory: pytest.TempPathFactory, temporal_server: str, tools: Tools
) -> Iterator[System]:
    """API and worker over SQLite, as `emco up` runs them."""
    made = System(tmp_path_factory.mktemp("system"), temporal_server, tools["helm"])
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def kubes(clusters: list[ClusterInfo]) -> Iterator[dict[str, Kube]]:
    """Cluster name to a look at it."""
    made = {info.name: Kube(info) for info in clusters}
    yield made
    for kube in made.values():
        kube.http.close()


@pytest.fixture(scope="session")
def kubeconfigs(clusters: list[ClusterInfo]) -> dict[str, str]:
    """Cluster name to kubeconfig."""
    return {info.name: info.kubeconfig.read_text() for info in clusters}


@pytest.fixture
def new_shop(system: System) -> Callable[[], Shop]:
    """Makes projects with names of their own."""

    def make() -> Shop:
        name = f"t{uuid.uuid4().hex[:8]}"
        return Shop(system.client, name, f"ns-{name}")

    return make


@pytest.fixture
def shop(new_shop: Callable[[], Shop], kubeconfigs: dict[str, str]) -> Iterator[Shop]:
    """A project with a cloud over both clusters. What a test leaves on them is terminated in passing:
    the next test has names of its own and need not wait."""
    made = new_shop()
    made.cloud(kubeconfigs)
    yield made
    answer = made.client.get(f"{made.url}/explain")
    if answer.is_success and answer.json()["progress"] not in (None, "Created", "Terminated"):
        made.client.post(f"{made.url}/terminate")


@pytest.fixture
def own_system(
    tmp_path_factory: pytest.TempPathFactory, tools: Tools
) -> Iterator[tuple[System, Callable[[], None]]]:
    """A system with a Temporal server of its own, and a way to kill that server and start it again."""
    folder = tmp_path_factory.mktemp("crash")
    (port,) = processes.free_ports(1)

    def start_server() -> None:
        server.append(
            processes.start(
                temporal.command(folder / "temporal.db", port=port, ui_port=None),
                log=folder / "temporal.out",
            )
        )
        assert processes.until(lambda: processes.listens(port), seconds=30)

    def crash_server() -> None:
        server[-1].kill()
        server[-1].wait()
        start_server()

    server: list[subprocess.Popen[bytes]] = []
    start_server()
    made = System(folder, f"127.0.0.1:{port}", tools["helm"])
    made.start()
    yield made, crash_server
    made.stop()
    processes.stop(server[-1])
