"""Listeners of a real system: what changes on a cluster arrives, signed, in order, and exactly what was asked for."""

from collections.abc import Iterator

import pytest

from tests.e2e.system import Kube, Shop, chart, config_map, deployment
from tests.receivers import Receiver, serving

SECRET = "whsec_" + "a2V5" * 8


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as made:
        yield made


def subscribe(shop: Shop, name: str, url: str, **spec: object) -> None:
    """A webhook subscription of the shop's project."""
    sink = {"type": "webhook", "url": url, "signingSecrets": [SECRET]}
    shop.post(f"/projects/{shop.name}/status-subscriptions", name, {"sink": sink, **spec})


def test_a_listener_hears_of_a_deployment_from_before_it_exists(
    shop: Shop, receiver: Receiver
) -> None:
    subscribe(shop, "all", receiver.url)
    shop.deployment({"web": chart("web", deployment("web"), config_map("cm"))}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    shop.until(lambda: "Instantiated" in [e["data"].get("to") for e in receiver.taken])
    told = [
        (e["data"].get("view"), e["data"].get("from"), e["data"]["to"])
        for e in receiver.taken
        if e["data"].get("resource", {}).get("kind") == "Deployment"
    ]
    assert ("deployed", "Pending", "Applied") in told
    assert told[-1][0] == "ready"
    assert told[-1][2] == "Ready"
    numbers = [e["data"]["sequence"] for e in receiver.taken]
    assert numbers == sorted(set(numbers))


def set_readiness(kube: Kube, namespace: str, pod: str, *, is_ready: bool) -> None:
    """As its kubelet would say it; the cluster's controllers draw their conclusions."""
    said = {"type": "Ready", "status": str(is_ready), "reason": "Probed"}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/status"
    kube.patch(path, {"status": {"conditions": [said]}})


def test_a_flapping_app_is_told_as_pairs_and_as_nothing_else(
    shop: Shop, receiver: Receiver, kubes: dict[str, Kube]
) -> None:
    subscribe(shop, "pairs", receiver.url, criteria={"pairs": True})
    charts = {"web": chart("web", deployment("web")), "calm": chart("calm", deployment("calm"))}
    shop.deployment(charts, {"web": ["c1"], "calm": ["c1", "c2"]})
    assert shop.instantiate() == "Instantiated"
    pods = kubes["c1"].names("pods", shop.namespace)
    (pod,) = [name for name in pods if name.startswith("web-")]
    wanted = []
    for is_ready in (False, True) * 3:
        set_readiness(kubes["c1"], shop.namespace, pod, is_ready=is_ready)
        wanted.append(("web", f"{shop.name}+c1", "recovered" if is_ready else "failed"))
        shop.until(lambda: len(receiver.taken) >= len(wanted))
    logged = shop.get("events", limit="500")["events"]
    told = [(e["app"], e["cluster"], e["to"]) for e in (taken["data"] for taken in receiver.taken)]
    assert told == wanted
    assert len(logged) > 4 * len(wanted), "there was more to tell than the pairs"
    assert [e["data"]["sequence"] for e in receiver.taken] == [
        e["sequence"] for e in logged if e["type"] == "health"
    ]
