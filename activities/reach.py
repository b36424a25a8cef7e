"""Whether one cluster answers: noticed by asking it, since a connection may be dead without saying so."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NoReturn

import structlog

from activities.clusters import Clusters
from emco.domain.errors import EmcoError, Unavailable
from emco.domain.projection import Sighting
from emco.domain.report import Connectivity
from emco.domain.status import Ready
from emco.store.following import Claimed
from emco.store.snapshot import cluster_address
from emco.store.store import Store

PROBE_SECONDS: Final = 2.0
AWAY_SECONDS: Final = 6.0
"""A cluster that does not answer for so long is away: a restart of its API server is no news."""

log = structlog.get_logger("emco.reach")


class Reach:
    """Keeps what is known of one cluster's connectivity, and makes its objects unknown while it is away."""

    def __init__(self, store: Store, clusters: Clusters, cluster: str) -> None:
        self._store, self._clusters = store, clusters
        self._cluster, self._at = cluster, cluster_address(cluster)

    async def keep(self, returned: Callable[[], None]) -> NoReturn:
        """Ask for ever; `returned` is called when a cluster that was away is back."""
        facts = await asyncio.to_thread(self._store.facts, self._at) or {}
        known = facts.get("connectivity")
        silent: datetime | None = None
        while True:
            error = await self._silence()
            if error is None:
                silent = None
                if known != Connectivity.AVAILABLE:
                    await self._note(Connectivity.AVAILABLE)
                if known == Connectivity.RETRYING:
                    returned()
                known = Connectivity.AVAILABLE
            else:
                now = datetime.now(UTC)
                silent = silent or now
                is_away = (now - silent).total_seconds() >= AWAY_SECONDS
                if is_away and known != Connectivity.RETRYING:
                    await self._tell(error, silent)
                    known = Connectivity.RETRYING
            await asyncio.sleep(PROBE_SECONDS)

    async def _silence(self) -> EmcoError | None:
        try:
            await (await self._clusters.get(self._cluster)).probe()
        except Unavailable as error:
            return error
        except EmcoError:  # a refusal is an answer
            return None
        return None

    async def _tell(self, error: EmcoError, since: datetime) -> None:
        """Everything on the cluster is unknown from now on, and says so with the same words."""
        told = f"{error.title} since {since:%Y-%m-%dT%H:%M:%SZ}"
        log.warning("cluster.away", cluster=self._cluster, reason=str(error))
        await self._note(Connectivity.RETRYING, since=since.isoformat(), reason=str(error))
        rows = await asyncio.to_thread(self._store.units_on, self._cluster)
        unknown = [
            (
                Claimed(deployment, row.app),
                [Sighting(key=o.key, ready=Ready.UNKNOWN, message=told) for o in row.objects],
            )
            for deployment, row in rows
        ]
        await asyncio.to_thread(self._store.observe, self._cluster, unknown)

    async def _note(self, connectivity: Connectivity, since: str = "", reason: str = "") -> None:
        facts = {"connectivity": connectivity, "since": since, "reason": reason}
        await asyncio.to_thread(self._store.put_facts, self._at, facts)
