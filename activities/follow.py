"""Follows everything of ours on one cluster, at any time, and keeps the status projection true.

Its own memory is a convenience: when it starts, after a kill or on another worker, every kind is
listed and compared with the projection, so that nothing that happened in between is lost.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, NamedTuple, NoReturn

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.clusters import ApiResource, Cluster, Clusters
from activities.failures import translated
from activities.heartbeat import heartbeating
from activities.ours import marks
from activities.progress import judged
from activities.reach import Reach
from activities.watches import Change, Feed, Watch, Watches, number
from emco.domain import health
from emco.domain.contracts import FailureType, Followed, Status, StatusRef
from emco.domain.errors import EmcoError, NotFound, Unavailable
from emco.domain.plan import manifests
from emco.domain.plan.model import Manifest
from emco.domain.projection import Sighting
from emco.domain.status import Deployed, ObjectStatus, Ready, UnitRow
from emco.store.following import Claimed
from emco.store.store import Store

LOOK_SECONDS: Final = 2.0
"""How soon a kind that comes into use is watched."""
COALESCE_SECONDS: Final = 0.2
"""Changes of so long are written together."""
UNSERVED_SECONDS: Final = 30.0
"""A kind that a cluster does not serve is asked for again after so long."""
FOLLOW_SECONDS: Final = timedelta(days=1).total_seconds()

Kind = tuple[str, str]
"""apiVersion and kind."""
Marks = tuple[str | None, str | None]
PODS: Final[Kind] = ("v1", "Pod")
EVERYWHERE: Final = ""
Seen = dict[Claimed, list[Sighting]]

log = structlog.get_logger("emco.follow")


class ClusterStatus(Status):
    """Status of member clusters."""

    def __init__(self, store: Store, clusters: Clusters, watches: Watches) -> None:
        self._store, self._clusters, self._watches = store, clusters, watches

    async def follow(self, cluster: StatusRef) -> Followed:
        """See `Status.follow`."""
        with translated():
            async with heartbeating(), AsyncExitStack() as open_watches:
                follower = _Follower(
                    self._store, self._clusters, self._watches, cluster.cluster, open_watches
                )
                reach = Reach(self._store, self._clusters, cluster.cluster)
                steps = (
                    follower.look_out(),
                    follower.write(),
                    reach.keep(follower.restart),
                    _leave(),
                )
                works = [asyncio.ensure_future(step) for step in steps]
                try:
                    done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
                    return done.pop().result() or Followed()
                finally:
                    for work in works:
                        work.cancel()
                    await asyncio.gather(*works, return_exceptions=True)


async def _leave() -> NoReturn:
    """Do not keep a worker from stopping: another one goes on at once."""
    await activity.wait_for_worker_shutdown()
    raise ApplicationError(
        "the worker stops, another one goes on",
        type=FailureType.UNREACHABLE,
        next_retry_delay=timedelta(milliseconds=100),
        category=ApplicationErrorCategory.BENIGN,
    )


class Listed(NamedTuple):
    """A list came in, at a version that may be behind what is known."""

    version: int
    is_anew: bool


class _Follower:
    """One cluster, followed by one attempt of the activity."""

    def __init__(
        self,
        store: Store,
        clusters: Clusters,
        watches: Watches,
        cluster: str,
        open_watches: AsyncExitStack,
    ) -> None:
        self._store, self._clusters, self._watches = store, clusters, watches
        self._cluster = cluster
        self._open_watches = open_watches
        self._bell = asyncio.Event()
        self._open: dict[tuple[Kind, str], tuple[Watch, Feed]] = {}
        """By kind and namespace."""
        self._not_before: dict[Kind, float] = {}
        self._highest: dict[Kind, int] = {}
        """The highest version known of each kind; a list that is behind it tells of another past."""
        self._claims: dict[Marks, Claimed] = {}
        self._trouble: dict[Marks, dict[str, str]] = {}
        """What is wrong with pods, by pod name."""

    # -- what is watched ------------------------------------------------------------------------

    async def look_out(self) -> Followed:
        """Watch every kind that comes into use, until the cluster is unused or a day has passed."""
        until = time.monotonic() + FOLLOW_SECONDS
        for _, row in await asyncio.to_thread(self._store.units_on, self._cluster):
            for status in row.objects:
                self._reach(_where(status, row)[0], status.seen)
        while time.monotonic() < until:
            try:
                if await asyncio.to_thread(self._store.forget_if_unused, self._cluster):
                    return Followed(unused=True)
                kinds = await asyncio.to_thread(self._store.kinds_in_use, self._cluster)
            except NotFound:  # the cluster itself was deleted, so nothing of ours was on it
                return Followed(unused=True)
            workloads = any(kind in health.WORKLOADS for _, kind in kinds)
            for kind in [*kinds, *([PODS] if workloads and PODS not in kinds else [])]:
                await self._watch(kind)
            await asyncio.sleep(LOOK_SECONDS)
        return Followed()

    async def _watch(self, kind: Kind) -> None:
        if (kind, EVERYWHERE) in self._open or time.monotonic() < self._not_before.get(kind, 0):
            return
        try:
            cluster = await self._clusters.get(self._cluster)
            resource = await cluster.resource(*kind)
            places = await self._places(cluster, resource)
        except Unavailable:
            return  # `Reach` tells of it
        except EmcoError as error:
            self._not_before[kind] = time.monotonic() + UNSERVED_SECONDS
            log.warning("status.not_watched", cluster=self._cluster, kind=kind, reason=str(error))
            return
        for place in places:
            if (kind, place) not in self._open:
                watch = await self._open_watches.enter_async_context(
                    self._watches.ours(cluster, resource, place)
                )
                feed = watch.feed(self._bell)
                self._open_watches.callback(watch.leave, feed)
                self._open[kind, place] = watch, feed

    async def _places(self, cluster: Cluster, resource: ApiResource) -> list[str]:
        """Everywhere at once, or the namespaces in use one by one where our credentials end there."""
        if not resource.namespaced or await cluster.allowed("watch", resource, EVERYWHERE):
            return [EVERYWHERE]
        return await asyncio.to_thread(self._store.namespaces_on, self._cluster)

    # -- what is seen ---------------------------------------------------------------------------

    async def write(self) -> None:
        """Write what the watches saw, a few times a second at most."""
        while True:
            await self._bell.wait()
            await asyncio.sleep(COALESCE_SECONDS)
            self._bell.clear()
            seen: Seen = {}
            listed: dict[tuple[Kind, str], Listed] = {}
            for (kind, place), (_, feed) in list(self._open.items()):
                changes, version = feed.take()
                owners = self._owners_of(changes.values()) if kind == PODS else []
                is_anew = 0 < version < self._highest.get(kind, 0)
                await self._sort([*changes.values(), *owners], seen, is_anew=is_anew)
                if version:
                    listed[kind, place] = Listed(version, is_anew)
                self._reach(kind, *(change.version for change in changes.values()), anew=is_anew)
            if listed:
                await self._add_missing(listed, seen)
            await self._put(seen)

    def _reach(self, kind: Kind, *versions: int, anew: bool = False) -> None:
        self._highest[kind] = max(0 if anew else self._highest.get(kind, 0), *versions, 0)

    async def _sort(self, changes: Iterable[Change], seen: Seen, *, is_anew: bool) -> None:
        """Add what was seen of each object to the unit whose mark it carries."""
        ours = [change for change in changes if not _is_controlled(change.item)]
        if any(marks(change.item) not in self._claims for change in ours):
            await self._look_up()
        for change in ours:
            if (claimed := self._claims.get(marks(change.item))) is not None:
                seen.setdefault(claimed, []).append(self._sighting(change, is_anew=is_anew))

    def _sighting(self, change: Change, *, is_anew: bool) -> Sighting:
        key = manifests.key_of(change.item)
        if change.is_gone:
            return Sighting(key=key, ready=Ready.NOT_PRESENT, seen=change.version, is_anew=is_anew)
        said: dict[str, Any] = judged(change.item, health.assess(change.item))
        if key.kind in health.WORKLOADS and said["ready"] is Ready.NOT_READY:
            trouble = self._trouble.get(marks(change.item), {})
            said["message"] = health.with_pods(said["message"], key.name, trouble)
        return Sighting(key=key, is_anew=is_anew, **said)

    def _owners_of(self, pods: Iterable[Change]) -> list[Change]:
        """The workloads that are to be told of anew, since one of their pods is in other trouble."""
        found: list[Change] = []
        for change in pods:
            name, where = change.item["metadata"]["name"], change.item["metadata"]["namespace"]
            told = "" if change.is_gone else health.pod_trouble(change.item)
            known = self._trouble.setdefault(marks(change.item), {})
            if known.get(name, "") == told:
                continue
            known[name] = told
            if not told:
                del known[name]
            for ((_, kind), _), (watch, _) in self._open.items():
                if kind in health.WORKLOADS:
                    for owner in _prefixes(name):
                        if (item := watch.get(owner, where)) is not None:
                            version = number(item["metadata"]["resourceVersion"])
                            found.append(Change(item, version))
        return found

    async def _look_up(self) -> None:
        claims = await asyncio.to_thread(self._store.claimed_on, self._cluster)
        self._claims = {_marks_of(claimed): claimed for claimed in claims}

    async def _add_missing(self, listed: dict[tuple[Kind, str], Listed], seen: Seen) -> None:
        """Objects that should be there and are in none of the lists that just came in."""
        for deployment, row in await asyncio.to_thread(self._store.units_on, self._cluster):
            gone = []
            for status in row.objects:
                kind, place = _where(status, row)
                came = listed.get((kind, EVERYWHERE)) or listed.get((kind, place))
                is_expected = (
                    status.deployed is Deployed.APPLIED and status.ready is not Ready.NOT_PRESENT
                )
                if came and is_expected and self._live(status, row) is None:
                    gone.append(
                        Sighting(
                            key=status.key,
                            ready=Ready.NOT_PRESENT,
                            seen=came.version,
                            is_anew=came.is_anew,
                        )
                    )
            if gone:
                seen.setdefault(Claimed(deployment, row.app), []).extend(gone)

    def _live(self, status: ObjectStatus, row: UnitRow) -> Manifest | None:
        kind, place = _where(status, row)
        for where in (EVERYWHERE, place):
            if (opened := self._open.get((kind, where))) is not None:
                name = status.key.name
                return opened[0].get(name, place) or opened[0].get(name, "")
        return None

    async def _put(self, seen: Seen) -> None:
        """Write; units that are not where they were, after a migration, are looked for once more."""
        lost = await asyncio.to_thread(self._store.observe, self._cluster, list(seen.items()))
        if lost:
            await self._look_up()
            moved = [
                (claimed, sightings)
                for before, sightings in lost
                if (claimed := self._claims.get(_marks_of(before), before)) != before
            ]
            await asyncio.to_thread(self._store.observe, self._cluster, moved)

    def restart(self) -> None:
        """List everything anew."""
        for watch, _ in self._open.values():
            watch.restart()


def _is_controlled(item: Manifest) -> bool:
    """True for what a controller made of one of our objects; its labels come from there."""
    return any(owner.get("controller") for owner in item["metadata"].get("ownerReferences") or ())


def _where(status: ObjectStatus, row: UnitRow) -> tuple[Kind, str]:
    """Its kind, and the namespace it is in if it is in one."""
    key = status.key
    return (key.api_version, key.kind), key.namespace or row.namespace


def _prefixes(pod: str) -> Iterator[str]:
    """Every name that a workload with a pod of this name may have."""
    parts = pod.split("-")
    return ("-".join(parts[:count]) for count in range(1, len(parts)))


def _marks_of(claimed: Claimed) -> tuple[str, str]:
    return manifests.short_hash(claimed.owner), manifests.label_value(claimed.app)
