"""How fast deployments come up: emco beside helm and beside bare server-side applies, in one run.

    python bench/instantiate.py --clusters 4 --apps 50

A unit is one app (a chart of five objects) on one cluster. All three put the same units on the same
clusters, one after the other, each in a namespace of its own that is deleted before the next:

- emco   one deployment, from the POST to `Instantiated`, every object waited for
- helm   `helm upgrade --install --wait`, eight side by side
- bare   the same rendered objects by server-side apply, nothing waited for: the limit

Absolute figures say more about the machine than about the software; compare the columns of one run.
The last line printed is one JSON object. `--write` puts the table into bench/RESULTS.md.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client

from activities.clusters import Cluster
from activities.helm import Renderer
from emco.domain.names import workflow_id
from emco.domain.plan import manifests
from emco.domain.plan.model import Capabilities
from emco.sandbox import processes, temporal, toolchain
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.settings import Settings
from tests.e2e.system import Shop, System, pack

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "testing" / "hello"
HELM_AT_ONCE = 8
BARE_AT_ONCE = 16
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """CPU seconds and peak memory of a group of processes over a phase."""

    cpu: float
    peak_mib: float


class Meter:
    """Reads the kernel's own accounting of running processes."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        self._groups = groups
        self._before = {name: self._cpu(pids) for name, pids in groups.items()}

    def read(self) -> dict[str, Usage]:
        """What each group used since the meter was made."""
        return {
            name: Usage(self._cpu(pids) - self._before[name], sum(map(_peak_mib, pids)))
            for name, pids in self._groups.items()
        }

    def _cpu(self, pids: list[int]) -> float:
        return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0


