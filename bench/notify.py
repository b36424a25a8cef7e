"""How soon a listener has what changed on a cluster, idle and under load; and what an event costs.

    python bench/notify.py --listeners 100

A deployment runs on real sandbox clusters: an app for each listener, of one ConfigMap. A change is one of these deleted
past emco, or made again. The watch on its cluster sees it, the log tells it as three events (of the object, of its
unit, and of the unit's health), and a webhook that wants this app gets each of them. One more listener wants
everything, in batches, so that all is told twice. The delay is from just before the change is asked of the API server
to the arrival of the request, on the same clock.

- idle   a change a second
- load   changes at each `--rate` in turn, so that it shows where the machine is full
- log    how fast the log alone takes events, in transactions of twenty changes, with no cluster and no listener

The last line printed is one JSON object. `--write` adds the table to bench/RESULTS.md.
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.instantiate import Meter, children
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.sandbox import processes, temporal, toolchain
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.e2e.system import Kube, Shop, System, chart, config_map
from tests.receivers import Receiver, Request, serving

ROOT = Path(__file__).resolve().parents[1]
MAPS = "/api/v1/namespaces/bench/configmaps"
SECRET = "whsec_" + "a2V5" * 8
IDLE_SECONDS, LOAD_SECONDS, LOG_EVENTS, LOG_BATCH = 40, 20, 20_000, 20
LATEST_SECONDS = 60
TOLD = 3 * 2
"""Times that a change is told: three events, each to the listener of its app and to the one for everything."""

GOOD = frozenset({"Ready", "recovered"})
"""What events say of an object that is there; everything else says that it is not."""

Change = tuple[str, str, bool]
"""App, cluster, and whether its object is there now."""


class Changes:
    """Takes the object of each app away from each cluster, then makes all of them again, and so on."""

    def __init__(self, infos: Sequence[ClusterInfo], apps: Sequence[str]) -> None:
        self._kubes = {f"bench+{info.name}": Kube(info) for info in infos}
        self._units = [(app, cluster) for app in apps for cluster in self._kubes]
        self._documents = {unit: self._document(*unit) for unit in self._units}
        self._next = 0
        self.asked: dict[Change, datetime] = {}
        """When each was asked for last."""

    def during(self, seconds: float, rate: float) -> int:
        """So many a second, evenly; how many they were."""
        began, count = time.monotonic(), round(seconds * rate)
        with ThreadPoolExecutor(len(self._kubes)) as pool:
            running = []
            for number in range(count):
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
                running.append(pool.submit(self._make, self._take()))
            for change in running:
                change.result()
        return count

    def _take(self) -> Change:
        turn, place = divmod(self._next, len(self._units))
        self._next += 1
        return (*self._units[place], turn % 2 == 1)

    def _make(self, change: Change) -> None:
        app, cluster, is_there = change
        self.asked[change] = datetime.now(UTC)
        if is_there:
            self._kubes[cluster].post(MAPS, self._documents[app, cluster])
        else:
            self._kubes[cluster].http.delete(f"{MAPS}/{app}").raise_for_status()

    def _document(self, app: str, cluster: str) -> dict[str, Any]:
        live = self._kubes[cluster].get(f"{MAPS}/{app}")
        metadata = {field: live["metadata"][field] for field in ("name", "labels")}
        return {**live, "metadata": metadata}


class Arrivals:
    """How late the events were that came."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.asked: dict[Change, datetime] = {}
        self._lock = threading.Lock()

    def answer(self, number: int, request: Request) -> tuple[int, dict[str, str]]:
        now = datetime.now(UTC)
        told = [event["data"] for event in request.events]
        changes = [(e.get("app"), e.get("cluster"), e.get("to") in GOOD) for e in told]
        late = [(now - self.asked[c]).total_seconds() for c in changes if c in self.asked]
        with self._lock:
            self.delays += late
        return 204, {}

    def take(self, expected: int) -> list[float]:
        """What came since the last call, once that many are there or it has taken too long."""
        processes.until(lambda: len(self.delays) >= expected, seconds=LATEST_SECONDS)
        with self._lock:
            taken, self.delays = self.delays, []
        return taken


@contextmanager
def system(folder: Path, tools: toolchain.Tools) -> Iterator[tuple[System, int]]:
    """The whole system, and the process of its Temporal server."""
    (port,) = processes.free_ports(1)
    command = temporal.command(folder / "temporal.db", port=port, ui_port=None)
    server = processes.start(command, log=folder / "temporal.out")
    made = System(folder, f"127.0.0.1:{port}", tools["helm"])
    try:
        processes.until(lambda: processes.listens(port), seconds=30)
        made.start()
        yield made, server.pid
    finally:
        made.stop()
        processes.stop(server)


def deploy(shop: Shop, infos: Sequence[ClusterInfo], apps: Sequence[str]) -> None:
    """One ConfigMap for each app, everywhere."""
    shop.cloud({info.name: info.kubeconfig.read_text() for info in infos})
    charts = {app: chart(app, config_map(app)) for app in apps}
    everywhere = [info.name for info in infos]
    shop.deployment(charts, dict.fromkeys(apps, everywhere))
    shop.verb("instantiate")
    while (progress := shop.progress()) == "Instantiating":
        time.sleep(1)
    assert progress == "Instantiated", shop.explain()["message"]


def subscribe(shop: Shop, receiver: Receiver, apps: Sequence[str]) -> None:
    """A listener for each app, and one for everything, none of which is told what was before."""
    sink = {"type": "webhook", "url": receiver.url, "signingSecrets": [SECRET]}
    url = f"/projects/{shop.name}/status-subscriptions"
    for app in apps:
        shop.post(url, app, {"sink": sink, "criteria": {"apps": [app]}, "snapshot": False})
    shop.post(url, "everything", {"sink": {**sink, "batch": 100}, "snapshot": False})


