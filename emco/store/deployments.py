"""What is remembered of operations: lifecycle, plans, the status projection and the footprint."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from emco.domain.kinds.fleet import Cluster
from emco.domain.lifecycle import Lifecycle
from emco.domain.projection import merged
from emco.domain.resource import Address
from emco.domain.status import Footprint, ObjectKey, Phase, UnitRow
from emco.store import tables as t
from emco.store import units as units_of
from emco.store.engine import Database
from emco.store.events import tell_lifecycle
from emco.store.reader import Reader, resource_id


class Deployments:
    """Rows that belong to one deployment (or cloud, or cluster) and end with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lifecycle(self, address: Address) -> Lifecycle:
        """The lifecycle record; `NotFound` when the resource does not exist."""
        with self._database.read() as connection:
            reader = Reader(connection)
            reader.get(address)
            return reader.lifecycle(address)

    def change_lifecycle(
        self, address: Address, change: Callable[[Lifecycle], Lifecycle]
    ) -> Lifecycle:
        """Read, change and write in one transaction; what `change` raises leaves no trace."""

        return self._database.write(
            lambda connection: change_lifecycle(connection, address, change)
        )

    # -- status projection ----------------------------------------------------------------------

    def put_unit(self, deployment: Address, unit: UnitRow) -> None:
        """Write one unit's row."""
        self.put_units([(deployment, unit)])

    def put_units(self, units: Sequence[tuple[Address, UnitRow]]) -> None:
        """Write many units' rows, of any deployments, in one transaction; the last of a kind wins.

        Of each object stays what was seen of it last, whoever saw it.
        """
        self._database.write(lambda connection: units_of.put_units(connection, units))

    def change_units(
        self, deployment: Address, change: Mapping[tuple[str, str], Callable[[UnitRow], UnitRow]]
    ) -> None:
        """Read, change and write rows, by (cluster, app), in one transaction; the rest stays."""

        def work(connection: Connection) -> None:
            keys = [(deployment, cluster, app) for cluster, app in change]
            there = units_of.read_units(connection, keys)
            after = {key: change[key[1:]](row) for key, row in there.items()}
            changed = {key: row for key, row in after.items() if row != there[key]}
            units_of.write_units(connection, there, changed)

        self._database.write(work)

    def announce(self, deployment: Address, units: Sequence[UnitRow]) -> None:
        """Add rows for units that have none or one of another plan; others stay as they are.

        A unit that has on its cluster what the new plan wants there keeps how far it has come, and
        one that will be changed keeps what was applied last, so that nothing is applied twice.
        """

        def work(connection: Connection) -> None:
            wanted = {(deployment, unit.cluster, unit.app): unit for unit in units}
            there = units_of.read_units(connection, list(wanted))
            rows = {
                key: _announced(there.get(key), unit)
                for key, unit in wanted.items()
                if (old := there.get(key)) is None or old.plan != unit.plan
            }
            units_of.write_units(connection, there, rows)

        self._database.write(work)

    def units(self, deployment: Address, *, observed: bool = True) -> list[UnitRow]:
        """All units of a deployment, by cluster and app; without the live objects last seen if so asked."""
        columns = units_of.COLUMNS if observed else units_of.COLUMNS[:1]
        with self._database.read() as connection:
            rows = connection.execute(
                select(*columns)
                .join(t.resource, t.resource.c.id == t.unit.c.deployment)
                .where(t.resource.c.path == deployment.path)
                .order_by(t.unit.c.cluster, t.unit.c.app)
            )
            return [units_of.as_unit(row) for row in rows]

    def move_unit(
        self,
        deployment: Address,
        cluster: str,
        app: str,
        phase: Phase,
        message: str = "",
        *,
        since: datetime | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        """Write how far one unit is, without touching its objects; one that has no row stays without.

        It waits for no other unit any more.
        """

        changes = {
            "phase": phase,
            "message": message,
            "since": since or datetime.now(UTC),
            "retry_at": retry_at,
            "awaits": (),
            "until": None,
        }
        self.change_units(deployment, {(cluster, app): lambda row: row.model_copy(update=changes)})

    def drop_unit(self, deployment: Address, cluster: str, app: str) -> None:
        """Forget one unit; one that is not there is no error."""

        def work(connection: Connection) -> None:
            units_of.drop_units(
                connection, units_of.read_units(connection, [(deployment, cluster, app)])
            )

        self._database.write(work)

    def forget_untouched(self, deployment: Address) -> None:
        """Nothing was touched: units and a revision that never came about go, the rest is as it was."""

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            document = connection.execute(
                select(t.lifecycle.c.document).where(t.lifecycle.c.resource == owner)
            ).scalar_one()
            connection.execute(
                delete(t.revision).where(
                    t.revision.c.deployment == owner,
                    t.revision.c.number > Lifecycle.model_validate(document).numbered,
                )
            )
            places = connection.execute(
                select(t.unit.c.cluster, t.unit.c.app).where(t.unit.c.deployment == owner)
            )
            there = units_of.read_units(connection, [(deployment, *place) for place in places])
            late = {key: row for key, row in there.items() if row.phase is Phase.RETRYING}
            calm = {"phase": Phase.READY, "message": "", "retry_at": None}
            units_of.put_units(
                connection,
                [(deployment, row.model_copy(update=calm)) for row in late.values() if row.applied],
            )
            units_of.drop_units(
                connection,
                {key: r for key, r in late.items() if not (r.applied or r.manifest)},
            )

        self._database.write(work)

    # -- footprint ------------------------------------------------------------------------------

    def claim(self, deployment: Address, footprints: Sequence[Footprint]) -> None:
        """Add to what may be on the clusters; objects claimed before stay claimed."""

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            for one in footprints:
                key = {
                    "deployment": owner,
                    "cluster": cluster_id(connection, one.cluster),
                    "app": one.app,
                }
                old = connection.execute(
                    select(t.footprint.c.document).where(*_is(t.footprint, key))
                ).scalar()
                kinds = {(o.api_version, o.kind) for o in one.objects}
                units_of.upsert_all(
                    connection,
                    t.kind_in_use,
                    [
                        {"cluster": key["cluster"], "api_version": api_version, "kind": kind}
                        for api_version, kind in sorted(kinds)
                    ],
                )
                objects = one.objects
                if old is not None:
                    before = Footprint.model_validate(old).objects
                    objects = (*before, *(o for o in objects if o not in set(before)))
                document = one.model_copy(update={"objects": objects}).model_dump(mode="json")
                _upsert(
                    connection, t.footprint, key, {"namespace": one.namespace, "document": document}
                )

        self._database.write(work)

    def keep_only(
        self, deployment: Address, cluster: str, app: str, objects: Sequence[ObjectKey]
    ) -> None:
        """No other objects of this unit are left on that cluster."""

        def work(connection: Connection) -> None:
            key = {
                "deployment": resource_id(connection, deployment),
                "cluster": cluster_id(connection, cluster),
                "app": app,
            }
            old = connection.execute(
                select(t.footprint.c.document).where(*_is(t.footprint, key)).with_for_update()
            ).scalar()
            if old is not None:
                kept = Footprint.model_validate(old).model_copy(update={"objects": tuple(objects)})
                connection.execute(
                    update(t.footprint)
                    .where(*_is(t.footprint, key))
                    .values(document=kept.model_dump(mode="json"))
                )

        self._database.write(work)

    def footprint(self, deployment: Address) -> list[Footprint]:
        """What may be on the clusters, by cluster and app."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.footprint.c.document)
                .join(t.resource, t.resource.c.id == t.footprint.c.deployment)
                .where(t.resource.c.path == deployment.path)
            ).scalars()
            found = [Footprint.model_validate(row) for row in rows]
        return sorted(found, key=lambda one: (one.cluster, one.app))

    def release(self, deployment: Address, cluster: str, app: str) -> None:
        """Nothing of this unit is left on that cluster; a second call changes nothing."""

        def work(connection: Connection) -> None:
            key = {
                "deployment": resource_id(connection, deployment),
                "cluster": cluster_id(connection, cluster),
                "app": app,
            }
            connection.execute(delete(t.footprint).where(*_is(t.footprint, key)))

        self._database.write(work)

    def namespace_users(self, cluster: Address, namespace: str) -> list[Address]:
        """The deployments that may have something in that namespace of that cluster."""
        where, user = t.resource.alias("where"), t.resource.alias("user")
        with self._database.read() as connection:
            rows = connection.execute(
                select(user.c.kind, user.c.path)
                .distinct()
                .join(t.footprint, t.footprint.c.deployment == user.c.id)
                .join(where, t.footprint.c.cluster == where.c.id)
                .where(where.c.path == cluster.path, t.footprint.c.namespace == namespace)
                .order_by(user.c.path)
            )
            return [Address(row.kind, row.path) for row in rows]

    # -- plans and facts ------------------------------------------------------------------------

    def record_plan(self, deployment: Address, operation: str, digest: str) -> str:
        """The plan of an operation: the one recorded first, which this call may be."""

        def work(connection: Connection) -> str:
            key = {"deployment": resource_id(connection, deployment), "operation": operation}
            first = connection.execute(select(t.plan.c.digest).where(*_is(t.plan, key))).scalar()
            if first is not None:
                return str(first)
            connection.execute(
                insert(t.plan).values(**key, digest=digest, created=datetime.now(UTC))
            )
            return digest

        return self._database.write(work)

    def plan_of(self, deployment: Address, operation: str) -> str | None:
        """The digest recorded for an operation, or None."""
        with self._database.read() as connection:
            found: str | None = connection.execute(
                select(t.plan.c.digest)
                .join(t.resource, t.resource.c.id == t.plan.c.deployment)
                .where(t.resource.c.path == deployment.path, t.plan.c.operation == operation)
            ).scalar()
            return found

    def put_facts(self, cluster: Address, facts: dict[str, Any]) -> None:
        """What a cluster said of itself last, or what was found of it; other facts stay."""

        def work(connection: Connection) -> None:
            key = {"cluster": resource_id(connection, cluster)}
            old = connection.execute(
                select(t.fact.c.document).where(*_is(t.fact, key)).with_for_update()
            ).scalar()
            _upsert(connection, t.fact, key, {"document": {**(old or {}), **facts}})

        self._database.write(work)

    def facts_of(self, clusters: Iterable[Address]) -> dict[Address, dict[str, Any]]:
        """What each of many clusters said of itself last; those that never answered are left out."""
        wanted = {cluster.path: cluster for cluster in clusters}
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.resource.c.path, t.fact.c.document)
                .join(t.resource, t.resource.c.id == t.fact.c.cluster)
                .where(t.resource.c.path.in_(wanted))
            )
            return {wanted[row.path]: row.document for row in rows}

    def facts(self, cluster: Address) -> dict[str, Any] | None:
        """The same, or None when it never answered."""
        with self._database.read() as connection:
            found: dict[str, Any] | None = connection.execute(
                select(t.fact.c.document)
                .join(t.resource, t.resource.c.id == t.fact.c.cluster)
                .where(t.resource.c.path == cluster.path)
            ).scalar()
            return found


def change_lifecycle(
    connection: Connection, address: Address, change: Callable[[Lifecycle], Lifecycle]
) -> Lifecycle:
    """Inside a transaction: read, change and write the record, with its row locked, and tell of it."""
    resource = resource_id(connection, address)
    row = connection.execute(
        select(t.lifecycle.c.document).where(t.lifecycle.c.resource == resource).with_for_update()
    ).scalar_one()
    before = Lifecycle.model_validate(row)
    changed = change(before)
    connection.execute(
        update(t.lifecycle)
        .where(t.lifecycle.c.resource == resource)
        .values(document=changed.model_dump(mode="json"))
    )
    tell_lifecycle(connection, address, before, changed)
    return changed


def _announced(old: UnitRow | None, new: UnitRow) -> UnitRow:
    if old is None:
        return new
    if old.applied and old.applied == new.manifest:
        return old.model_copy(update={"plan": new.plan, "manifest": new.manifest})
    return merged(old, new.model_copy(update={"applied": old.applied}))


def cluster_id(connection: Connection, name: str) -> int:
    """The row of a cluster given as `provider+cluster`; `NotFound` when there is none."""
    return resource_id(connection, Address.of(Cluster, name.split("+", 1)))


def _is(table: Table, key: dict[str, Any]) -> list[Any]:
    return [table.c[column] == value for column, value in key.items()]


def _upsert(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]
) -> None:
    changed = connection.execute(update(table).where(*_is(table, key)).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(table).values(**key, **values))
