"""Each unit's release as Helm knows it: a Secret a version, so that `helm list` and its kin tell the truth.

Written for people and tools that look with Helm; nothing of ours is decided by it. What is decided
by are the rows in the store.
"""

import asyncio
import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
import yaml

from activities.clusters import Cluster
from activities.ours import is_ours
from activities.planning import StoredPlanning
from emco.domain.contracts import UnitRef
from emco.domain.errors import Conflict, EmcoError, Forbidden
from emco.domain.names import deployment_address
from emco.domain.plan import manifests
from emco.domain.plan.hooks import Event, Goal, events_of, hooks_of, weight_of
from emco.domain.plan.model import Manifest, Rendered
from emco.domain.releases import (
    HookRow,
    HookState,
    ReleaseRow,
    ReleaseStatus,
    advanced,
    ending,
    run_of,
)
from emco.domain.status import ObjectKey
from emco.store.store import Store

VERSIONS_KEPT: Final = 10
MAX_BYTES: Final = 1_000_000
"""A Secret holds 1 MiB; a record that would be larger is written without its manifest."""

_DESCRIPTION: Final[Mapping[ReleaseStatus, str]] = {
    ReleaseStatus.PENDING_INSTALL: "Initial install underway",
    ReleaseStatus.PENDING_UPGRADE: "Preparing upgrade",
    ReleaseStatus.PENDING_ROLLBACK: "Preparing rollback",
    ReleaseStatus.UNINSTALLING: "Deletion in progress (or silently failed)",
    ReleaseStatus.SUPERSEDED: "Superseded",
}
_DONE: Final[Mapping[Goal, str]] = {
    Goal.INSTALL: "Install complete",
    Goal.UPGRADE: "Upgrade complete",
    Goal.ROLLBACK: "Rollback complete",
}
_PHASES: Final[Mapping[HookState, str]] = {
    HookState.SUCCEEDED: "Succeeded",
    HookState.FAILED: "Failed",
    HookState.RUNNING: "Running",
}

log = structlog.get_logger("emco.releases")