def settled(store: Store, listeners: int) -> bool:
    """Every listener has begun."""
    found = [store.subscription(at) for at in store.subscriptions()]
    begun = sum(one is not None and one[1].cursor is not None for one in found)
    return begun == listeners


def measure(
    changes: Changes, arrivals: Arrivals, groups: dict[str, list[int]], seconds: float, rate: float
) -> dict[str, Any]:
    """Seconds until the listeners had it, how much of it came at all, and CPU-ms of each group per event."""
    meter = Meter(groups)
    count = changes.during(seconds, rate)
    delays = arrivals.take(count * TOLD)
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return {
        "rate": rate,
        "p50": cuts[49],
        "p99": cuts[98],
        "worst": max(delays),
        "told": len(delays) / (count * TOLD),
        "cpu": {name: 1000 * used.cpu / (3 * count) for name, used in meter.read().items()},
    }


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Idle, and then every rate."""
    apps = [f"app-{n:03d}" for n in range(options.listeners)]
    tools = toolchain.find(Settings(), print)
    sandbox = Sandbox(folder / "sandbox", owner=os.getpid())
    arrivals = Arrivals()
    with ExitStack() as stack:
        stack.callback(lambda: sandbox.delete([info.name for info in sandbox.all()]))
        infos = sandbox.create([f"n{n}" for n in range(options.clusters)], tools)
        made, server = stack.enter_context(system(folder, tools))
        receiver = stack.enter_context(serving(Receiver(answer=arrivals.answer)))
        shop = Shop(made.client, "bench", "bench")
        deploy(shop, infos, apps)
        subscribe(shop, receiver, apps)
        keys = Keyring.from_settings(Settings(data=folder))
        store = Store.open(f"sqlite:///{folder / 'emco.db'}", keys=keys, migrate_first=False)
        stack.callback(store.close)
        assert processes.until(lambda: settled(store, len(apps) + 1), seconds=60), made.logs()
        changes = Changes(infos, apps)
        arrivals.asked = changes.asked
        groups = {
            "worker": [made.processes["worker"].pid],
            "temporal": [server],
            "API servers": [children(info.supervisor)["kube-apiserver"] for info in infos],
        }
        found = []
        for seconds, rate in [(IDLE_SECONDS, 1.0), *((LOAD_SECONDS, r) for r in options.rate)]:
            time.sleep(5)
            found.append(measure(changes, arrivals, groups, seconds, rate))
            print(json.dumps(found[-1]), flush=True)
    return {"idle": found[0], "load": found[1:]}


def log_rate(folder: Path) -> float:
    """Events a second into the log, on a database of its own with nobody listening."""
    from tests.contract.conftest import DEPLOYMENT, shop

    store = Store.open(f"sqlite:///{folder / 'log.db'}", keys=Keyring([bytes(32)]))
    try:
        shop.__wrapped__(store)  # type: ignore[attr-defined]
        began, number = time.monotonic(), 0
        while store.extent().last < LOG_EVENTS:
            rows = [_row(DEPLOYMENT, n) for n in range(number, number + LOG_BATCH)]
            store.put_units(rows)
            number += LOG_BATCH
        return LOG_EVENTS / (time.monotonic() - began)
    finally:
        store.close()


def _row(deployment: Address, number: int) -> tuple[Address, UnitRow]:
    """The row of one of 400 units, each of which becomes ready and stops being so in turn."""
    turn, place = divmod(number, 400)
    key = ObjectKey(api_version="v1", kind="ConfigMap", namespace="ns", name="cm")
    one = ObjectStatus(
        key=key,
        deployed=Deployed.APPLIED,
        ready=Ready.NOT_PRESENT if turn % 2 else Ready.READY,
        observed={},
    )
    phase = Phase.DEGRADED if turn % 2 else Phase.READY
    app, cluster = f"app-{place // 4}", f"edge+c{place % 4}"
    now = datetime.now(UTC)
    return deployment, UnitRow(app=app, cluster=cluster, phase=phase, since=now, objects=(one,))


def main() -> None:
    """Measure, print, and maybe keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--listeners", type=int, default=100)
    parser.add_argument("--clusters", type=int, default=4)
    parser.add_argument(
        "--rate",
        type=float,
        nargs="+",
        default=[10, 20, 40, 60, 80],
        help="changes a second under load",
    )
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
    groups = list(found["idle"]["cpu"])
    lines = [_line("idle, 1 change/s", found["idle"])]
    lines += [_line(f"{one['rate']:g} changes/s", one) for one in found["load"]]
    return "\n".join(
        [
            f"## Notification: {options.listeners} listeners and one for everything, "
            f"{options.clusters} clusters, {time.strftime('%Y-%m-%d')}",
            "",
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
            f"{platform.python_version()}; clusters, Temporal, worker, API and receiver share them. "
            "`bench/notify.py`.",
            "",
            "From a change on a cluster until a listener has it. A change is three events, each told twice.",
            "",
            f"| | P50 s | P99 s | worst s | told | {' | '.join(f'{g}, CPU-ms per event' for g in groups)} |",
            "|---|--:|--:|--:|--:|" + "--:|" * len(groups),
            *lines,
            "",
            f"The log alone takes {found['log']:.0f} events/s.",
        ]
    )


def _line(name: str, one: dict[str, Any]) -> str:
    seconds = " | ".join(f"{one[which]:.2f}" for which in ("p50", "p99", "worst"))
    costs = " | ".join(f"{cpu:.1f}" for cpu in one["cpu"].values())
    return f"| {name} | {seconds} | {one['told']:.0%} | {costs} |"


if __name__ == "__main__":
    main()