def children(pid: int) -> dict[str, int]:
    """The child processes of one, by the name of their program."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found[name] = int(stat.parent.name)
    return found


def emco(
    infos: list[ClusterInfo], apps: list[str], folder: Path, tools: toolchain.Tools
) -> dict[str, Any]:
    """Units per second from the POST to Instantiated, and what it cost."""
    (port,) = processes.free_ports(1)
    server = processes.start(
        temporal.command(folder / "temporal.db", port=port, ui_port=None),
        log=folder / "temporal.out",
    )
    system = System(folder, f"127.0.0.1:{port}", tools["helm"])
    try:
        processes.until(lambda: processes.listens(port), seconds=30)
        system.start()
        shop = Shop(system.client, "bench", "bench-emco")
        shop.cloud({info.name: info.kubeconfig.read_text() for info in infos})
        archive = pack(CHART, "hello")
        everywhere = [info.name for info in infos]
        shop.deployment(
            dict.fromkeys(apps, archive),
            dict.fromkeys(apps, everywhere),
            **{a: {"name": a} for a in apps},
        )
        meter = Meter(
            {
                "worker": [system.processes["worker"].pid],
                "temporal": [server.pid],
                "api server": [children(i.supervisor)["kube-apiserver"] for i in infos],
            }
        )
        started = time.monotonic()
        shop.verb("instantiate")
        asyncio.run(_until_instantiated(f"127.0.0.1:{port}", shop.short))
        seconds = time.monotonic() - started
        assert shop.progress() == "Instantiated", shop.explain()["message"]
        used = meter.read()
        shop.verb("terminate")
        while shop.progress() == "Terminating":
            time.sleep(1)
    finally:
        system.stop()
        processes.stop(server)
    return {"seconds": seconds, "used": used}


async def _until_instantiated(address: str, short: str) -> None:
    """Ask the workflow itself: the API would read every unit each time, and so be measured too."""
    client = await Client.connect(address)
    handle = client.get_workflow_handle(workflow_id(short))
    while (await handle.query("status"))["progress"] == "Instantiating":
        await asyncio.sleep(0.25)


def helm(infos: list[ClusterInfo], apps: list[str], tools: toolchain.Tools) -> float:
    """Seconds for all releases, eight at a time."""
    import subprocess

    def install(job: tuple[ClusterInfo, str]) -> None:
        info, app = job
        subprocess.run(
            [
                tools["helm"], "upgrade", "--install", "--wait", app, CHART, "--set", f"name={app}",
                "--namespace", "bench-helm", "--create-namespace", "--kubeconfig", info.kubeconfig,
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip

    jobs = [(info, app) for app in apps for info in infos]
    started = time.monotonic()
    with ThreadPoolExecutor(HELM_AT_ONCE) as pool:
        list(pool.map(install, jobs))
    return time.monotonic() - started


async def bare(infos: list[ClusterInfo], apps: list[str], tools: toolchain.Tools) -> float:
    """Seconds for the server-side applies alone; rendering is not counted."""
    renderer = Renderer(str(tools["helm"]))
    objects = []
    for app in apps:
        documents = await renderer.render(
            app, app, CHART, {"name": app}, namespace="bench-bare", capabilities=Capabilities()
        )
        objects.append(manifests.sort(documents).resources)
    clusters = [await Cluster.connect(i.name, i.kubeconfig.read_bytes()) for i in infos]
    slots = asyncio.Semaphore(BARE_AT_ONCE)

    async def unit(cluster: Cluster, items: Any) -> None:
        async with slots:
            for item in items:
                _, key = await cluster.locate(manifests.key_of(item), "bench-bare")
                await cluster.apply(key, item)

    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench-bare"}}
    for cluster in clusters:
        await cluster.apply(manifests.key_of(namespace), namespace)
    started = time.monotonic()
    await asyncio.gather(*(unit(c, items) for items in objects for c in clusters))
    seconds = time.monotonic() - started
    for cluster in clusters:
        await cluster.close()
    return seconds


async def _forget(infos: list[ClusterInfo], namespace: str) -> None:
    for info in infos:
        async with await Cluster.connect(info.name, info.kubeconfig.read_bytes()) as cluster:
            key = manifests.key_of(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            )
            while (live := await cluster.get(key, metadata_only=True)) is not None:
                await cluster.delete(key, uid=live["metadata"]["uid"])
                await asyncio.sleep(0.5)


def main() -> None:
    """Run all three and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clusters", type=int, default=4)
    parser.add_argument("--apps", type=int, default=50)
    parser.add_argument("--only", choices=["emco"], help="leave out helm and bare")
    parser.add_argument("--write", action="store_true", help="add the table to bench/RESULTS.md")
    options = parser.parse_args()
    tools = toolchain.find(Settings(), print)
    folder = Path(tempfile.mkdtemp(prefix="emco-bench-"))
    sandbox = Sandbox(folder / "sandbox", owner=os.getpid())
    try:
        infos = sandbox.create([f"b{n}" for n in range(options.clusters)], tools)
        apps = [f"app-{n:03d}" for n in range(options.apps)]
        units = len(infos) * len(apps)
        print(f"{len(infos)} clusters x {len(apps)} apps = {units} units", flush=True)
        # Whoever came first would pay for API servers that have served nothing yet.
        asyncio.run(bare(infos, ["warm-up"], tools))
        asyncio.run(_forget(infos, "bench-bare"))
        ours = emco(infos, apps, folder / "system", tools)
        print(f"emco: {units / ours['seconds']:.1f} units/s", flush=True)
        rates = {"emco": units / ours["seconds"]}
        if options.only is None:
            phases: dict[str, Callable[[], float]] = {
                "helm": lambda: helm(infos, apps, tools),
                "bare": lambda: asyncio.run(bare(infos, apps, tools)),
            }
            for name, phase in phases.items():
                rates[name] = units / phase()
                print(f"{name}: {rates[name]:.1f} units/s", flush=True)
                asyncio.run(_forget(infos, f"bench-{name}"))
        table = _table(options, units, rates, ours["used"])
        print(table)
        if options.write:
            with (ROOT / "bench" / "RESULTS.md").open("a") as file:
                file.write(f"\n{table}\n")
        print(json.dumps({name: round(rate, 2) for name, rate in rates.items()}))
    finally:
        sandbox.delete([info.name for info in sandbox.all()])
        shutil.rmtree(folder, ignore_errors=True)


def _table(
    options: argparse.Namespace, units: int, rates: dict[str, float], used: dict[str, Usage]
) -> str:
    lines = [
        f"## {options.clusters} clusters x {options.apps} apps, {time.strftime('%Y-%m-%d')}",
        "",
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}; "
        "clusters, Temporal, worker and API share them.",
        "",
        "| | units/s | emco is |",
        "|---|--:|--:|",
        *(
            f"| {name} | {rate:.1f} | {rates['emco'] / rate:.2f} x |"
            for name, rate in rates.items()
        ),
        "",
        "| emco's run | CPU-ms per unit | peak MiB |",
        "|---|--:|--:|",
        *(
            f"| {name} | {1000 * u.cpu / units:.0f} | {u.peak_mib:.0f} |"
            for name, u in used.items()
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
