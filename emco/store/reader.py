"""Reading resources inside one transaction; snapshots, checks and the store itself share it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, select

from emco.domain.errors import NotFound
from emco.domain.lifecycle import Lifecycle
from emco.domain.resource import Address, Metadata, Resource, kind_named
from emco.store import tables as t
from emco.store.model import Stored

R = TypeVar("R", bound=Resource)


class Reader:
    """One consistent picture of the resources. Implements `emco.domain.resource.View`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, kind: type[R], at: Address) -> R | None:
        """The spec of one resource, or None."""
        stored = self.lookup(at)
        return stored.spec if stored and isinstance(stored.spec, kind) else None

    def lookup(self, at: Address) -> Stored | None:
        """One resource, or None."""
        row = self._connection.execute(_resources().where(t.resource.c.path == at.path)).first()
        return as_stored(row) if row is not None and row.kind == at.kind else None

    def get(self, at: Address) -> Stored:
        """One resource; `NotFound` with EMCO's text."""
        if (stored := self.lookup(at)) is None:
            raise not_found(at)
        return stored

    def specs(self, kind: type[R], under: Address | None) -> Sequence[tuple[Address, R]]:
        """All resources of `kind`, below `under` when given, in path order."""
        return [
            (stored.address, stored.spec)
            for stored in self.iterate(kind, under)
            if isinstance(stored.spec, kind)
        ]

    def iterate(self, kind: type[Resource], under: Address | None) -> Iterator[Stored]:
        """The same, whole."""
        query = below(_resources().where(t.resource.c.kind == kind.kind), under)
        for row in self._connection.execute(query.order_by(t.resource.c.path)):
            yield as_stored(row)

    def lifecycle(self, at: Address) -> Lifecycle:
        """The lifecycle record; an empty one for kinds without."""
        document = self._connection.execute(
            select(t.lifecycle.c.document)
            .join(t.resource, t.resource.c.id == t.lifecycle.c.resource)
            .where(t.resource.c.path == at.path)
        ).scalar()
        return Lifecycle.model_validate(document or {})


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


def _resources() -> Select[Any]:
    return select(t.resource)


def below(query: Select[Any], under: Address | None) -> Select[Any]:
    """Restrict to paths below `under`. A range, so that `_` and `%` in names mean nothing special."""
    if under is None:
        return query
    return query.where(t.resource.c.path > f"{under.path}/", t.resource.c.path < f"{under.path}0")


def as_stored(row: Row[Any]) -> Stored:
    """A row of `resource` as a value."""
    kind = kind_named(row.kind)
    return Stored(
        address=Address(row.kind, row.path),
        metadata=None if row.metadata is None else Metadata.model_validate(row.metadata),
        spec=kind.model_validate(row.spec),
        generation=row.generation,
        created=aware(row.created),
        updated=aware(row.updated),
        file=row.file,
    )


def aware(moment: datetime) -> datetime:
    """SQLite keeps no time zone; what we write is always UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def not_found(at: Address) -> NotFound:
    """EMCO's text and the path."""
    return NotFound(f"{kind_named(at.kind).noun} not found", f"there is no {at.path}")
