"""SIGKILL is a test case: whatever dies, and whenever, the deployment ends as if nothing had."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from emco.sandbox import processes, temporal
from emco.sandbox.clusters import ClusterInfo
from emco.sandbox.toolchain import Tools
from tests.e2e.proxy import Proxy
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment


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


def slow_apps(count: int) -> dict[str, bytes]:
    """Apps whose pods take two seconds to become ready, so that there is a middle to crash in."""
    return {
        f"a{n}": chart(
            f"a{n}",
            config_map(f"a{n}"),
            deployment(f"a{n}", annotations={"sandbox.emco.io/ready-after": "2s"}),
        )
        for n in range(count)
    }


def test_kill_9_of_worker_api_and_temporal_in_mid_operation_changes_nothing(
    own_system: tuple[System, Callable[[], None]],
    kubeconfigs: dict[str, str],
    kubes: dict[str, Kube],
) -> None:
    system, crash_temporal = own_system
    shop = Shop(system.client, "crash", "ns-crash")
    shop.cloud(kubeconfigs)
    apps = slow_apps(6)
    shop.deployment(apps, {app: ["c1", "c2"] for app in apps})

    shop.verb("instantiate")
    shop.until(lambda: any(u["phase"] == "Applied" for u in shop.explain()["units"]))
    system.kill("worker")
    crash_temporal()
    system.start("worker")
    system.kill("api")
    system.start("api")
    assert shop.settle() == "Instantiated"
    assert shop.status()["readyCounts"] == {"Ready": 24}
    for kube in kubes.values():
        assert kube.names("deployments", "ns-crash", "apis/apps/v1") == sorted(apps)

    shop.verb("terminate")
    shop.until(lambda: len(shop.explain()["units"]) < 12)
    system.kill("worker")
    crash_temporal()
    system.start("worker")
    assert shop.settle() == "Terminated"
    for kube in kubes.values():
        assert kube.get("/api/v1/namespaces/ns-crash") is None


def test_a_cluster_that_is_away_delays_only_itself_and_catches_up(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: dict[str, Kube]
) -> None:
    shop = new_shop()
    with Proxy(clusters[1].server) as proxy:
        through = clusters[1].kubeconfig.read_text().replace(clusters[1].server, proxy.url)
        shop.cloud({"c1": clusters[0].kubeconfig.read_text(), "c2": through})
        proxy.cut()
        shop.deployment({"web": chart("web", deployment("web"))}, {"web": ["c1", "c2"]})
        shop.verb("instantiate")
        shop.until(lambda: _phases(shop).get(f"{shop.name}+c1") == "Ready")
        shop.until(lambda: _phases(shop).get(f"{shop.name}+c2") == "Retrying")
        waiting = next(u for u in shop.explain()["units"] if u["cluster"].endswith("c2"))
        assert "does not answer" in waiting["message"]
        assert shop.status("status=deployed")["deployedStatus"] == "Instantiating"
        proxy.mend()
        assert shop.settle() == "Instantiated"
        assert kubes["c2"].names("deployments", shop.namespace, "apis/apps/v1") == ["web"]
        assert shop.terminate() == "Terminated"


def test_a_cluster_that_goes_away_while_waiting_for_ready_is_waited_for(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo]
) -> None:
    shop = new_shop()
    slow = deployment("web", annotations={"sandbox.emco.io/ready-after": "2s"})
    with Proxy(clusters[0].server) as proxy:
        shop.cloud(
            {"c1": clusters[0].kubeconfig.read_text().replace(clusters[0].server, proxy.url)}
        )
        shop.deployment({"web": chart("web", slow)}, {"web": ["c1"]})
        shop.verb("instantiate")
        shop.until(lambda: list(_phases(shop).values()) == ["Applied"])
        proxy.cut()
        shop.until(lambda: list(_phases(shop).values()) == ["Retrying"])
        proxy.mend()
        assert shop.settle() == "Instantiated"
        assert shop.terminate() == "Terminated"


def _phases(shop: Shop) -> dict[str, str]:
    return {unit["cluster"]: unit["phase"] for unit in shop.explain()["units"]}
