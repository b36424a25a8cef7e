"""What status costs: asking for that of 10,000 units, and following a cluster with 10,000 objects.

    python bench/status.py --units 10000 --objects 10000 [--database URL] [--write]

The question is put to the API in its own process, without a network, over rows of units with five
objects each. The cluster is one of the sandbox; its objects (five kinds) are made by plain creates, and
then followed by the real activity from an empty memory over a real store. `wall` shares two cores with
whatever else runs; CPU seconds are the portable figure. The last line printed is one JSON object.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from temporalio.testing import ActivityEnvironment

from activities.clusters import Cluster, Clusters
from activities.follow import ClusterStatus
from activities.watches import Watches
from api.app import create_app
from bench.instantiate import Meter, children
from emco.domain import lifecycle
from emco.domain.contracts import StatusRef
from emco.domain.lifecycle import Lifecycle, Verb
from emco.domain.names import short_name
from emco.domain.plan import manifests
from emco.domain.status import Deployed, Footprint, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.main import tune_memory
from emco.sandbox import toolchain
from emco.sandbox.clusters import Sandbox
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.api.conftest import RecordedOperations
from tests.contract.conftest import DEPLOYMENT, fill
from tests.listeners import RecordedListeners

ROOT = Path(__file__).resolve().parents[1]
OWNER = short_name(DEPLOYMENT)
HERE = "edge+c1"
CREATES_AT_ONCE = 16
IDLE_SECONDS = 20
CHANGES = 100
QUESTIONS = {
    "summary": "status=ready&output=summary",
    "all": "status=ready",
    "detail": "status=ready&output=detail",
    "one app": "status=ready&app=app1",
    "one cluster": "status=ready&cluster=edge%2Bc1",
}
STATUS = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "conditions": [
        {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def objects_of(app: str) -> Iterator[dict[str, Any]]:
    """Five objects that a small chart has."""
    spec = {"containers": [{"name": "main", "image": "example.com/main:1"}]}
    labels = {"app": app}
    selector = {"matchLabels": labels}
    yield {"apiVersion": "v1", "kind": "ServiceAccount"}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "data": {"settings": "x" * 500}}
    yield {"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None", "selector": labels}}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 0,
            "selector": selector,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    yield {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"selector": selector}}


def row(app: str, cluster: str, ready: Ready) -> UnitRow:
    """A unit of these objects."""
    objects = tuple(
        ObjectStatus(
            key=ObjectKey(api_version=o["apiVersion"], kind=o["kind"], name=app),
            deployed=Deployed.APPLIED,
            ready=ready,
            observed={
                "apiVersion": o["apiVersion"],
                "kind": o["kind"],
                "metadata": {"name": app, "namespace": "ns", "uid": "u" * 36},
                "status": STATUS,
            },
        )
        for o in objects_of(app)
    )
    digest = "d" * 64
    return UnitRow(
        app=app,
        cluster=cluster,
        phase=Phase.READY,
        since=datetime.now(UTC),
        plan=digest,
        manifest=digest,
        applied=digest,
        objects=objects,
        namespace="ns",
    )


# -- asking -----------------------------------------------------------------------------------------


async def ask(store: Store, count: int) -> dict[str, Any]:
    """Seconds per question, the best of three."""

    def instantiate(life: Lifecycle) -> Lifecycle:
        now = datetime.now(UTC)
        approved = lifecycle.accept(life, Verb.APPROVE, "d", now=now)
        return lifecycle.accept(approved, Verb.INSTANTIATE, "d", now=now, operation="op")

    store.change_lifecycle(DEPLOYMENT, instantiate)
    apps, clusters = 40, count // 40
    places = [(f"app{a}", f"edge+c{c}") for a in range(apps) for c in range(clusters)]
    store.put_units([(DEPLOYMENT, row(app, cluster, Ready.READY)) for app, cluster in places])
    transport = httpx.ASGITransport(
        app=create_app(store, RecordedOperations(store), Settings(), listeners=RecordedListeners())
    )
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://emco", timeout=60) as client:
        for name, query in [("", "output=summary"), *QUESTIONS.items()]:
            best = (float("inf"), float("inf"))
            for _ in range(3):
                began = time.monotonic(), time.process_time()
                answer = await client.get(f"/v2/{DEPLOYMENT.path}/status?{query}")
                answer.raise_for_status()
                spent = time.monotonic() - began[0], time.process_time() - began[1]
                best = min(best, spent)
            found[name] = {"wall": best[0], "cpu": best[1], "bytes": len(answer.content)}
    del found[""]  # the first one pays for what was just written
    return found


# -- following --------------------------------------------------------------------------------------


async def follow(store: Store, count: int, folder: Path) -> dict[str, Any]:
    """What it costs to begin, to go on while nothing happens, and to hear of changes."""
    sandbox = Sandbox(folder, owner=os.getpid())
    (info,) = sandbox.create(["c1"], toolchain.find(Settings(), print))
    config = info.kubeconfig.read_bytes()
    apps = [f"a{number}" for number in range(count // 5)]
    async with await Cluster.connect(HERE, config) as cluster:
        await _create(cluster, apps)
        keys = [o.key for o in row("a0", HERE, Ready.READY).objects]
        claims = [
            Footprint(app=app, cluster=HERE, namespace="ns", objects=tuple(keys)) for app in apps
        ]
        store.claim(DEPLOYMENT, claims)
        store.put_units([(DEPLOYMENT, row(app, HERE, Ready.NOT_READY)) for app in apps])

        programs = children(info.supervisor)
        groups = {"api server": [programs["kube-apiserver"]], "worker": [os.getpid()]}
        await _until_idle(groups)
        clusters, watches = Clusters(lambda _: ("digest", config)), Watches()
        gc.collect()
        memory, meter, began = _resident_mib(), Meter(groups), time.monotonic()
        environment = ActivityEnvironment()
        status = ClusterStatus(store, clusters, watches)
        following = asyncio.create_task(environment.run(status.follow, StatusRef(cluster=HERE)))
        while _late(store):
            assert not following.done(), following.result()
            await asyncio.sleep(0.2)
        started = {"wall": time.monotonic() - began, **_cpu(meter)}
        gc.collect()
        grown = _resident_mib() - memory

        meter = Meter(groups)
        await asyncio.sleep(IDLE_SECONDS)
        idle = {group: spent / IDLE_SECONDS for group, spent in _cpu(meter).items()}

        meter, began = Meter(groups), time.monotonic()
        for app in apps[:CHANGES]:
            key = ObjectKey(api_version="v1", kind="Service", namespace="ns", name=app)
            live = await cluster.get(key, metadata_only=True)
            await cluster.delete(key, uid=(live or {})["metadata"]["uid"])
        sent = time.monotonic()
        while _late(store) < CHANGES:
            await asyncio.sleep(0.05)
        changed = {"wall": time.monotonic() - began, "after the last": time.monotonic() - sent}
        changed |= _cpu(meter)
        environment.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await watches.close()
        await clusters.close()
    sandbox.delete(["c1"])
    return {"start": started, "worker MiB": grown, "idle, cores": idle, "changes": changed}


async def _create(cluster: Cluster, apps: list[str]) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}
    await cluster.create(ObjectKey(api_version="v1", kind="Namespace", name="ns"), namespace)
    slots = asyncio.Semaphore(CREATES_AT_ONCE)

    async def one(app: str, item: dict[str, Any]) -> None:
        labels = {
            manifests.DEPLOYMENT_LABEL: manifests.short_hash(OWNER),
            manifests.APP_LABEL: app,
        }
        item = {**item, "metadata": {"name": app, "namespace": "ns", "labels": labels}}
        async with slots:
            await cluster.create(manifests.key_of(item), item)

    await asyncio.gather(*(one(app, item) for app in apps for item in objects_of(app)))


async def _until_idle(groups: dict[str, list[int]]) -> None:
    """Its controllers have to be done with what was created."""
    while True:
        meter = Meter(groups)
        await asyncio.sleep(3)
        if meter.read()["api server"].cpu < 0.2:
            return


def _late(store: Store) -> int:
    late = (Ready.NOT_READY, Ready.NOT_PRESENT)
    return sum(o.ready in late for _, unit in store.units_on(HERE) for o in unit.objects)


def _cpu(meter: Meter) -> dict[str, float]:
    return {f"{group} CPU": usage.cpu for group, usage in meter.read().items()}


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


# -- the report -------------------------------------------------------------------------------------


def table(options: argparse.Namespace, found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        f"## Status of {options.units:,} units and {options.objects:,} objects, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}; "
        f"{found['database']}. `bench/status.py`.",
        "",
        "| question | seconds | CPU-s | answer, MB |",
        "|---|--:|--:|--:|",
    ]
    for name, one in found["asking"].items():
        lines.append(
            f"| {name} | {one['wall']:.2f} | {one['cpu']:.2f} | {one['bytes'] / 1e6:.1f} |"
        )
    if following := found.get("following"):
        start, changes = following["start"], following["changes"]
        idle = following["idle, cores"]
        lines += [
            "",
            "| following one cluster | seconds | worker, CPU-s | API server, CPU-s |",
            "|---|--:|--:|--:|",
            f"| list and compare everything | {start['wall']:.1f} | {start['worker CPU']:.1f} | {start['api server CPU']:.1f} |",
            f"| {CHANGES} deletions, of which the last was told after {changes['after the last']:.2f} s "
            f"| {changes['wall']:.1f} | {changes['worker CPU']:.1f} | {changes['api server CPU']:.1f} |",
            f"| an hour of nothing | | {idle['worker CPU'] * 3600:.0f} | {idle['api server CPU'] * 3600:.0f} |",
            "",
            f"The worker grew by {following['worker MiB']:.0f} MiB. The API server's figures hold whatever else it does.",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and add to the results when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=10_000, help="0 leaves the cluster out")
    parser.add_argument("--database", default="", help="an empty database; SQLite by default")
    parser.add_argument("--write", action="store_true", help="add the table to bench/RESULTS.md")
    options = parser.parse_args()
    tune_memory()
    with tempfile.TemporaryDirectory(prefix="emco-bench-") as folder:
        url = options.database or f"sqlite:///{folder}/emco.db"
        store = Store.open(url, keys=Keyring([bytes(32)]))
        fill(store)
        found: dict[str, Any] = {"database": url.partition(":")[0].partition("+")[0]}
        if options.objects:
            found["following"] = asyncio.run(follow(store, options.objects, Path(folder)))
            for unit in store.units(DEPLOYMENT):
                store.drop_unit(DEPLOYMENT, unit.cluster, unit.app)
        found["asking"] = asyncio.run(ask(store, options.units))
        store.close()
    text = table(options, found)
    print(text)
    if options.write:
        with (ROOT / "bench" / "RESULTS.md").open("a") as file:
            file.write(f"\n{text}\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