class Releases:
    """Begins, notes and ends the releases of units, in the store and on their clusters."""

    def __init__(self, store: Store, planning: StoredPlanning) -> None:
        self._store, self._planning = store, planning

    # -- the store's record, which decides ------------------------------------------------------

    def begin(self, unit: UnitRef) -> ReleaseRow:
        """The release of a unit that a plan is brought about for. A second call changes nothing."""
        deployment = deployment_address(unit.deployment)
        plan = self._planning.load(unit.plan)
        asked = self._store.operation(deployment, unit.operation.removesuffix("/back"))
        is_back = unit.operation.endswith("/back")
        is_rollback = is_back or (asked is not None and asked.verb == "rollback")
        run = self.run(unit, Goal.ROLLBACK if is_rollback else Goal.UPGRADE)
        row = self._store.change_release(
            deployment,
            unit.cluster,
            unit.app,
            lambda old: advanced(
                old,
                plan,
                plan.unit(unit.cluster, unit.app),
                run=run,
                is_rollback=is_rollback,
                now=datetime.now(UTC),
            ),
        )
        assert row is not None  # noqa: S101 — what is begun is there
        return row

    def begin_removal(self, unit: UnitRef) -> ReleaseRow | None:
        """The release of a unit that is removed; None when it has none."""
        run = self.run(unit, Goal.DELETE)
        return self._store.change_release(
            deployment_address(unit.deployment),
            unit.cluster,
            unit.app,
            lambda old: old and ending(old, run=run, now=datetime.now(UTC)),
        )

    def run(self, unit: UnitRef, goal: Goal) -> str:
        """What the unit's hooks are counted under; of the operation's own revision, not of the newest."""
        deployment = deployment_address(unit.deployment)
        asked = self._store.operation(deployment, unit.operation.removesuffix("/back"))
        revision = asked.revision if asked else self._store.lifecycle(deployment).revision
        return run_of(revision, unit.operation, goal)

    def find(self, unit: UnitRef) -> ReleaseRow | None:
        """The unit's release, if it has one."""
        rows = self._store.releases(deployment_address(unit.deployment))
        return next((r for r in rows if (r.cluster, r.app) == (unit.cluster, unit.app)), None)

    def rendered(self, row: ReleaseRow) -> Rendered:
        """The objects of a release."""
        return self._planning.rendered(row.manifest)

    def has_hooks_after(self, row: ReleaseRow) -> bool:
        """Whether hooks are still to run once the objects are dealt with."""
        return row.hooked and bool(hooks_of(self.rendered(row).hooks, row.goal.after))

    # -- Helm's record, for people --------------------------------------------------------------

    async def note(
        self,
        cluster: Cluster,
        unit: UnitRef,
        row: ReleaseRow,
        status: ReleaseStatus,
        message: str = "",
    ) -> None:
        """Write a release's status down, here and on its cluster. Repeated calls change nothing.

        Raises `Conflict` when Helm itself has a release of that name there. A cluster that lets us
        keep no Secrets goes without a record.
        """
        now = datetime.now(UTC)
        row = row.model_copy(update={"status": status, "message": message, "last": now})
        await asyncio.to_thread(self._put, unit, row)
        if row.hooked and status is ReleaseStatus.DEPLOYED:
            deployment = deployment_address(unit.deployment)
            keep = {row.run}
            await asyncio.to_thread(self._store.prune_hooks, deployment, row.cluster, row.app, keep)
        try:
            await self._write(cluster, unit, row)
        except Forbidden as error:
            log.warning("release.unrecorded", cluster=cluster.name, app=unit.app, reason=str(error))

    async def purge(self, cluster: Cluster, unit: UnitRef, row: ReleaseRow) -> None:
        """The release is uninstalled: every record of it goes, there and here."""
        for version, uid in (await self._versions(cluster, row)).items():
            await cluster.delete(_key(row, version), uid=uid)
        await asyncio.to_thread(
            self._store.forget_release, deployment_address(unit.deployment), unit.cluster, unit.app
        )

    def _put(self, unit: UnitRef, row: ReleaseRow) -> None:
        def change(old: ReleaseRow | None) -> ReleaseRow | None:
            is_same = old is not None and (old.version, old.run) == (row.version, row.run)
            return row if is_same else old

        self._store.change_release(
            deployment_address(unit.deployment), unit.cluster, unit.app, change
        )

    async def _write(self, cluster: Cluster, unit: UnitRef, row: ReleaseRow) -> None:
        key = _key(row, row.version)
        live = await cluster.get(key, metadata_only=True)
        if live is not None and not is_ours(live, row.owner, row.app):
            raise Conflict(
                f"Helm itself has a release {row.name} in {row.namespace} on {cluster.name}",
                "uninstall that one, or give the deployment another version (its release name)",
            )
        await cluster.apply(key, await asyncio.to_thread(self._secret, unit, row), force=True)
        if row.status is ReleaseStatus.DEPLOYED and row.version > 1:
            await self._supersede(cluster, row)

    async def _supersede(self, cluster: Cluster, row: ReleaseRow) -> None:
        """Of the older versions none is deployed any more, and only the last few are kept."""
        versions = await self._versions(cluster, row)
        for version in sorted(versions, reverse=True)[VERSIONS_KEPT:]:
            await cluster.delete(_key(row, version), uid=versions.pop(version))
        for version in versions:
            live = await cluster.get(_key(row, version)) if version < row.version else None
            if live and live["metadata"]["labels"].get("status") == ReleaseStatus.DEPLOYED:
                await cluster.apply(_key(row, version), _superseded(live), force=True)

    async def _versions(self, cluster: Cluster, row: ReleaseRow) -> dict[int, str]:
        """Version to uid of every record that is ours."""
        resource = await cluster.resource("v1", "Secret")
        selector = f"owner=helm,name={row.name},{manifests.selector(row.owner)}"
        found = await cluster.list_metadata(resource, row.namespace, selector=selector)
        metadata = [item["metadata"] for item in found]
        return {int(one["labels"]["version"]): one["uid"] for one in metadata}

    def _secret(self, unit: UnitRef, row: ReleaseRow) -> Manifest:
        rendered = self.rendered(row)
        runs = [
            hook
            for hook in self._store.hooks(deployment_address(unit.deployment))
            if row.hooked and hook.run == row.run and hook.app == row.app
        ]
        record = _record(row, rendered, runs)
        packed = _packed(record)
        if len(packed) > MAX_BYTES:
            packed = _packed({**record, "manifest": "# left out: too large for a Secret\n"})
        labels = {
            "name": row.name,
            "owner": "helm",
            "status": row.status.value,
            "version": str(row.version),
            "modifiedAt": str(int(row.last.timestamp())),
            manifests.DEPLOYMENT_LABEL: manifests.short_hash(row.owner),
            manifests.APP_LABEL: manifests.label_value(row.app),
        }
        return _secret_of(row.namespace, _name(row.name, row.version), labels, packed)


