"""Ten thousand events, three listeners that behave badly, and processes that are killed all the time."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from emco.domain.events import EventType, Note, Severity
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address
from emco.sandbox import processes, temporal
from emco.sandbox.toolchain import Tools
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.e2e.system import Shop, System, chart, config_map
from tests.receivers import Receiver, Request, absent, serving

EVENTS, AT_ONCE, WRITE_SECONDS = 10_000, 25, 30
KILLS = ("worker", "temporal", "api", "worker", "temporal", "worker", "api")
SECRET = "whsec_" + "a2V5" * 8
SEVERITIES = tuple(Severity)
MOST_HISTORY = 500
"""Ten thousand events are told, and a twentieth of that is Temporal's business, crashes included."""


class Fragile(System):
    """With a Temporal server of its own, which dies like everything else."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        (self.temporal_port,) = processes.free_ports(1)
        super().__init__(
            folder,
            f"127.0.0.1:{self.temporal_port}",
            tools["helm"],
            # Receivers are away for seconds here, not for hours.
            settings={"EMCO_NOTICES_RETRY": f"[{', '.join(['0.02', '0.2', '1', *['2'] * 60])}]"},
        )

    def start(self, *names: str) -> None:
        """Temporal first."""
        if not names or "temporal" in names:
            command = temporal.command(
                self.data / "temporal.db", port=self.temporal_port, ui_port=None
            )
            self.processes["temporal"] = processes.start(command, log=self.data / "temporal.log")
            assert processes.until(lambda: processes.listens(self.temporal_port), seconds=30)
        if rest := [name for name in names or ("api", "worker") if name != "temporal"]:
            super().start(*rest)


@pytest.fixture
def fragile(tmp_path: Path, tools: Tools) -> Iterator[Fragile]:
    made = Fragile(tmp_path, tools)
    made.start()
    yield made
    made.stop()


def note(number: int) -> Note:
    """Every app, severity and type turns up with every other."""
    return Note(
        type=EventType.HEALTH if number % 7 == 0 else EventType.HOOK,
        app=f"app-{number % 10}",
        cluster=f"edge+c{number % 4}",
        target=str(number),
        severity=SEVERITIES[number % 3],
    )


def write(store: Store, deployment: Address, seconds: float) -> None:
    """All events, in about so many seconds."""
    for first in range(0, EVENTS, AT_ONCE):
        store.note(deployment, *(note(n) for n in range(first, first + AT_ONCE)))
        time.sleep(seconds * AT_ONCE / EVENTS)


def every_third_fails(number: int, request: Request) -> tuple[int, dict[str, str]]:
    return (500 if number % 3 == 2 else 204), {}


@dataclass
class Wanted:
    """A listener: what it asks for, and the same said in Python."""

    receiver: Receiver
    batch: int
    criteria: dict[str, Any]
    selects: Callable[[int], bool]

    def spec(self) -> dict[str, Any]:
        sink = {
            "type": "webhook",
            "url": self.receiver.url,
            "signingSecrets": [SECRET],
            "batch": self.batch,
        }
        return {"sink": sink, "criteria": self.criteria}

    def expected(self, first: int) -> list[str]:
        """The ids of its events, in order; the first event of all has the number `first`."""
        return [str(first + number) for number in range(EVENTS) if self.selects(number)]


LISTENERS = {
    "everything": Wanted(Receiver(), 50, {}, lambda n: True),
    "picky": Wanted(
        Receiver(answer=every_third_fails),
        5,
        {"apps": ["app-1", "app-2"], "minimumSeverity": "warning"},
        lambda n: n % 10 in (1, 2) and n % 3 > 0,
    ),
    "pairs": Wanted(
        Receiver(),
        1,
        {"pairs": True, "clusters": [{"cluster": "c1"}, {"cluster": "c3"}]},
        lambda n: n % 7 == 0 and n % 4 in (1, 3),
    ),
}


@pytest.mark.timeout(420)
def test_each_listener_hears_exactly_what_it_asked_for(fragile: Fragile) -> None:
    """The set difference is empty, the order is kept, and what comes again has the same id."""
    shop = Shop(fragile.client, "shop", "ns")
    shop.post("/projects", "shop")
    shop.post("/projects/shop/logical-clouds", "cloud", {"level": "0"})
    shop.describe({"web": chart("web", config_map("cm"))}, {})
    store = Store.open(
        f"sqlite:///{fragile.data / 'emco.db'}",
        keys=Keyring.from_settings(Settings(data=fragile.data)),
        migrate_first=False,
    )
    with ExitStack() as stack:
        for name, one in LISTENERS.items():
            stack.enter_context(serving(one.receiver))
            shop.post("/projects/shop/status-subscriptions", name, one.spec())
        assert processes.until(lambda: all_began(store), seconds=30), fragile.logs()
        first = store.extent().last + 1
        deployment = Address.of(Deployment, shop.short.split("/"))
        writer = threading.Thread(target=write, args=(store, deployment, WRITE_SECONDS))
        writer.start()
        chaos(fragile, LISTENERS["everything"].receiver)
        writer.join()
        for name, one in LISTENERS.items():
            expected = one.expected(first)
            assert processes.until(
                lambda: len(one.receiver.ids) >= len(expected),  # noqa: B023
                seconds=120,
                pause=0.5,
            ), (name, len(one.receiver.ids), len(expected), fragile.logs()[-3000:])
        time.sleep(2)
    for name, one in LISTENERS.items():
        assert one.receiver.ids == one.expected(first), name
        assert store.dead_letters(Address.of(StatusSubscription, ["shop", name])) == []
    store.close()
    lengths = asyncio.run(history_lengths(fragile.temporal))
    assert max(lengths) < MOST_HISTORY, lengths


async def history_lengths(address: str) -> list[int]:
    """Events in Temporal's histories of the listeners' workflows."""
    client = await Client.connect(address)
    handles = [client.get_workflow_handle(f"subscription/shop/{name}") for name in LISTENERS]
    return [(await handle.describe()).history_length for handle in handles]


def all_began(store: Store) -> bool:
    found = [store.subscription(at) for at in store.subscriptions()]
    return all(one is not None and one[1].cursor is not None for one in found)


def chaos(fragile: Fragile, receiver: Receiver) -> None:
    """Kill one process after the other, and take a receiver away in the middle of it."""
    rng = random.Random(7)
    with ExitStack() as away:
        for number, victim in enumerate(KILLS):
            if number == 1:
                away.enter_context(absent(receiver))
            if number == 4:
                away.close()
            time.sleep(rng.uniform(0.5, 4))
            fragile.kill(victim)
            time.sleep(rng.uniform(0, 1))
            fragile.start(victim)
