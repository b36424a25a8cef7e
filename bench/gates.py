"""How long after its condition became true an app starts, while a thousand others wait.

    python bench/gates.py --apps 1000

Two clusters. `root` takes some seconds to become ready on one; a chain of apps without delays hangs on
it, and at its end all the others, with delays spread over a while. Measured is from the moment the
condition was recorded to the arrival of the app's first object in a watch on its cluster, less the delay:
for the chain with everybody waiting, and for the others with everybody's timers running.
`--write` puts the result into bench/RESULTS.md.
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
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from emco.sandbox import processes, temporal, toolchain
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.settings import Settings
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment

ROOT = Path(__file__).resolve().parents[1]
FIRST_DELAY = 10
"""Seconds until the first of the others starts, so that the last of the chain is done with."""


class Arrivals:
    """When each ConfigMap of a namespace first showed up in a watch."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.at: dict[str, float] = {}
        self._kube, self._namespace = kube, namespace
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        url = f"/api/v1/namespaces/{self._namespace}/configmaps?watch=true"
        with (
            suppress(httpx.RemoteProtocolError),  # the cluster is gone at the end
            self._kube.http.stream("GET", url, timeout=None) as answer,
        ):
            for line in answer.iter_lines():
                name = json.loads(line)["object"]["metadata"]["name"]
                self.at.setdefault(name, time.time())


def measure(
    infos: list[ClusterInfo], options: argparse.Namespace, folder: Path, tools: toolchain.Tools
) -> dict[str, list[float]]:
    """Seconds of lateness for each app of the chain, and for each of the others."""
    (port,) = processes.free_ports(1)
    server = processes.start(
        temporal.command(folder / "temporal.db", port=port, ui_port=None),
        log=folder / "temporal.out",
    )
    system = System(folder, f"127.0.0.1:{port}", tools["helm"])
    try:
        processes.until(lambda: processes.listens(port), seconds=30)
        system.start()
        shop = Shop(system.client, "bench", "bench-gates")
        chain = [f"chain-{n:03d}" for n in range(options.chain)]
        others = {f"app-{n:04d}": n for n in range(options.apps)}
        delays = {app: FIRST_DELAY + n * options.over // options.apps for app, n in others.items()}
        describe(shop, infos, chain, delays)
        arrivals = Arrivals(Kube(infos[0]), shop.namespace)
        shop.verb("instantiate")
        while shop.progress() == "Instantiating":
            time.sleep(2)
        assert shop.progress() == "Instantiated", shop.explain()["message"]
        since = {
            unit["app"]: datetime.fromisoformat(unit["since"]).timestamp()
            for unit in shop.explain()["units"]
        }
    finally:
        system.stop()
        processes.stop(server)
    needed = dict(zip(chain, ["root", *chain], strict=False))
    return {
        "chain": [arrivals.at[app] - since[needs] for app, needs in needed.items()],
        "others": [arrivals.at[app] - since[chain[-1]] - delays[app] for app in delays],
    }


def describe(
    shop: Shop, infos: list[ClusterInfo], chain: list[str], delays: dict[str, int]
) -> None:
    """root on the second cluster, everything else on the first."""
    shop.cloud({info.name: info.kubeconfig.read_text() for info in infos})
    here, there = (info.name for info in infos)
    slow = deployment("root", annotations={"sandbox.emco.io/ready-after": "5s"})
    apps = {app: chart(app, config_map(app)) for app in (*chain, *delays)}
    where = {app: [here] for app in apps}
    shop.describe({"root": chart("root", slow), **apps}, {"root": [there], **where})
    waits = {app: (needs, 0) for app, needs in zip(chain, ["root", *chain], strict=False)}
    waits |= {app: (chain[-1], delay) for app, delay in delays.items()}
    for app, (needs, delay) in waits.items():
        spec = {"app": needs, "opStatus": "Ready", "wait": delay}
        shop.post(f"{shop.app_url}/apps/{app}/dependency", "first", spec)
    shop.verb("approve")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--apps", type=int, default=1000)
    parser.add_argument("--chain", type=int, default=50)
    parser.add_argument("--over", type=int, default=240, help="seconds that the delays span")
    parser.add_argument("--write", action="store_true", help="add the table to bench/RESULTS.md")
    options = parser.parse_args()
    tools = toolchain.find(Settings(), print)
    folder = Path(tempfile.mkdtemp(prefix="emco-bench-"))
    sandbox = Sandbox(folder / "sandbox", owner=os.getpid())
    try:
        infos = sandbox.create(["b0", "b1"], tools)
        found = measure(infos, options, folder / "system", tools)
        table = _table(options, found)
        print(table)
        if options.write:
            with (ROOT / "bench" / "RESULTS.md").open("a") as file:
                file.write(f"\n{table}\n")
    finally:
        sandbox.delete([info.name for info in sandbox.all()])
        shutil.rmtree(folder, ignore_errors=True)


def _table(options: argparse.Namespace, found: dict[str, list[float]]) -> str:
    told: dict[str, Any] = {
        "chain": f"{options.chain} without a delay, {options.apps} waiting",
        "others": f"{options.apps} with delays that end within {options.over} s",
    }
    lines = [
        f"## Gates: {options.apps} apps wait, {time.strftime('%Y-%m-%d')}",
        "",
        "One run of `bench/gates.py`: seconds from the condition to the first object, less the delay. "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; clusters, Temporal, worker and API share them.",
        "",
        "| | P50 | P99 | worst |",
        "|---|--:|--:|--:|",
    ]
    for name, late in found.items():
        cuts = statistics.quantiles(late, n=100, method="inclusive")
        lines.append(f"| {told[name]} | {cuts[49]:.2f} | {cuts[98]:.2f} | {max(late):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
