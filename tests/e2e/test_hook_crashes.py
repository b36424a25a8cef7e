"""A hook runs once, whatever is killed and whenever; what nobody can know is asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emco.sandbox import processes
from tests.e2e.recorder import Recorder
from tests.e2e.system import Kube, Shop, System, chart, config_map
from tests.e2e.test_hooks import annotated, job

CALLS = 20
"""At least as many as a hook makes of its cluster."""


def counting(name: str) -> bytes:
    """A chart whose hook vanishes from the cluster as soon as it has finished."""
    hook = annotated(job("count", ttlSecondsAfterFinished=0), "pre-install,pre-upgrade")
    return chart("web", config_map("a", v=name), hook)


@pytest.mark.timeout(300)
def test_kill_9_after_every_call_of_a_cluster_never_runs_a_hook_twice(
    own_system: tuple[System, Callable[[], None]],
    kubeconfigs: dict[str, str],
    kubes: dict[str, Kube],
    tmp_path: Path,
) -> None:
    """The n-th deployment is halted after its hook's n-th call of the cluster; then all is killed."""
    system, crash_temporal = own_system
    processes.stop(system.processes["worker"])
    system.faults = tmp_path
    system.start("worker")
    shops = [Shop(system.client, f"hook{n}", f"ns-hook{n}") for n in range(1, CALLS + 1)]
    for shop in shops:
        shop.cloud({"c1": kubeconfigs["c1"]})
        shop.deployment({"web": counting("1")}, {"web": ["c1"]})
    at = {shop.name: number for number, shop in enumerate(shops, 1)}
    (tmp_path / "arm").write_text(json.dumps({"within": "hooks.run", "at": at}))
    with Recorder(kubes["c1"], "ns-hook") as recorder:
        for shop in shops:
            shop.verb("instantiate")
        for shop in shops:
            there = tmp_path / f"halted-{shop.name}"
            shop.until(lambda s=shop, t=there: t.exists() or _is_over(s))  # type: ignore[misc]
        halted = [path.read_text() for path in tmp_path.glob("halted-*")]
        system.kill("worker")
        crash_temporal()
        (tmp_path / "arm").unlink()
        system.start("worker")
        for shop in shops:
            assert shop.settle() == "Instantiated", shop.explain()
    assert any(call.startswith("PATCH") and call.endswith("/jobs/count") for call in halted), halted
    assert len(halted) < CALLS, "some hooks must have been through before they made so many calls"
    made = recorder.events.count("created Job count")
    assert made == len(shops), recorder.events
    for shop in shops:
        shop.verb("terminate")


def _is_over(shop: Shop) -> bool:
    return shop.get("operations")[0]["ended"] is not None


def test_a_hook_that_vanished_unseen_is_asked_about_and_goes_on_as_answered(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    slow = annotated(job("slow", seconds=60), "pre-install")
    shop.deployment({"web": chart("web", config_map("a"), slow)}, {"web": ["c1", "c2"]})
    shop.verb("instantiate")
    path = f"/apis/batch/v1/namespaces/{shop.namespace}/jobs/slow"
    for kube in kubes.values():
        shop.until(lambda k=kube: _state(shop, k) == "Running")  # type: ignore[misc]
        kube.patch(path, {"metadata": {"finalizers": []}})
        kube.http.delete(path)
    shop.until(lambda: all(h["state"] == "Lost" for h in shop.explain()["hooks"]))
    shop.settle()
    asked = [hook for hook in shop.explain()["hooks"] if hook["question"]]
    assert "emco answer" in str(shop.explain()["units"])
    spec = {"hook": asked[0]["id"], "answer": "done"}
    for hook in asked:
        spec = {"hook": hook["id"], "answer": "done"}
        assert shop.client.post(f"{shop.url}/answer", json={"spec": spec}).is_success
    assert shop.client.post(f"{shop.url}/answer", json={"spec": spec}).status_code == 409
    shop.verb("resume")
    assert shop.settle() == "Instantiated"
    assert {hook["attempt"] for hook in shop.explain()["hooks"]} == {1}


def _state(shop: Shop, kube: Kube) -> str:
    hooks = shop.explain()["hooks"]
    found = [h["state"] for h in hooks if h["cluster"].endswith(kube.info.name)]
    return found[0] if found else ""
