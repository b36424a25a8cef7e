"""SIGKILL is a test case: whatever dies, and whenever, the deployment ends as if nothing had."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emco.sandbox import processes
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.sandbox.toolchain import Tools
from tests.e2e.proxy import Proxy
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment


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


# -- at every step of update and rollback ---------------------------------------------------------

STEPS = 24
"""At least as many as the operations of the test have."""
ROUNDS = (("update", "after"), ("rollback", "before"))
NOISE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "namespace")
OWN = ("emco.io/deployment", "emco.io/path", "deployment.kubernetes.io/revision")


def objects(kubes: dict[str, Kube], namespace: str) -> dict[str, Any]:
    """Every object in a namespace, without what is counted by the server or named after a project."""
    found = {}
    for name, kube in kubes.items():
        for api, plural in (("api/v1", "configmaps"), ("apis/apps/v1", "deployments")):
            listing = kube.get(f"/{api}/namespaces/{namespace}/{plural}")
            for item in (listing or {"items": []})["items"]:
                if item["metadata"]["name"] != "kube-root-ca.crt":
                    bare = {k: v for k, v in item.items() if k != "status"}
                    found[f"{name} {plural} {item['metadata']['name']}"] = _without_own(bare)
    return found


def _without_own(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in (*NOISE, *OWN)}
        return {k: _without_own(v) for k, v in kept.items()}
    return [_without_own(v) for v in value] if isinstance(value, list) else value


def versions() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two descriptions of a deployment: things change, come, go and stay."""
    first = {
        "web": chart("web", config_map("a", v="1"), config_map("old"), deployment("w")),
        "db": chart("db", config_map("d", v="1")),
        "same": chart("same", config_map("s")),
    }
    second = {
        "web": chart("web", config_map("a", v="2"), config_map("new"), deployment("w")),
        "db": chart("db", config_map("d", v="2"), deployment("x")),
        "same": first["same"],
    }
    return first, second


@pytest.mark.timeout(400)
def test_kill_9_at_every_step_ends_as_if_nothing_had_happened(
    own_system: tuple[System, Callable[[], None]],
    kubeconfigs: dict[str, str],
    kubes: dict[str, Kube],
    tmp_path: Path,
) -> None:
    """The n-th deployment is halted at the n-th step of its operation; then everything is killed."""
    system, crash_temporal = own_system
    processes.stop(system.processes["worker"])
    system.faults = tmp_path
    system.start("worker")
    shops = [Shop(system.client, f"step{n}", f"ns-step{n}") for n in range(STEPS)]
    first, second = versions()
    for shop in shops:
        shop.cloud(kubeconfigs)
        shop.deployment(first, {"web": ["c1", "c2"], "db": ["c1"], "same": ["c2"]})
        shop.verb("instantiate")
    for shop in shops:
        assert shop.settle() == "Instantiated"
        for app, archive in second.items():
            shop.change(app, archive)
        shop.place("db", ["c2"])

    undisturbed, *disturbed = shops
    seen: dict[str, set[str]] = {}
    for operation, moment in ROUNDS:
        body = {"spec": {"revision": "1"}} if operation == "rollback" else None
        undisturbed.verb(operation, body)
        assert undisturbed.settle() == "Instantiated"
        expected = objects(kubes, undisturbed.namespace)
        last = {shop.name: shop.get("operations")[0]["id"] for shop in disturbed}
        arm = {shop.name: number for number, shop in enumerate(disturbed, 1)}
        (tmp_path / "arm").write_text(json.dumps({"moment": moment, "at": arm}))
        asking = [shop.begin(operation, body) for shop in disturbed]
        for shop in disturbed:
            there = tmp_path / f"halted-{shop.name}"
            shop.until(lambda s=shop, t=there, o=last: t.exists() or _is_over(s, o[s.name]))  # type: ignore[misc]
        halted = {p.name: p.read_text() for p in tmp_path.glob("halted-*")}
        seen.setdefault(f"{operation} {moment}", set()).update(halted.values())
        for victim in ("worker", "api"):
            system.kill(victim)
        crash_temporal()
        for path in tmp_path.iterdir():
            if path.name == "arm" or path.name.startswith("halted-"):
                path.unlink()
        system.start()
        for thread in asking:
            thread.join(timeout=60)
            assert not thread.is_alive()
        for shop in disturbed:
            where = (operation, moment, halted.get(f"halted-{shop.name}"))
            shop.until(lambda s=shop, o=last: _is_over(s, o[s.name]))  # type: ignore[misc]
            explained = shop.explain()
            assert (explained["progress"], explained["message"]) == ("Instantiated", ""), where
            assert objects(kubes, shop.namespace) == expected, where
    every = {"records.begin", "planning.plan", "units.preflight", "planning.claim"}
    every |= {"planning.outline", "units.apply", "units.ready", "units.prune", "units.remove"}
    every |= {"units.release", "records.end"}
    for name, steps in seen.items():
        assert every <= steps, (name, every - steps)
    for shop in shops:
        shop.verb("terminate")
    for shop in shops:
        assert shop.settle() == "Terminated"


