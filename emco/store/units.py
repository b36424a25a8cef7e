"""Rows of the status projection inside a transaction: read with a lock, merged, written."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, Text, cast, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from emco.domain import events
from emco.domain.projection import merged
from emco.domain.resource import Address
from emco.domain.status import UnitRow
from emco.store import tables as t
from emco.store.events import append
from emco.store.reader import resource_id

UnitKey = tuple[Address, str, str]
"""Deployment, cluster, app."""

COLUMNS = (cast(t.unit.c.document, Text).label("document"), t.unit.c.observed)
"""What `as_unit` reads. The document comes as text: pydantic reads it several times as fast."""

KEYS_AT_ONCE = 1000
"""A statement takes so many keys; databases limit its parameters."""


def read_units(connection: Connection, keys: Sequence[UnitKey]) -> dict[UnitKey, UnitRow]:
    """Those of the units that are there, locked until the transaction ends."""
    found: dict[UnitKey, UnitRow] = {}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        wanted = [(d.path, cluster, app) for d, cluster, app in keys[start : start + KEYS_AT_ONCE]]
        rows = connection.execute(
            select(t.resource.c.kind, t.resource.c.path, t.unit.c.cluster, t.unit.c.app, *COLUMNS)
            .join(t.resource, t.resource.c.id == t.unit.c.deployment)
            .where(tuple_(t.resource.c.path, t.unit.c.cluster, t.unit.c.app).in_(wanted))
            .order_by(t.unit.c.deployment, t.unit.c.cluster, t.unit.c.app)
            .with_for_update(of=t.unit)
        )
        for row in rows:
            key = (Address(row.kind, row.path), row.cluster, row.app)
            found[key] = as_unit(row)
    return found


def as_unit(row: Row[Any]) -> UnitRow:
    """A unit of `COLUMNS`, or of the document alone: then without the live objects last seen."""
    if not (observed := getattr(row, "observed", None)):
        return UnitRow.model_validate_json(row.document)
    document = json.loads(row.document)
    for status, live in zip(document["objects"], observed, strict=True):
        status["observed"] = live
    return UnitRow.model_validate(document)


def put_units(connection: Connection, units: Iterable[tuple[Address, UnitRow]]) -> None:
    """Write rows, the last of a kind wins; of each object stays what was seen of it last."""
    latest = {(deployment, unit.cluster, unit.app): unit for deployment, unit in units}
    there = read_units(connection, list(latest))
    write_units(
        connection, there, {key: merged(there.get(key), unit) for key, unit in latest.items()}
    )


def write_units(
    connection: Connection,
    before: Mapping[UnitKey, UnitRow],
    after: Mapping[UnitKey, UnitRow],
) -> None:
    """Write rows as they are, as the last step of a transaction: what is new in them becomes events.

    `before` are those that are there, locked. `NotFound` when a deployment is gone.
    """
    owners = {d: resource_id(connection, d) for d in {deployment for deployment, _, _ in after}}
    found = {key: events.news(before.get(key), row) for key, row in after.items()}
    rows = [
        {
            "deployment": owners[deployment],
            "cluster": cluster,
            "app": app,
            "document": new.row.model_dump(
                mode="json", exclude_defaults=True, exclude={"objects": {"__all__": {"observed"}}}
            ),
            "observed": [status.observed for status in new.row.objects],
        }
        for (deployment, cluster, app), new in found.items()
    ]
    rows.sort(key=lambda row: (row["deployment"], row["cluster"], row["app"]))
    upsert_all(connection, t.unit, rows)
    append(connection, [(key[0], new.notes) for key, new in found.items()])


def drop_units(connection: Connection, gone: Mapping[UnitKey, UnitRow]) -> None:
    """Delete rows that are there, as the last step of a transaction: their end is told."""
    for deployment, cluster, app in gone:
        connection.execute(
            delete(t.unit).where(
                t.unit.c.deployment == resource_id(connection, deployment),
                t.unit.c.cluster == cluster,
                t.unit.c.app == app,
            )
        )
    append(connection, [(key[0], events.farewell(row)) for key, row in gone.items()])


def upsert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; one that is there is changed where it is more than its key."""
    insert_or = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = insert_or(table)
    keys = [column.name for column in table.primary_key]
    changes = {c.name: statement.excluded[c.name] for c in table.c if c.name not in keys}
    if changes:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    if rows:
        connection.execute(statement, rows)
