"""How soon a listener has what changed, with many listeners, idle and under load; and what an event costs.

    python bench/notify.py --listeners 100

A change is a unit's row as a watch writes it, from a process of its own, for apps on four clusters. Each listener is
a webhook that wants one app; every event is wanted by exactly one of them, and one more listener wants everything, in
batches. The delay is from the event's time to the request's arrival, on the same clock.

- idle   one change a second
- load   `--rate` changes a second, each of which makes two events
- log    how fast the log alone takes events, in transactions of twenty changes

The last line printed is one JSON object. `--write` puts the table into bench/RESULTS.md.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.instantiate import Meter
from emco.domain.kinds.delivery import Deployment
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.sandbox import processes, temporal, toolchain
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.e2e.system import Shop, System, chart, config_map
from tests.receivers import Receiver, Request, serving

ROOT = Path(__file__).resolve().parents[1]
CLUSTERS = [f"edge+c{n}" for n in range(4)]
SECRET = "whsec_" + "a2V5" * 8
IDLE_CHANGES, LOAD_SECONDS, LOG_EVENTS, LOG_BATCH = 30, 20, 20_000, 20


class Flapping:
    """Apps on clusters that become ready and stop being so, in turn."""

    def __init__(self, store: Store, deployment: Address, apps: list[str]) -> None:
        self._store, self._deployment = store, deployment
        self._units = [(app, cluster) for app in apps for cluster in CLUSTERS]
        self._next = 0

    def change(self, count: int = 1) -> None:
        """The next ones, in one transaction; each is two events of the object and its unit."""
        rows = []
        for _ in range(count):
            app, cluster = self._units[self._next % len(self._units)]
            is_ready = self._next // len(self._units) % 2 == 0
            rows.append((self._deployment, _row(app, cluster, is_ready)))
            self._next += 1
        self._store.put_units(rows)


def _row(app: str, cluster: str, is_ready: bool) -> UnitRow:
    one = ObjectStatus(
        key=ObjectKey(api_version="apps/v1", kind="Deployment", namespace="ns", name=app),
        deployed=Deployed.APPLIED,
        ready=Ready.READY if is_ready else Ready.NOT_READY,
        observed={"status": {"readyReplicas": int(is_ready)}},
    )
    now = datetime.now(UTC)
    phase = Phase.APPLIED  # of which only the object and the unit's readiness are news
    return UnitRow(app=app, cluster=cluster, phase=phase, since=now, objects=(one,))


class Arrivals:
    """Delays of all events that came, by phase of the benchmark."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._lock = threading.Lock()

    def answer(self, number: int, request: Request) -> tuple[int, dict[str, str]]:
        now = datetime.now(UTC)
        late = [(now - datetime.fromisoformat(e["time"])).total_seconds() for e in request.events]
        with self._lock:
            self.delays += late
        return 204, {}

    def take(self) -> list[float]:
        """What came since the last call."""
        with self._lock:
            taken, self.delays = self.delays, []
        return taken


@contextmanager
def system(folder: Path, tools: toolchain.Tools) -> Iterator[tuple[System, int]]:
    """The whole system, and the process of its Temporal server."""
    (port,) = processes.free_ports(1)
    command = temporal.command(folder / "temporal.db", port=port, ui_port=None)
    server = processes.start(command, log=folder / "temporal.log")
    made = System(folder, f"127.0.0.1:{port}", tools["helm"])
    try:
        processes.until(lambda: processes.listens(port), seconds=30)
        made.start()
        yield made, server.pid
    finally:
        made.stop()
        processes.stop(server)


def subscribe(shop: Shop, receiver: Receiver, apps: list[str]) -> None:
    """A listener for each app, and one for everything."""
    shop.post("/projects", shop.name)
    shop.post(f"/projects/{shop.name}/logical-clouds", "cloud", {"level": "0"})
    shop.describe({"web": chart("web", config_map("cm"))}, {})
    sink = {"type": "webhook", "url": receiver.url, "signingSecrets": [SECRET]}
    url = f"/projects/{shop.name}/status-subscriptions"
    for app in apps:
        shop.post(url, app, {"sink": sink, "criteria": {"apps": [app]}})
    shop.post(url, "everything", {"sink": {**sink, "batch": 100}})


def settled(store: Store, listeners: int) -> bool:
    """Every listener has begun."""
    found = [store.subscription(at) for at in store.subscriptions()]
    begun = sum(one is not None and one[1].cursor is not None for one in found)
    return begun == listeners


