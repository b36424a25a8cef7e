"""Operations, revisions, previews and leases: what was asked of a deployment, and what that holds."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from emco.domain.errors import Conflict, NotFound
from emco.domain.history import OperationRow, PreviewRow, RevisionRow
from emco.domain.lifecycle import Lifecycle
from emco.domain.resource import Address
from emco.store import tables as t
from emco.store.deployments import change_lifecycle
from emco.store.engine import Database
from emco.store.events import tell_lifecycle
from emco.store.reader import resource_id

OPERATIONS_KEPT: Final = 200
PREVIEWS_KEPT: Final = 20

Change = Callable[[Lifecycle], Lifecycle]


class History:
    """Rows that belong to one deployment and end with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- operations -----------------------------------------------------------------------------

    def begin_operation(
        self,
        deployment: Address,
        change: Change,
        row: Callable[[Lifecycle], OperationRow],
        *,
        plan: str = "",
    ) -> Lifecycle:
        """Accept an operation: lifecycle, history and, where it is decided already, its plan.

        What `change` raises leaves no trace. An operation that began already is left as it is.
        """

        def work(connection: Connection) -> Lifecycle:
            life = change_lifecycle(connection, deployment, change)
            owner = resource_id(connection, deployment)
            put_operation(connection, owner, row(life))
            if plan:
                _record_plan(connection, owner, life.operation, plan)
            return life

        return self._database.write(work)

    def note_operation(self, deployment: Address, row: OperationRow) -> None:
        """Add an operation that waits for its turn, or replace what is known of one."""
        self._database.write(
            lambda connection: put_operation(connection, resource_id(connection, deployment), row)
        )

    def end_operation(
        self, deployment: Address, operation: str, change: Change, row: OperationRow | None
    ) -> Lifecycle:
        """Close an operation: lifecycle, history, and the leases that it held."""

        def work(connection: Connection) -> Lifecycle:
            life = change_lifecycle(connection, deployment, change)
            owner = resource_id(connection, deployment)
            if row is not None:
                put_operation(connection, owner, row)
            connection.execute(
                delete(t.lease).where(
                    t.lease.c.deployment == owner, t.lease.c.operation == operation
                )
            )
            return life

        return self._database.write(work)

    def operation(self, deployment: Address, operation: str) -> OperationRow | None:
        """What is known of one operation, or None."""
        with self._database.read() as connection:
            document = connection.execute(
                select(t.operation.c.document)
                .join(t.resource, t.resource.c.id == t.operation.c.deployment)
                .where(t.resource.c.path == deployment.path, t.operation.c.id == operation)
            ).scalar()
        return None if document is None else OperationRow.model_validate(document)

    def operations(self, deployment: Address) -> list[OperationRow]:
        """The last operations, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.operation.c.document)
                .join(t.resource, t.resource.c.id == t.operation.c.deployment)
                .where(t.resource.c.path == deployment.path)
                .order_by(t.operation.c.number.desc())
                .limit(OPERATIONS_KEPT)
            ).scalars()
            return [OperationRow.model_validate(row) for row in rows]

    # -- revisions ------------------------------------------------------------------------------

    def record_revision(self, deployment: Address, row: RevisionRow, *, keep: int) -> None:
        """Add a revision, once; the oldest beyond `keep` go, but never what is in effect."""

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            mine = t.revision.c.deployment == owner
            known = connection.execute(
                select(t.revision.c.number).where(mine, t.revision.c.number == row.number)
            ).first()
            # A revision whose operation touched nothing gave its number back.
            if known is not None:
                connection.execute(
                    delete(t.revision).where(mine, t.revision.c.number == row.number)
                )
            connection.execute(
                insert(t.revision).values(
                    deployment=owner,
                    number=row.number,
                    digest=row.digest,
                    document=row.model_dump(mode="json"),
                )
            )
            life = connection.execute(
                select(t.lifecycle.c.document).where(t.lifecycle.c.resource == owner)
            ).scalar_one()
            in_effect = Lifecycle.model_validate(life).effective_revision
            numbers = list(
                connection.execute(
                    select(t.revision.c.number).where(mine).order_by(t.revision.c.number.desc())
                ).scalars()
            )
            if doomed := [n for n in numbers[keep:] if n != in_effect]:
                connection.execute(delete(t.revision).where(mine, t.revision.c.number.in_(doomed)))

        self._database.write(work)

    def revisions(self, deployment: Address) -> list[RevisionRow]:
        """All that are kept, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.revision.c.document)
                .join(t.resource, t.resource.c.id == t.revision.c.deployment)
                .where(t.resource.c.path == deployment.path)
                .order_by(t.revision.c.number)
            ).scalars()
            return [RevisionRow.model_validate(row) for row in rows]

    def revision(self, deployment: Address, number: int) -> RevisionRow:
        """One revision; `NotFound` with EMCO's text, and the numbers there are."""
        kept = self.revisions(deployment)
        for row in kept:
            if row.number == number:
                return row
        there = ", ".join(str(row.number) for row in kept) or "none"
        raise NotFound(
            "No matching ContextId found",
            f"{deployment} has no revision {number}; there are: {there}",
        )

    # -- previews -------------------------------------------------------------------------------

    def put_preview(self, deployment: Address, row: PreviewRow) -> None:
        """Remember what was shown; the oldest go."""

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            mine = t.preview.c.deployment == owner
            connection.execute(delete(t.preview).where(mine, t.preview.c.digest == row.digest))
            connection.execute(
                insert(t.preview).values(
                    deployment=owner,
                    digest=row.digest,
                    plan=row.plan,
                    report=row.report,
                    created=datetime.now(UTC),
                    document=row.model_dump(mode="json"),
                )
            )
            digests = list(
                connection.execute(
                    select(t.preview.c.digest).where(mine).order_by(t.preview.c.created.desc())
                ).scalars()
            )
            if doomed := digests[PREVIEWS_KEPT:]:
                connection.execute(delete(t.preview).where(mine, t.preview.c.digest.in_(doomed)))

        self._database.write(work)

    def preview(self, deployment: Address, digest: str) -> PreviewRow:
        """What was shown under that digest; `Conflict` when there is no such plan any more."""
        with self._database.read() as connection:
            document = connection.execute(
                select(t.preview.c.document)
                .join(t.resource, t.resource.c.id == t.preview.c.deployment)
                .where(t.resource.c.path == deployment.path, t.preview.c.digest == digest)
            ).scalar()
        if document is None:
            raise Conflict(
                "There is no such plan", f"{deployment} has no plan {digest}; ask for a new one"
            )
        return PreviewRow.model_validate(document)

    # -- leases ---------------------------------------------------------------------------------

    def lease(self, deployment: Address, operation: str, used: Iterable[Address]) -> list[Address]:
        """Hold what an operation uses until it ends; returns what is not there any more."""

        def work(connection: Connection) -> list[Address]:
            owner = resource_id(connection, deployment)
            connection.execute(delete(t.lease).where(t.lease.c.deployment == owner))
            missing = []
            for address in sorted(set(used)):
                row = connection.execute(
                    select(t.resource.c.id).where(t.resource.c.path == address.path)
                ).first()
                if row is None:
                    missing.append(address)
                    continue
                connection.execute(
                    insert(t.lease).values(deployment=owner, resource=row.id, operation=operation)
                )
            return missing

        return self._database.write(work)

    # -- migration ------------------------------------------------------------------------------

    def hand_over(
        self,
        source: Address,
        target: Address,
        change: Callable[[Lifecycle, Lifecycle], tuple[Lifecycle, Lifecycle]],
        row: OperationRow,
    ) -> Lifecycle:
        """Give everything of `source` to `target` in one transaction; the target's new record.

        Footprint, units, releases, plans and revisions move. A revision number that the target had from an
        earlier life names the source's revision from now on.
        """

        def work(connection: Connection) -> Lifecycle:
            old, new = resource_id(connection, source), resource_id(connection, target)
            records: dict[int, Lifecycle] = {}
            for owner in sorted((old, new)):
                document = connection.execute(
                    select(t.lifecycle.c.document)
                    .where(t.lifecycle.c.resource == owner)
                    .with_for_update()
                ).scalar_one()
                records[owner] = Lifecycle.model_validate(document)
            left, taken = change(records[old], records[new])
            for owner, record in ((old, left), (new, taken)):
                connection.execute(
                    update(t.lifecycle)
                    .where(t.lifecycle.c.resource == owner)
                    .values(document=record.model_dump(mode="json"))
                )
            _move(connection, old, new, target)
            put_operation(connection, old, row)
            put_operation(connection, new, row)
            tell_lifecycle(connection, source, records[old], left)
            tell_lifecycle(connection, target, records[new], taken)
            return taken

        return self._database.write(work)


