"""Writing resources: parents, references and rules are checked in the transaction that writes."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from emco.domain import clouds
from emco.domain.errors import (
    AlreadyExists,
    DanglingReference,
    InUse,
    Invalid,
    ParentNotFound,
    PreconditionFailed,
)
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.lifecycle import Action, Lifecycle, State
from emco.domain.resource import Address, Metadata, Resource, kind_named
from emco.domain.secrets import sealed_spec
from emco.store import tables as t
from emco.store.blobs import Blobs
from emco.store.engine import Database
from emco.store.model import Page, References, Stored
from emco.store.reader import Reader, as_stored, below, not_found

MANY = 10
"""How many obstacles an error names; the rest are counted."""


class Resources:
    """Create, replace, read, list and delete resources of every kind."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._blobs = database, blobs

    def create(
        self,
        address: Address,
        metadata: Metadata | None,
        spec: Resource,
        *,
        file: bytes | None = None,
    ) -> Stored:
        """Raises `AlreadyExists`, `ParentNotFound`, `DanglingReference`, or what the kind's check raises."""

        def work(connection: Connection) -> Stored:
            if Reader(connection).lookup(address) is not None:
                raise AlreadyExists(
                    f"{kind_named(address.kind).noun} already exists", f"{address} is there already"
                )
            return self._insert(connection, address, metadata, spec, file)

        return self._database.write(work)

    def replace(
        self,
        address: Address,
        metadata: Metadata | None,
        spec: Resource,
        *,
        file: bytes | None = None,
        if_match: int | None = None,
    ) -> tuple[Stored, bool]:
        """Create or replace; True when it was created. Without a `file` the old one stays.

        Raises as `create` does, and `PreconditionFailed` when `if_match` is not the generation.
        """

        def work(connection: Connection) -> tuple[Stored, bool]:
            reader = Reader(connection)
            old = reader.lookup(address)
            _match(old, if_match, address)
            if old is None:
                return self._insert(connection, address, metadata, spec, file), True
            if isinstance(old.spec, Deployment) and isinstance(spec, Deployment):
                life = reader.lifecycle(address)
                clouds.may_replace_deployment(life, address.name, old.spec, spec)
            targets = _targets(connection, address, spec)
            _check(connection, address, spec)
            changes: dict[str, Any] = {
                "metadata": _json(metadata),
                "spec": _json(spec),
                "generation": old.generation + 1,
                "updated": datetime.now(UTC),
            }
            content = self._content(spec, file, old.file)
            if content is not None:
                changes["file"] = self._blobs.put(connection, content)
            connection.execute(
                update(t.resource).where(t.resource.c.path == address.path).values(changes)
            )
            _refer(connection, _id(connection, address), targets)
            return reader.get(address), False

        return self._database.write(work)

    def get(self, address: Address) -> Stored:
        """One resource; `NotFound` with EMCO's text."""
        with self._database.read() as connection:
            return Reader(connection).get(address)

    def find(self, address: Address) -> Stored | None:
        """One resource, or None."""
        with self._database.read() as connection:
            return Reader(connection).lookup(address)

    def list(
        self,
        kind: type[Resource],
        under: Address | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page:
        """In path order; all of them without a `limit`. `NotFound` when `under` does not exist."""
        with self._database.read() as connection:
            if under is not None:
                Reader(connection).get(under)
            query = below(select(t.resource).where(t.resource.c.kind == kind.kind), under)
            if cursor is not None:
                query = query.where(t.resource.c.path > _path_of(cursor))
            query = query.order_by(t.resource.c.path)
            if limit is not None:
                query = query.limit(limit + 1)
            items = [as_stored(row) for row in connection.execute(query)]
        if limit is None or len(items) <= limit:
            return Page(items=items)
        return Page(items=items[:limit], cursor=_cursor_of(items[limit - 1].address.path))

    def delete(
        self, address: Address, *, if_match: int | None = None, dry_run: bool = False
    ) -> None:
        """Raises `InUse` naming children, referrers or clusters' contents; a dry run only looks."""

        def work(connection: Connection) -> None:
            reader = Reader(connection)
            old = reader.get(address)
            _match(old, if_match, address)
            _refuse_while_leased(connection, address)
            _refuse_while_live(reader, address)
            _refuse_while_used(connection, address)
            if not dry_run:
                gone = connection.execute(
                    delete(t.resource).where(t.resource.c.path == address.path)
                )
                if not gone.rowcount:  # another writer was faster
                    raise not_found(address)

        self._database.write(work)

    def references(self, address: Address) -> References:
        """Both directions, and the children; `NotFound` when there is no such resource."""
        with self._database.read() as connection:
            Reader(connection).get(address)
            return References(
                incoming=_incoming(connection, address),
                outgoing=_outgoing(connection, address),
                children=_children(connection, address),
            )

    def _insert(
        self,
        connection: Connection,
        address: Address,
        metadata: Metadata | None,
        spec: Resource,
        file: bytes | None,
    ) -> Stored:
        parent = _parent_id(connection, address)
        targets = _targets(connection, address, spec)
        _check(connection, address, spec)
        now = datetime.now(UTC)
        content = self._content(spec, file, None)
        row = connection.execute(
            insert(t.resource)
            .values(
                kind=address.kind,
                path=address.path,
                parent=parent,
                metadata=_json(metadata),
                spec=_json(spec),
                file=None if content is None else self._blobs.put(connection, content),
                generation=1,
                created=now,
                updated=now,
            )
            .returning(t.resource)
        ).one()
        _refer(connection, row.id, targets)
        if address.kind in (Deployment.kind, LogicalCloud.kind):
            first = Lifecycle(actions=(Action(state=State.CREATED, time=now),))
            connection.execute(
                insert(t.lifecycle).values(resource=row.id, document=first.model_dump(mode="json"))
            )
        return as_stored(row)

    def _content(self, spec: Resource, file: bytes | None, kept: str | None) -> bytes | None:
        """What is kept sealed beside the spec: its file, or the spec itself where that has secrets."""
        if not spec.wire.secret_spec:
            return file
        return sealed_spec(spec, self._blobs.blob(kept) if kept else None)


def _json(model: Metadata | Resource | None) -> Any:
    return None if model is None else model.model_dump(mode="json", by_alias=True)


def _id(connection: Connection, address: Address) -> int:
    found: int | None = connection.execute(
        select(t.resource.c.id).where(
            t.resource.c.path == address.path, t.resource.c.kind == address.kind
        )
    ).scalar()
    if found is None:
        raise not_found(address)
    return found


def _parent_id(connection: Connection, address: Address) -> int | None:
    kind = kind_named(address.kind)
    if kind.parent is None:
        return None
    parent = address.ancestor(kind, kind.parent)
    row = connection.execute(
        select(t.resource.c.id).where(t.resource.c.path == parent.path)
    ).first()
    if row is None:
        raise ParentNotFound(
            "Cannot perform requested operation. Parent resource not found",
            f"{parent} does not exist; create it first",
        )
    return int(row.id)


def _targets(connection: Connection, address: Address, spec: Resource) -> dict[str, int]:
    wanted = list(spec.references(address))
    found: dict[str, int] = {}
    for field, target in wanted:
        row = connection.execute(
            select(t.resource.c.id).where(
                t.resource.c.path == target.path, t.resource.c.kind == target.kind
            )
        ).first()
        if row is None:
            raise DanglingReference(
                f"{kind_named(target.kind).noun} not found",
                f"{field} of {address} refers to {target}, which does not exist; create it first",
            )
        found[field] = int(row.id)
    return found


def _refer(connection: Connection, source: int, targets: dict[str, int]) -> None:
    connection.execute(delete(t.reference).where(t.reference.c.source == source))
    if targets:
        rows = [{"source": source, "field": f, "target": target} for f, target in targets.items()]
        connection.execute(insert(t.reference), rows)


def _check(connection: Connection, address: Address, spec: Resource) -> None:
    kind = kind_named(address.kind)
    if kind.guarded_by is not None:
        guard = address.ancestor(kind, kind.guarded_by)
        connection.execute(
            select(t.resource.c.id).where(t.resource.c.path == guard.path).with_for_update()
        )
    spec.check(address, Reader(connection))


def _match(old: Stored | None, if_match: int | None, address: Address) -> None:
    if if_match is not None and (old is None or old.generation != if_match):
        now = "it does not exist" if old is None else f"its generation is {old.generation}"
        raise PreconditionFailed(
            "The resource was changed by somebody else",
            f"{address}: If-Match asks for generation {if_match}, but {now}; read it again",
        )


def _refuse_while_leased(connection: Connection, address: Address) -> None:
    if leases := _leases(connection, address):
        raise InUse(
            "Cannot delete while an operation uses it",
            f"{address} is used by {_some(leases)}; wait until that has ended, or stop it",
        )


def _refuse_while_used(connection: Connection, address: Address) -> None:
    if children := _children(connection, address):
        raise InUse(
            "Cannot delete parent without deleting child references first",
            f"{address} has {_some(c.path for c in children)}",
        )
    if incoming := _incoming(connection, address):
        raise InUse(
            "Cannot delete without deleting or updating referencing resources first",
            f"{address} is named by {_some(f'{at} ({field})' for field, at in incoming)}",
        )
    if users := _footprints(connection, address):
        raise InUse(
            "Cannot delete without deleting or updating referencing resources first",
            f"{_some(u.path for u in users)} may still have objects on {address}; terminate first",
        )


def _refuse_while_live(reader: Reader, address: Address) -> None:
    if address.kind == Deployment.kind:
        clouds.may_delete_deployment(reader.lifecycle(address), address.name)
    if address.kind == LogicalCloud.kind:
        clouds.may_delete_cloud(reader.lifecycle(address), address.name)


def _children(connection: Connection, address: Address) -> list[Address]:
    child, parent = t.resource.alias("child"), t.resource.alias("parent")
    rows = connection.execute(
        select(child.c.kind, child.c.path)
        .join(parent, child.c.parent == parent.c.id)
        .where(parent.c.path == address.path)
        .order_by(child.c.path)
    )
    return [Address(row.kind, row.path) for row in rows]


def _incoming(connection: Connection, address: Address) -> list[tuple[str, Address]]:
    source, target = t.resource.alias("source"), t.resource.alias("target")
    rows = connection.execute(
        select(t.reference.c.field, source.c.kind, source.c.path)
        .join(source, t.reference.c.source == source.c.id)
        .join(target, t.reference.c.target == target.c.id)
        .where(target.c.path == address.path)
        .order_by(source.c.path, t.reference.c.field)
    )
    return [(row.field, Address(row.kind, row.path)) for row in rows]


def _outgoing(connection: Connection, address: Address) -> list[tuple[str, Address]]:
    source, target = t.resource.alias("source"), t.resource.alias("target")
    rows = connection.execute(
        select(t.reference.c.field, target.c.kind, target.c.path)
        .join(source, t.reference.c.source == source.c.id)
        .join(target, t.reference.c.target == target.c.id)
        .where(source.c.path == address.path)
        .order_by(t.reference.c.field)
    )
    return [(row.field, Address(row.kind, row.path)) for row in rows]


def _footprints(connection: Connection, address: Address) -> list[Address]:
    cluster, user = t.resource.alias("cluster"), t.resource.alias("user")
    rows = connection.execute(
        select(user.c.kind, user.c.path)
        .distinct()
        .join(t.footprint, t.footprint.c.deployment == user.c.id)
        .join(cluster, t.footprint.c.cluster == cluster.c.id)
        .where(cluster.c.path == address.path)
        .order_by(user.c.path)
    )
    return [Address(row.kind, row.path) for row in rows]


def _leases(connection: Connection, address: Address) -> list[str]:
    used, user = t.resource.alias("used"), t.resource.alias("user")
    rows = connection.execute(
        select(user.c.path, t.lease.c.operation, t.lifecycle.c.document)
        .join(user, t.lease.c.deployment == user.c.id)
        .join(used, t.lease.c.resource == used.c.id)
        .join(t.lifecycle, t.lifecycle.c.resource == user.c.id)
        .where(used.c.path == address.path)
        .order_by(user.c.path)
    )
    return [f"the {r.document.get('verb')} {r.operation} of {r.path}" for r in rows]


def _some(names: Any) -> str:
    found: Sequence[str] = list(names)
    more = f" and {len(found) - MANY} more" if len(found) > MANY else ""
    return ", ".join(found[:MANY]) + more


def _cursor_of(path: str) -> str:
    return base64.urlsafe_b64encode(path.encode()).decode()


def _path_of(cursor: str) -> str:
    try:
        path = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
        if "\x00" in path:  # PostgreSQL takes none, and no path of ours has one
            raise ValueError
        return path
    except ValueError:
        raise Invalid(
            "Invalid cursor", "use the cursor of the page before, exactly as it was given"
        ) from None