def quantiles(delays: list[float]) -> tuple[float, float]:
    """P50 and P99 in seconds."""
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return cuts[49], cuts[98]


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All three phases."""
    apps = [f"app-{n:03d}" for n in range(options.listeners)]
    arrivals, found = Arrivals(), dict[str, Any]()
    with ExitStack() as stack:
        made, server = stack.enter_context(system(folder, toolchain.find(Settings(), print)))
        receiver = stack.enter_context(serving(Receiver(answer=arrivals.answer)))
        shop = Shop(made.client, "bench", "ns")
        subscribe(shop, receiver, apps)
        keys = Keyring.from_settings(Settings(data=folder))
        store = Store.open(f"sqlite:///{folder / 'emco.db'}", keys=keys, migrate_first=False)
        stack.callback(store.close)
        assert processes.until(lambda: settled(store, len(apps) + 1), seconds=60), made.logs()
        flapping = Flapping(store, Address.of(Deployment, shop.short.split("/")), apps)
        flapping.change(len(apps) * len(CLUSTERS))
        time.sleep(10)
        arrivals.take()
        meter = Meter({"worker": [made.processes["worker"].pid], "temporal": [server]})

        for _ in range(IDLE_CHANGES):
            flapping.change()
            time.sleep(1)
        found["idle"] = quantiles(arrivals.take())
        found["idle_cpu"] = {k: u.cpu / IDLE_CHANGES for k, u in meter.read().items()}

        meter = Meter({"worker": [made.processes["worker"].pid], "temporal": [server]})
        began, first = time.monotonic(), store.extent().last
        while (passed := time.monotonic() - began) < LOAD_SECONDS:
            flapping.change(5)
            time.sleep(max(0.0, 5 / options.rate - (time.monotonic() - began - passed)))
        events = store.extent().last - first
        processes.until(lambda: len(arrivals.delays) >= 2 * events, seconds=60)
        delays = arrivals.take()
        found["load"], found["delivered"], found["events"] = quantiles(delays), len(delays), events
        found["cpu"] = {k: 1000 * u.cpu / events for k, u in meter.read().items()}
    return found


def log_rate(folder: Path) -> float:
    """Events a second into the log, on a database of its own with nobody listening."""
    store = Store.open(f"sqlite:///{folder / 'log.db'}", keys=Keyring([bytes(32)]))
    try:
        from tests.contract.conftest import DEPLOYMENT, shop

        shop.__wrapped__(store)  # type: ignore[attr-defined]
        flapping = Flapping(store, DEPLOYMENT, [f"a{n}" for n in range(100)])
        began = time.monotonic()
        while store.extent().last < LOG_EVENTS:
            flapping.change(LOG_BATCH)
        return LOG_EVENTS / (time.monotonic() - began)
    finally:
        store.close()


def main() -> None:
    """Measure, print, and maybe keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=100)
    parser.add_argument("--rate", type=float, default=25, help="changes a second under load")
    parser.add_argument("--write", action="store_true", help="add the table to bench/RESULTS.md")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="emco-bench-"))
    try:
        found = run(options, folder)
        found["log"] = log_rate(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = _table(options, found)
    print(table)
    if options.write:
        with (ROOT / "bench" / "RESULTS.md").open("a") as file:
            file.write(f"\n{table}\n")
    print(json.dumps(found))


def _table(options: argparse.Namespace, found: dict[str, Any]) -> str:
    rate = found["events"] / LOAD_SECONDS
    return "\n".join(
        [
            f"## Notification: {options.listeners} listeners and one for everything, 4 clusters, "
            f"{time.strftime('%Y-%m-%d')}",
            "",
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
            f"{platform.python_version()}; Temporal, worker, API, writer and receiver share them.",
            "",
            "| from the row that a watch writes to the listener | P50 s | P99 s |",
            "|---|--:|--:|",
            f"| idle | {found['idle'][0]:.3f} | {found['idle'][1]:.3f} |",
            f"| {rate:.0f} events/s, each told twice | {found['load'][0]:.3f} | {found['load'][1]:.3f} |",
            "",
            "| CPU-ms per event under load | |",
            "|---|--:|",
            *(f"| {name} | {cpu:.1f} |" for name, cpu in found["cpu"].items()),
            "",
            f"The log alone takes {found['log']:.0f} events/s.",
        ]
    )


if __name__ == "__main__":
    main()
