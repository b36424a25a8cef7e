"""An app starts only after those it depends on, on real clusters and through any crash."""

import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

from emco.sandbox import processes
from emco.sandbox.clusters import ClusterInfo
from tests.e2e.proxy import Proxy
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment

BOTH = ["c1", "c2"]
DELAY = 15
"""Seconds: long enough for a worker to start again in the middle of it, however busy the machine is."""


def slow(name: str, seconds: int = 2) -> bytes:
    """A chart whose pods take their time."""
    ready = {"sandbox.emco.io/ready-after": f"{seconds}s"}
    return chart(name, deployment(name, annotations=ready))


def depend(shop: Shop, app: str, needs: str, status: str = "Ready", **spec: Any) -> str:
    """`app` waits for `needs`; returns the dependency's URL."""
    url = f"{shop.app_url}/apps/{app}/dependency"
    shop.post(url, f"on-{needs}", {"app": needs, "opStatus": status, **spec})
    return f"{url}/on-{needs}"


def phases(shop: Shop) -> dict[str, str]:
    """`app c1` to its phase."""
    return {f"{u['app']} {u['cluster'][-2:]}": u["phase"] for u in shop.explain()["units"]}


def unit(shop: Shop, app: str, cluster: str = "c1") -> dict[str, Any]:
    found: dict[str, Any] = next(
        (u for u in shop.explain()["units"] if (u["app"], u["cluster"][-2:]) == (app, cluster)), {}
    )
    return found


def until_delay(shop: Shop) -> None:
    """Wait until the cart's delay runs."""
    shop.until(lambda: bool(unit(shop, "cart").get("until")))


def has(kube: Kube, shop: Shop, name: str) -> bool:
    return bool(kube.get(f"/api/v1/namespaces/{shop.namespace}/configmaps/{name}"))


def describe_pair(shop: Shop, wait: int = 0, status: str = "Ready", **spec: Any) -> str:
    """redis, which is slow, and the cart that waits for it, on both clusters."""
    apps = {"redis": slow("redis"), "cart": chart("cart", config_map("cart"))}
    shop.describe(apps, {"redis": BOTH, "cart": BOTH})
    url = depend(shop, "cart", "redis", status, wait=wait, **spec)
    shop.verb("approve")
    return url


def test_it_waits_says_for_what_counts_down_and_starts(shop: Shop, kubes: dict[str, Kube]) -> None:
    describe_pair(shop, wait=2)
    shop.verb("instantiate")
    shop.until(lambda: phases(shop).get("cart c1") == "Waiting")
    told = unit(shop, "cart")
    assert told["message"] == "waits for redis Ready"
    assert any("redis is not Ready on" in line for line in told["waitingFor"])
    assert not has(kubes["c1"], shop, "cart")
    until_delay(shop)
    assert unit(shop, "cart")["waitingFor"] == ["redis Ready + 2 s"]
    drawn = shop.client.get(f"{shop.url}/dependency-graph", params={"format": "text"}).text
    assert "cart  ◷" in drawn
    assert "└─ redis (Ready + 2 s) ✓  ●" in drawn
    assert shop.settle() == "Instantiated"
    assert unit(shop, "cart")["waitingFor"] == []
    ready, began = (datetime.fromisoformat(unit(shop, a)["since"]) for a in ("redis", "cart"))
    assert (began - ready).total_seconds() >= 2


def test_a_dependency_on_a_cluster_that_is_down_is_waited_for_and_named(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: dict[str, Kube]
) -> None:
    shop = new_shop()
    with Proxy(clusters[1].server) as proxy:
        through = clusters[1].kubeconfig.read_text().replace(clusters[1].server, proxy.url)
        shop.cloud({"c1": clusters[0].kubeconfig.read_text(), "c2": through})
        describe_pair(shop, status="Deployed")
        proxy.cut()
        shop.verb("instantiate")
        shop.until(lambda: phases(shop).get("redis c1") == "Ready")
        shop.until(lambda: phases(shop).get("redis c2") == "Retrying")
        shop.until(lambda: phases(shop).get("cart c1") == "Waiting")
        (line,) = unit(shop, "cart")["waitingFor"]
        assert line.startswith(f"redis is not Deployed on {shop.name}+c2 (Retrying)")
        assert "does not answer" in line
        time.sleep(1)
        assert not has(kubes["c1"], shop, "cart"), "one of the two copies is not there yet"
        proxy.mend()
        assert shop.settle() == "Instantiated"
    assert has(kubes["c1"], shop, "cart")