def _is_over(shop: Shop, last: str) -> bool:
    """Another operation than the last one has ended, and nothing runs any more."""
    newest = shop.get("operations")[0]
    return newest["id"] != last and newest["ended"] is not None


# -- one of three clusters is cut --------------------------------------------------------------------


@pytest.fixture(scope="module")
def third(sandbox: Sandbox, tools: Tools) -> ClusterInfo:
    """One more cluster."""
    return sandbox.create(["c3"], tools)[0]


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_cut_cluster_delays_only_itself_in_every_operation(
    new_shop: Callable[[], Shop],
    clusters: list[ClusterInfo],
    third: ClusterInfo,
    kubes: dict[str, Kube],
    moment: str,
) -> None:
    shop = new_shop()
    everywhere = ["c1", "c2", "c3"]
    slow = {"sandbox.emco.io/ready-after": "1s"}
    with Proxy(third.server) as proxy:
        through = third.kubeconfig.read_text().replace(third.server, proxy.url)
        kubeconfigs = {c.name: c.kubeconfig.read_text() for c in clusters}
        shop.cloud({**kubeconfigs, "c3": through})
        shop.deployment(
            {"web": chart("web", config_map("a", v="0"), deployment("w", annotations=slow))},
            {"web": everywhere},
        )
        for verb in ("instantiate", "update", "rollback", "terminate"):
            if verb == "update":
                changed = deployment("w", annotations={**slow, "n": "x"})
                shop.change("web", chart("web", config_map("a", v="1"), changed))
            if moment == "before":
                proxy.cut()
            shop.verb(verb, {"spec": {"revision": "1"}} if verb == "rollback" else None)
            if moment == "during":
                shop.until(lambda: _away(shop, "c3") or bool(shop.explain()["units"]))
                proxy.cut()
            if moment != "after":
                _others_finish(shop, kubes, verb)
            else:
                shop.settle()
                proxy.cut()
            proxy.mend()
            if verb == "terminate":
                assert shop.settle() == "Terminated"
                shop.until(lambda: _is_gone(third, shop.namespace))
            else:
                assert shop.settle() == "Instantiated", shop.explain()
                assert {u["phase"] for u in shop.explain()["units"]} == {"Ready"}


def _is_gone(cluster: ClusterInfo, namespace: str) -> bool:
    with Kube(cluster).http as http:
        return http.get(f"/api/v1/namespaces/{namespace}").status_code == 404


def _away(shop: Shop, cluster: str) -> bool:
    return any(
        u["phase"] == "Retrying" for u in shop.explain()["units"] if u["cluster"].endswith(cluster)
    )


def _others_finish(shop: Shop, kubes: dict[str, Kube], verb: str) -> None:
    """While c3 is cut, c1 and c2 reach what the operation is to bring about."""
    for name in ("c1", "c2"):
        path = f"/api/v1/namespaces/{shop.namespace}"
        if verb == "terminate":
            shop.until(lambda path=path, name=name: kubes[name].get(path) is None)  # type: ignore[misc]
        else:
            wanted = {"v": "1" if verb == "update" else "0"}
            shop.until(
                lambda p=path, n=name, w=wanted: (  # type: ignore[misc]
                    (kubes[n].get(f"{p}/configmaps/a") or {}).get("data") == w
                    and _phase(shop, n) == "Ready"
                )
            )


def _phase(shop: Shop, cluster: str) -> str:
    units = shop.explain()["units"]
    return next((u["phase"] for u in units if u["cluster"].endswith(cluster)), "")
