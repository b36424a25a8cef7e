"""What is remembered of operations: lifecycle, plans, the status projection and the footprint."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from emco.domain import events
from emco.domain.kinds.fleet import Cluster
from emco.domain.lifecycle import Lifecycle
from emco.domain.resource import Address
from emco.domain.status import Footprint, ObjectKey, Phase, UnitRow
from emco.store import tables as t
from emco.store.engine import Database
from emco.store.events import Telling, append, tell_lifecycle
from emco.store.reader import Reader, not_found


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

        What is new in them becomes events in the same transaction.
        """

        def work(connection: Connection) -> None:
            owners = {
                d: resource_id(connection, d) for d in {deployment for deployment, _ in units}
            }
            rows = {(owners[d], unit.cluster, unit.app): (d, unit) for d, unit in units}
            before = _locked_units(connection, rows)
            found = {key: events.news(before.get(key), unit) for key, (_, unit) in rows.items()}
            _upsert_all(
                connection,
                t.unit,
                [
                    {
                        "deployment": key[0],
                        "cluster": key[1],
                        "app": key[2],
                        "document": new.row.model_dump(mode="json"),
                    }
                    for key, new in sorted(found.items(), key=lambda item: item[0])
                ],
            )
            append(connection, [(rows[key][0], new.notes) for key, new in found.items()])

        self._database.write(work)

    def announce(self, deployment: Address, units: Sequence[UnitRow]) -> None:
        """Add rows for units that have none or one of another plan; others stay as they are.

        A unit that has on its cluster what the new plan wants there keeps how far it has come, and
        one that will be changed keeps what was applied last, so that nothing is applied twice.
        """

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            there = {
                (row.cluster, row.app): UnitRow.model_validate(row.document)
                for row in connection.execute(select(t.unit).where(t.unit.c.deployment == owner))
            }
            rows = [
                {
                    "deployment": owner,
                    "cluster": unit.cluster,
                    "app": unit.app,
                    "document": _announced(there.get((unit.cluster, unit.app)), unit).model_dump(
                        mode="json"
                    ),
                }
                for unit in units
                if (old := there.get((unit.cluster, unit.app))) is None or old.plan != unit.plan
            ]
            if rows:
                _upsert_all(connection, t.unit, rows)

        self._database.write(work)

    def units(self, deployment: Address) -> list[UnitRow]:
        """All units of a deployment, by cluster and app."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.unit.c.document)
                .join(t.resource, t.resource.c.id == t.unit.c.deployment)
                .where(t.resource.c.path == deployment.path)
                .order_by(t.unit.c.cluster, t.unit.c.app)
            ).scalars()
            return [UnitRow.model_validate(row) for row in rows]

    def drop_unit(self, deployment: Address, cluster: str, app: str) -> None:
        """Forget one unit; one that is not there is no error."""

        def work(connection: Connection) -> None:
            key = (resource_id(connection, deployment), cluster, app)
            gone = _locked_units(connection, [key])
            connection.execute(delete(t.unit).where(_UNIT_KEY.in_([key])))
            append(connection, [(deployment, events.farewell(row)) for row in gone.values()])

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
            rows = connection.execute(select(t.unit).where(t.unit.c.deployment == owner))
            told: list[Telling] = []
            for row in rows.all():
                unit = UnitRow.model_validate(row.document)
                if unit.phase is not Phase.RETRYING:
                    continue
                key = {"deployment": owner, "cluster": row.cluster, "app": row.app}
                if unit.applied:
                    calm = {"phase": Phase.READY, "message": "", "retry_at": None}
                    new = events.news(unit, unit.model_copy(update=calm))
                    document = new.row.model_dump(mode="json")
                    _upsert(connection, t.unit, key, {"document": document})
                    told.append((deployment, new.notes))
                elif not unit.manifest:
                    connection.execute(delete(t.unit).where(*_is(t.unit, key)))
                    told.append((deployment, events.farewell(unit)))
            append(connection, told)

        self._database.write(work)

    # -- footprint ------------------------------------------------------------------------------

    def claim(self, deployment: Address, footprints: Sequence[Footprint]) -> None:
        """Add to what may be on the clusters; objects claimed before stay claimed."""

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            for one in footprints:
                key = {
                    "deployment": owner,
                    "cluster": _cluster_id(connection, one.cluster),
                    "app": one.app,
                }
                old = connection.execute(
                    select(t.footprint.c.document).where(*_is(t.footprint, key))
                ).scalar()
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
                "cluster": _cluster_id(connection, cluster),
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
                "cluster": _cluster_id(connection, cluster),
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
        """What a cluster said of itself last."""

        def work(connection: Connection) -> None:
            _upsert(
                connection,
                t.fact,
                {"cluster": resource_id(connection, cluster)},
                {"document": facts},
            )

        self._database.write(work)

    def facts(self, cluster: Address) -> dict[str, Any] | None:
        """The same, or None when it never answered."""
        with self._database.read() as connection:
            found: dict[str, Any] | None = connection.execute(
                select(t.fact.c.document)
                .join(t.resource, t.resource.c.id == t.fact.c.cluster)
                .where(t.resource.c.path == cluster.path)
            ).scalar()
            return found


def resource_id(connection: Connection, address: Address) -> int:
    """The row of a resource; `NotFound` when there is none."""
    found = connection.execute(
        select(t.resource.c.id).where(
            t.resource.c.path == address.path, t.resource.c.kind == address.kind
        )
    ).scalar()
    if found is None:
        raise not_found(address)
    return int(found)


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


_UNIT_KEY = tuple_(t.unit.c.deployment, t.unit.c.cluster, t.unit.c.app)
UnitKey = tuple[int, str, str]


def _locked_units(connection: Connection, keys: Iterable[UnitKey]) -> dict[UnitKey, UnitRow]:
    """The rows that there are, held until the transaction ends: nobody else changes them meanwhile."""
    query = select(t.unit).where(_UNIT_KEY.in_(sorted(keys))).order_by(*_UNIT_KEY)
    return {
        (row.deployment, row.cluster, row.app): UnitRow.model_validate(row.document)
        for row in connection.execute(query.with_for_update())
    }


def _announced(old: UnitRow | None, new: UnitRow) -> UnitRow:
    if old is None:
        return new
    if old.applied and old.applied == new.manifest:
        return old.model_copy(update={"plan": new.plan, "manifest": new.manifest})
    return new.model_copy(update={"applied": old.applied, "told": old.told})


def _cluster_id(connection: Connection, name: str) -> int:
    return resource_id(connection, Address.of(Cluster, name.split("+", 1)))


def _is(table: Table, key: dict[str, Any]) -> list[Any]:
    return [table.c[column] == value for column, value in key.items()]


def _upsert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    insert_or = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = insert_or(table)
    keys = [column.name for column in table.primary_key]
    changes = {c.name: statement.excluded[c.name] for c in table.c if c.name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), rows)


def _upsert(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]
) -> None:
    changed = connection.execute(update(table).where(*_is(table, key)).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(table).values(**key, **values))
