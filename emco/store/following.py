"""What is followed on each cluster: which kinds, whose objects, and what was last seen of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from emco.domain.names import short_name
from emco.domain.projection import Sighting, sighted
from emco.domain.resource import Address
from emco.domain.status import NAMESPACE_CLAIM, UnitRow
from emco.store import tables as t
from emco.store.deployments import cluster_id
from emco.store.engine import Database
from emco.store.units import COLUMNS, as_unit, read_units, write_units

ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Claimed:
    """One app of a deployment on a cluster; `identity` names the deployment in its objects' marks."""

    deployment: Address
    app: str
    identity: str = ""

    @property
    def owner(self) -> str:
        """The deployment whose mark the objects carry: its own unless it was migrated."""
        return self.identity or short_name(self.deployment)


class Following:
    """Rows that a cluster's watch reads and writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def clusters_in_use(self) -> list[str]:
        """Every cluster, as `provider+cluster`, that a deployment may have something on."""
        with self._database.read() as connection:
            paths = connection.execute(
                select(t.resource.c.path)
                .join(t.footprint, t.footprint.c.cluster == t.resource.c.id)
                .distinct()
            ).scalars()
            return sorted("+".join(path.split("/")[1::2]) for path in paths)

    def kinds_in_use(self, cluster: str) -> list[tuple[str, str]]:
        """Every (apiVersion, kind) claimed on a cluster since it was last unused."""
        with self._database.read() as connection:
            columns = (t.kind_in_use.c.api_version, t.kind_in_use.c.kind)
            rows = connection.execute(
                select(*columns)
                .where(t.kind_in_use.c.cluster == cluster_id(connection, cluster))
                .order_by(*columns)
            )
            return [(row.api_version, row.kind) for row in rows]

    def namespaces_on(self, cluster: str) -> list[str]:
        """The namespaces of a cluster in which a deployment may have something."""
        with self._database.read() as connection:
            at = cluster_id(connection, cluster)
            column = t.footprint.c.namespace
            rows = connection.execute(
                select(column).distinct().where(t.footprint.c.cluster == at).order_by(column)
            )
            return list(rows.scalars())

    def forget_if_unused(self, cluster: str) -> bool:
        """True, and its kinds are forgotten, when no deployment has anything on the cluster."""
        with self._database.read() as connection:
            if _is_in_use(connection, cluster):
                return False

        def work(connection: Connection) -> bool:
            if _is_in_use(connection, cluster):
                return False
            at = cluster_id(connection, cluster)
            connection.execute(delete(t.kind_in_use).where(t.kind_in_use.c.cluster == at))
            return True

        return self._database.write(work)

    def claimed_on(self, cluster: str) -> list[Claimed]:
        """The apps that may have something on a cluster."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(
                    t.resource.c.kind,
                    t.resource.c.path,
                    t.footprint.c.app,
                    t.footprint.c.document["identity"].as_string().label("identity"),
                )
                .join(t.resource, t.resource.c.id == t.footprint.c.deployment)
                .where(
                    t.footprint.c.cluster == cluster_id(connection, cluster),
                    t.footprint.c.app != NAMESPACE_CLAIM,
                )
            )
            return [Claimed(Address(r.kind, r.path), r.app, r.identity or "") for r in rows]

    def units_on(self, cluster: str, *, observed: bool = False) -> list[tuple[Address, UnitRow]]:
        """The units of a cluster, of every deployment; with the live objects last seen if so asked."""
        columns = COLUMNS if observed else COLUMNS[:1]
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.resource.c.kind, t.resource.c.path, *columns)
                .join(t.resource, t.resource.c.id == t.unit.c.deployment)
                .where(t.unit.c.cluster == cluster)
                .order_by(t.resource.c.path, t.unit.c.app)
            )
            return [(Address(r.kind, r.path), as_unit(r)) for r in rows]

    def observe(
        self, cluster: str, seen: Sequence[tuple[Claimed, Sequence[Sighting]]]
    ) -> list[tuple[Claimed, Sequence[Sighting]]]:
        """Write what was seen of the objects of some units; returns those of units that are not there.

        Every `ROWS_AT_ONCE` units are one transaction. Only the objects' state and what follows
        from it for a unit at rest is written: all else of a row belongs to operations.
        """
        lost = []
        for start in range(0, len(seen), ROWS_AT_ONCE):
            lost += self._observe(cluster, seen[start : start + ROWS_AT_ONCE])
        return lost

    def _observe(
        self, cluster: str, seen: Sequence[tuple[Claimed, Sequence[Sighting]]]
    ) -> list[tuple[Claimed, Sequence[Sighting]]]:
        now = datetime.now(UTC)

        def work(connection: Connection) -> list[tuple[Claimed, Sequence[Sighting]]]:
            keys = [(claimed.deployment, cluster, claimed.app) for claimed, _ in seen]
            before = read_units(connection, keys)
            after = dict(before)
            for key, (_, sightings) in zip(keys, seen, strict=True):
                if key in after:
                    after[key] = sighted(after[key], sightings, now=now)
            changed = {key: row for key, row in after.items() if row != before[key]}
            write_units(connection, before, changed)
            return [one for key, one in zip(keys, seen, strict=True) if key not in before]

        return self._database.write(work)


def _is_in_use(connection: Connection, cluster: str) -> bool:
    at = cluster_id(connection, cluster)
    claimed = select(t.footprint.c.app).where(t.footprint.c.cluster == at).limit(1)
    return connection.execute(claimed).first() is not None
