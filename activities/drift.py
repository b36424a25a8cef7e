"""Follows what somebody else does to a deployment's objects between operations.

What an object should look like is asked of the API server itself: a dry run of our apply answers
with every default filled in, so that only real differences are left. Fields that belong to others
by right are no drift (see `emco.domain.plan.ownership`). Values are never told, only paths.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from activities.clusters import Cluster, Clusters
from activities.failures import translated
from activities.heartbeat import heartbeating
from activities.planning import StoredPlanning
from activities.together import together
from activities.watches import Watches
from emco.domain.contracts import ClusterRef, Drift, UnitResult
from emco.domain.errors import EmcoError, Unavailable
from emco.domain.kinds.delivery import Policies
from emco.domain.names import deployment_address
from emco.domain.plan import diff, manifests
from emco.domain.plan.model import Manifest, Plan
from emco.domain.plan.ownership import last_writer, yielding
from emco.domain.resource import Address
from emco.domain.status import ObjectKey, Phase
from emco.store.store import Store

SETTLE_SECONDS: Final = 1.0
"""How long a difference must last: a change of ours may be on its way through the watch."""

_NOISE: Final = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp")


class ClusterDrift(Drift):
    """Drift on member clusters."""

    def __init__(
        self, store: Store, clusters: Clusters, planning: StoredPlanning, watches: Watches
    ) -> None:
        self._store, self._clusters = store, clusters
        self._planning, self._watches = planning, watches

    async def watch(self, cluster: ClusterRef) -> UnitResult:
        """See `Drift.watch`."""
        with translated():
            async with heartbeating():
                look = await asyncio.to_thread(self._prepare, cluster)
                connection = await self._clusters.get(cluster.cluster)
                followers = [self._follow(connection, look, *group) for group in look.groups()]
                if look.policies.drift != "heal":
                    await together(followers)
                    await asyncio.Event().wait()
                return UnitResult(note=await _until_found(followers, look))

    def _prepare(self, part: ClusterRef) -> "_Look":
        deployment = deployment_address(part.deployment)
        policies = self._store.policies(deployment)
        life = self._store.lifecycle(deployment)
        digest = self._store.plan_of(deployment, life.effective) if life.effective else None
        plan = self._planning.load(digest) if digest else None
        items: dict[ObjectKey, tuple[str, Manifest]] = {}
        for unit in plan.on(part.cluster) if plan else ():
            for item in self._planning.rendered(unit.manifest).resources:
                items[manifests.key_of(item)] = (unit.app, item)
        return _Look(deployment, part.cluster, policies, plan, items)

    async def _follow(
        self, cluster: Cluster, look: "_Look", kind: tuple[str, str], namespace: str
    ) -> None:
        """Look at every object of one kind in one namespace, now and whenever it changes."""
        assert look.plan is not None  # noqa: S101 — without a plan there are no groups
        resource = await cluster.resource(*kind)
        where = (namespace or look.plan.namespace) if resource.namespaced else ""
        keys = look.of(kind, namespace)
        seen: dict[ObjectKey, str] = {}
        selector = manifests.selector(look.plan.owner)
        async with self._watches.on(cluster, resource, where, selector) as watch:

            def due() -> list[ObjectKey]:
                return [k for k in keys if seen.get(k) != _print(watch.get(k.name))]

            while True:
                await watch.until(lambda: bool(due()))
                for key in due():
                    seen[key] = _print(watch.get(key.name))
                    located = key.model_copy(update={"namespace": where})
                    await self._check(cluster, look, key, located)

    async def _check(
        self, cluster: Cluster, look: "_Look", key: ObjectKey, located: ObjectKey
    ) -> None:
        found = await self._difference(cluster, look, key, located)
        if found:
            await asyncio.sleep(SETTLE_SECONDS)
            found = await self._difference(cluster, look, key, located)
        app, _ = look.items[key]
        if look.note(app, key, found):
            await asyncio.to_thread(self._write, look, app)

    async def _difference(
        self, cluster: Cluster, look: "_Look", key: ObjectKey, located: ObjectKey
    ) -> str:
        """What is not as it was applied, in words; empty when all is well."""
        _, item = look.items[key]
        live = await cluster.get(located)
        if live is None:
            return "was deleted"
        if live["metadata"].get("deletionTimestamp"):
            return "is being deleted"
        kept = yielding(item, live, look.policies.ignore_differences)
        try:
            wanted = await cluster.apply(located, kept, dry_run=True, force=True)
        except Unavailable:
            raise
        except EmcoError as error:
            return f"cannot be compared: {error.title}"
        paths = [change.path for change in diff.fields(_bare(live), _bare(wanted))]
        if not paths:
            return ""
        by = last_writer(live)
        return f"{', '.join(paths)} changed" + (f" by {by}" if by else "")

    def _write(self, look: "_Look", app: str) -> None:
        """Show the drift of one unit, or that it is over."""
        told = look.told(app)
        for row in self._store.units(look.deployment):
            if (row.cluster, row.app) != (look.cluster, app):
                continue
            if row.phase not in (Phase.READY, Phase.DEGRADED, Phase.DRIFTED):
                return  # an operation has it now
            phase = Phase.DRIFTED if told else Phase.READY
            update = {"phase": phase, "message": told, "since": datetime.now(UTC)}
            self._store.put_unit(look.deployment, row.model_copy(update=update))


class _Look:
    """What is looked for on one cluster, and what was found so far."""

    def __init__(
        self,
        deployment: Address,
        cluster: str,
        policies: Policies,
        plan: Plan | None,
        items: Mapping[ObjectKey, tuple[str, Manifest]],
    ) -> None:
        self.deployment, self.cluster = deployment, cluster
        self.policies, self.plan, self.items = policies, plan, items
        self.found = asyncio.Event()
        self._notes: dict[str, dict[ObjectKey, str]] = {}

    def groups(self) -> list[tuple[tuple[str, str], str]]:
        """Every (apiVersion, kind) and namespace there is something of."""
        return sorted({((k.api_version, k.kind), k.namespace) for k in self.items})

    def of(self, kind: tuple[str, str], namespace: str) -> list[ObjectKey]:
        """The objects of one group."""
        return [
            k for k in self.items if ((k.api_version, k.kind), k.namespace) == (kind, namespace)
        ]

    def note(self, app: str, key: ObjectKey, found: str) -> bool:
        """Remember what was found of one object; True when that is news."""
        notes = self._notes.setdefault(app, {})
        if notes.get(key, "") == found:
            return False
        notes.pop(key, None)
        if found:
            notes[key] = found
            self.found.set()
        return True

    def told(self, app: str) -> str:
        """All that is known of one app, for people."""
        return "; ".join(f"{key} {found}" for key, found in self._notes.get(app, {}).items())

    def everything(self) -> str:
        """All that is known."""
        apps = [
            f"{app} on {self.cluster}: {told}" for app in self._notes if (told := self.told(app))
        ]
        return "; ".join(apps)


async def _until_found(followers: Sequence[Any], look: _Look) -> str:
    """Follow until something is found, and a moment longer: changes seldom come alone."""
    following = asyncio.ensure_future(together(followers))
    finding = asyncio.ensure_future(look.found.wait())
    try:
        await asyncio.wait({following, finding}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            await following  # raises what broke it
            await asyncio.Event().wait()  # nothing to follow
        await asyncio.sleep(SETTLE_SECONDS / 2)
        return look.everything()
    finally:
        for task in (following, finding):
            task.cancel()
        await asyncio.gather(following, finding, return_exceptions=True)


def _bare(item: Mapping[str, Any]) -> Manifest:
    """The object without its status and without what the server counts by itself."""
    metadata = {k: v for k, v in item["metadata"].items() if k not in _NOISE}
    return {**{k: v for k, v in item.items() if k != "status"}, "metadata": metadata}


def _print(item: Manifest | None) -> str:
    """Equal while nothing but the status changed."""
    if item is None:
        return "gone"
    text = json.dumps(_bare(item), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