def _move(connection: Connection, old: int, new: int, target: Address) -> None:
    left = connection.execute(
        select(t.footprint.c.app).where(t.footprint.c.deployment == new)
    ).first()
    if left is not None:
        raise Conflict(
            "DeploymentIntentGroup has not completed terminating",
            f"{target} still has something on a cluster; wait until that is removed",
        )
    moved = select(t.revision.c.number).where(t.revision.c.deployment == old)
    connection.execute(
        delete(t.revision).where(t.revision.c.deployment == new, t.revision.c.number.in_(moved))
    )
    for table in (t.unit, t.release, t.hook):
        connection.execute(delete(table).where(table.c.deployment == new))
    for table in (t.footprint, t.unit, t.release, t.hook, t.plan, t.revision):
        connection.execute(update(table).where(table.c.deployment == old).values(deployment=new))


def put_operation(connection: Connection, owner: int, row: OperationRow) -> None:
    """Inside a transaction: add or replace one operation; the oldest go."""
    document = row.model_dump(mode="json")
    changed = connection.execute(
        update(t.operation)
        .where(t.operation.c.deployment == owner, t.operation.c.id == row.id)
        .values(document=document)
    )
    if changed.rowcount:
        return
    connection.execute(insert(t.operation).values(deployment=owner, id=row.id, document=document))
    numbers = list(
        connection.execute(
            select(t.operation.c.number)
            .where(t.operation.c.deployment == owner)
            .order_by(t.operation.c.number.desc())
            .offset(OPERATIONS_KEPT)
        ).scalars()
    )
    if numbers:
        connection.execute(delete(t.operation).where(t.operation.c.number.in_(numbers)))


def _record_plan(connection: Connection, owner: int, operation: str, digest: str) -> None:
    known = connection.execute(
        select(t.plan.c.digest).where(t.plan.c.deployment == owner, t.plan.c.operation == operation)
    ).first()
    if known is None:
        connection.execute(
            insert(t.plan).values(
                deployment=owner, operation=operation, digest=digest, created=datetime.now(UTC)
            )
        )