async def best_effort(noting: Any) -> None:
    """Await something that must not hide the failure which it is told of."""
    try:
        await noting
    except EmcoError as error:
        log.warning("release.unrecorded", reason=str(error))


def _record(row: ReleaseRow, rendered: Rendered, runs: Iterable[HookRow]) -> dict[str, Any]:
    ended = {(run.event, run.key): run for run in runs}
    done = f"{_DONE.get(row.goal, '')}" if row.status is ReleaseStatus.DEPLOYED else row.message
    info: dict[str, Any] = {
        "first_deployed": row.first.isoformat(),
        "last_deployed": row.last.isoformat(),
        "description": done or _DESCRIPTION.get(row.status, ""),
        "status": row.status.value,
    }
    if row.status is ReleaseStatus.UNINSTALLING:
        info["deleted"] = row.last.isoformat()
    chart = rendered.chart
    return {
        "name": row.name,
        "namespace": row.namespace,
        "version": row.version,
        "info": info,
        "chart": {
            "metadata": {
                "apiVersion": "v2",
                "name": chart.name,
                "version": chart.version,
                "appVersion": chart.app_version,
            }
        },
        "manifest": "".join(f"---\n{_yaml(item)}" for item in rendered.resources),
        "hooks": [_hook(item, ended) for item in rendered.hooks if events_of(item)],
        "apply_method": "ssa",
    }


def _hook(item: Manifest, ended: Mapping[tuple[Event, ObjectKey], HookRow]) -> dict[str, Any]:
    events = events_of(item)
    hook = hooks_of([item], events[0])[0]
    run = next((ended[e, hook.key] for e in events if (e, hook.key) in ended), None)
    last: dict[str, Any] = {"phase": _PHASES.get(run.state, "Unknown") if run else "Unknown"}
    if run and run.began:
        last["started_at"] = run.began.isoformat()
    if run and run.state in (HookState.SUCCEEDED, HookState.FAILED):
        last["completed_at"] = run.since.isoformat()
    return {
        "name": hook.key.name,
        "kind": hook.key.kind,
        "path": f"{hook.key.kind}/{hook.key.name}",
        "manifest": _yaml(item),
        "events": [event.value for event in events],
        "weight": weight_of(item),
        "delete_policies": sorted(hook.policies),
        "last_run": last,
    }


def _packed(record: Mapping[str, Any]) -> str:
    """Helm's encoding, and Kubernetes' of that: base64 of base64 of gzip of JSON."""
    squeezed = gzip.compress(json.dumps(record).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(squeezed)).decode()


def _unpacked(packed: str) -> dict[str, Any]:
    squeezed = base64.b64decode(base64.b64decode(packed))
    record: dict[str, Any] = json.loads(gzip.decompress(squeezed))
    return record


def _superseded(live: Manifest) -> Manifest:
    record = _unpacked(live["data"]["release"])
    record["info"] |= {"status": ReleaseStatus.SUPERSEDED.value}
    metadata = live["metadata"]
    labels = {**metadata["labels"], "status": ReleaseStatus.SUPERSEDED.value}
    return _secret_of(metadata["namespace"], metadata["name"], labels, _packed(record))


def _secret_of(namespace: str, name: str, labels: Mapping[str, str], packed: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "type": "helm.sh/release.v1",
        "data": {"release": packed},
    }


def _key(row: ReleaseRow, version: int) -> ObjectKey:
    name = _name(row.name, version)
    return ObjectKey(api_version="v1", kind="Secret", namespace=row.namespace, name=name)


def _name(release: str, version: int) -> str:
    return f"sh.helm.release.v1.{release}.v{version}"


def _yaml(item: Manifest) -> str:
    return str(yaml.dump(item, Dumper=yaml.CSafeDumper, sort_keys=False))
