"""Listeners of a real system: what changes on a cluster arrives, signed, in order, and exactly what was asked for."""

from collections.abc import Iterator

import pytest

from tests.e2e.system import Shop, chart, config_map, deployment
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