def test_a_worker_that_is_killed_in_mid_delay_changes_nothing_about_the_delay(
    own_system: tuple[System, Callable[[], None]],
    kubeconfigs: dict[str, str],
    kubes: dict[str, Kube],
) -> None:
    system, _ = own_system
    shop = Shop(system.client, "delay", "ns-delay")
    shop.cloud(kubeconfigs)
    describe_pair(shop, wait=DELAY)
    shop.verb("instantiate")
    until_delay(shop)
    due = datetime.fromisoformat(unit(shop, "cart")["until"]).timestamp()
    system.kill("worker")
    system.start("worker")
    assert time.time() < due, "the worker was away in the middle of the delay only"
    assert not has(kubes["c1"], shop, "cart")
    assert processes.until(lambda: has(kubes["c1"], shop, "cart"), seconds=30, pause=0.05)
    late = time.time() - due  # with what a busy machine takes to apply it
    assert 0 <= late <= 3
    ready = max(datetime.fromisoformat(unit(shop, "redis", c)["since"]).timestamp() for c in BOTH)
    assert abs(due - ready - DELAY) <= 1
    assert shop.settle() == "Instantiated"
    assert shop.terminate() == "Terminated"


def test_kill_9_of_everything_while_gates_are_shut_changes_nothing(
    own_system: tuple[System, Callable[[], None]],
    kubeconfigs: dict[str, str],
    kubes: dict[str, Kube],
) -> None:
    system, crash_temporal = own_system
    shop = Shop(system.client, "gates", "ns-gates")
    shop.cloud(kubeconfigs)
    chain = ["a", "b", "c", "d"]
    shop.describe({name: slow(name) for name in chain}, dict.fromkeys(chain, BOTH))
    for needed, app in pairwise(chain):
        depend(shop, app, needed, wait=1)
    shop.verb("approve")
    shop.verb("instantiate")
    for passed in ("a", "b"):
        shop.until(lambda passed=passed: phases(shop).get(f"{passed} c1") == "Applied")  # type: ignore[misc]
        system.kill("worker")
        system.kill("api")
        crash_temporal()
        system.start("api", "worker")
        assert phases(shop)["d c1"] == "Waiting"
    assert shop.settle() == "Instantiated"
    for cluster in BOTH:
        since = [datetime.fromisoformat(unit(shop, name, cluster)["since"]) for name in chain]
        assert since == sorted(since)
    shop.verb("terminate")
    shop.until(lambda: "d c1" not in phases(shop))
    system.kill("worker")
    crash_temporal()
    system.start("worker")
    assert shop.settle() == "Terminated"
    for kube in kubes.values():
        assert kube.get("/api/v1/namespaces/ns-gates") is None


def test_what_is_written_while_it_waits_counts_at_once(shop: Shop) -> None:
    url = describe_pair(shop, wait=3600)
    shop.verb("instantiate")
    until_delay(shop)
    body = {"metadata": {"name": "on-redis"}, "spec": {"app": "redis", "opStatus": "Ready"}}
    assert shop.client.put(url, json=body).is_success
    assert shop.settle() == "Instantiated"


def test_a_timeout_fails_the_app_and_names_what_is_late(shop: Shop) -> None:
    apps = {"redis": slow("redis", 3600), "cart": chart("cart", config_map("cart"))}
    shop.describe(apps, {"redis": ["c2"], "cart": ["c1"]})
    depend(shop, "cart", "redis", timeout=1)
    shop.verb("approve")
    assert shop.instantiate() == "InstantiateFailed"
    assert f"gave up after 1 s, redis is not Ready on {shop.name}+c2" in shop.explain()["message"]
    assert unit(shop, "cart")["phase"] == "Failed"


def test_readiness_has_to_last_where_that_is_asked_for(shop: Shop) -> None:
    describe_pair(shop, stableFor=2)
    assert shop.instantiate() == "Instantiated"
    ready, began = (datetime.fromisoformat(unit(shop, a)["since"]) for a in ("redis", "cart"))
    assert (began - ready).total_seconds() >= 2


def test_an_app_goes_when_those_that_need_it_are_gone_everywhere(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    describe_pair(shop)
    assert shop.instantiate() == "Instantiated"
    at = f"/api/v1/namespaces/{shop.namespace}/configmaps/cart"
    held = {"metadata": {"finalizers": ["test.emco.io/held"]}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert kubes["c2"].http.patch(at, json=held, headers=merge).is_success
    shop.verb("terminate")
    shop.until(lambda: "cart c1" not in phases(shop))
    shop.until(lambda: phases(shop).get("redis c1") == "Waiting")
    assert unit(shop, "redis")["waitingFor"] == [f"cart is still on {shop.name}+c2 (Removing)"]
    for cluster in BOTH:
        assert kubes[cluster].names("deployments", shop.namespace, "apis/apps/v1") == ["redis"]
    freed = {"metadata": {"finalizers": None}}
    assert kubes["c2"].http.patch(at, json=freed, headers=merge).is_success
    assert shop.settle() == "Terminated"
