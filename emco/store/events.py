"""The event log: written in the transaction that changes what is told of, numbered without a hole.

Numbers come from one row that stays locked until the transaction ends. So they become visible in
order, and a reader of everything after its cursor never passes over one that is still being written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from emco.domain.errors import Forgotten
from emco.domain.events import Event, Note, progress_news, standing
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import Project
from emco.domain.lifecycle import Lifecycle
from emco.domain.names import short_name
from emco.domain.resource import Address, kind_named
from emco.domain.status import UnitRow
from emco.store import tables as t
from emco.store.engine import Database
from emco.store.reader import Reader

FORGOTTEN_AT_ONCE: Final = 1000

Telling = tuple[Address, Sequence[Note]]
"""Whose notes they are, and the notes."""


class Extent(NamedTuple):
    """The numbers of the log: the last one given, and the last one that is forgotten.

    `touched` grows with every change to a subscription, so that who follows the log hears of both.
    """

    last: int
    forgotten: int
    touched: int = 0


class Events:
    """Append, read and forget."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, owner: Address, *notes: Note) -> None:
        """Tell of something that happened to a deployment or a logical cloud; `NotFound` without it."""
        self._database.write(lambda connection: append(connection, [(owner, notes)]))

    def extent(self) -> Extent:
        """How far the log reaches; cheap enough to be asked many times a second."""
        with self._database.read() as connection:
            return extent(connection)

    def events(
        self, after: int, *, limit: int, project: str = "", deployment: str = ""
    ) -> list[Event]:
        """In order, of one project or deployment (short name) if told so.

        Raises `Forgotten` with the oldest number there is, when some after `after` are forgotten.
        """
        with self._database.read() as connection:
            require_kept(extent(connection), after)
            query = select(t.event).where(t.event.c.sequence > after)
            if project:
                query = query.where(t.event.c.project == project)
            if deployment:
                query = query.where(t.event.c.deployment == deployment)
            rows = connection.execute(query.order_by(t.event.c.sequence).limit(limit))
            return [_event(row.sequence, row.document) for row in rows]

    def standing(
        self, project: str, deployment: str = "", *, wanted: Callable[[Event], bool]
    ) -> tuple[Extent, list[Event]]:
        """The state as events, and how far the log reached then: go on after its last number."""
        with self._database.read() as connection:
            now = extent(connection)
            found: list[Event] = []
            for owner, notes in _standing(connection, project, deployment):
                whose = origin(Reader(connection), owner)
                for note in notes:
                    place = {"sequence": now.last, "snapshot": len(found) + 1}
                    event = Event.model_validate(
                        {**whose, **note.model_dump(), **place, "time": datetime.now(UTC)}
                    )
                    if wanted(event):
                        found.append(event)
            return now, found

    def sequence_at(self, time: datetime) -> int:
        """The number of the last event before `time`, or the last forgotten one."""
        with self._database.read() as connection:
            found = connection.execute(
                select(func.max(t.event.c.sequence)).where(t.event.c.time < time)
            ).scalar()
            return int(found) if found is not None else extent(connection).forgotten

    def forget_events(self, *, before: datetime, keep: int) -> int:
        """Forget some events that are older than `before` or not among the last `keep`; how many.

        A few at a time, so that writers never wait long: call again until it says 0.
        """

        def work(connection: Connection) -> int:
            old = connection.execute(
                select(func.max(t.event.c.sequence)).where(t.event.c.time < before)
            ).scalar()
            now = extent(connection)
            upto = min(max(old or 0, now.last - keep), now.forgotten + FORGOTTEN_AT_ONCE)
            if upto <= now.forgotten:
                return 0
            connection.execute(delete(t.event).where(t.event.c.sequence <= upto))
            connection.execute(
                update(t.event_log).where(t.event_log.c.forgotten < upto).values(forgotten=upto)
            )
            return upto - now.forgotten

        return self._database.write(work)


def append(connection: Connection, told: Iterable[Telling]) -> None:
    """Inside a transaction, as its last step: who writes events waits for the one before here."""
    now = datetime.now(UTC)
    events = [
        {**whose, **note.model_dump(mode="json", by_alias=True)}
        for owner, notes in told
        if notes and (whose := origin(Reader(connection), owner))
        for note in notes
    ]
    if not events:
        return
    last = connection.execute(
        update(t.event_log)
        .values(last=t.event_log.c.last + len(events))
        .returning(t.event_log.c.last)
    ).scalar_one()
    first = last - len(events) + 1
    connection.execute(
        insert(t.event),
        [
            {
                "sequence": sequence,
                "project": event["project"],
                "deployment": event["deployment"],
                "time": now,
                "document": {**event, "time": now.isoformat()},
            }
            for sequence, event in enumerate(events, first)
        ],
    )


def tell_lifecycle(
    connection: Connection, owner: Address, before: Lifecycle, after: Lifecycle
) -> None:
    """Inside a transaction: what a change of the lifecycle record tells."""
    append(connection, [(owner, progress_news(before, after))])


def extent(connection: Connection) -> Extent:
    """How far the log reaches, as this transaction sees it."""
    row = connection.execute(select(t.event_log)).one()
    return Extent(row.last, row.forgotten, row.touched)


def touch(connection: Connection) -> None:
    """Inside a transaction, as its last step: a subscription was changed."""
    connection.execute(update(t.event_log).values(touched=t.event_log.c.touched + 1))


def _standing(connection: Connection, project: str, deployment: str) -> Iterator[Telling]:
    view = Reader(connection)
    for owner, _ in view.specs(Deployment, Address.of(Project, [project])):
        if deployment in ("", short_name(owner)):
            life = view.lifecycle(owner)
            notes = progress_news(None, life) if life.progress else []
            for row in connection.execute(
                select(t.unit.c.document)
                .join(t.resource, t.resource.c.id == t.unit.c.deployment)
                .where(t.resource.c.path == owner.path)
                .order_by(t.unit.c.cluster, t.unit.c.app)
            ):
                notes += standing(UnitRow.model_validate(row.document))
            yield owner, notes


def require_kept(now: Extent, after: int) -> None:
    """Raise `Forgotten` when a reader that has everything up to `after` has missed some."""
    if after < now.forgotten:
        raise Forgotten(
            "Some of these events are forgotten",
            f"you have all up to {after}, the oldest there is now is {now.forgotten + 1}; "
            "look at the status, and go on from there",
        )


def origin(view: Reader, owner: Address) -> dict[str, Any]:
    """What every event says of whom it is about; `NotFound` when there is no such owner."""
    spec, life = view.get(owner).spec, view.lifecycle(owner)
    kind = kind_named(owner.kind)
    return {
        "project": owner.ancestor(kind, Project).name,
        "deployment": short_name(owner) if isinstance(spec, Deployment) else "",
        "logicalCloud": spec.logical_cloud if isinstance(spec, Deployment) else owner.name,
        "statusContextId": life.status_context_id,
        "revision": life.revision,
        "operation": life.operation,
    }


def _event(sequence: int, document: dict[str, Any]) -> Event:
    return Event.model_validate({**document, "sequence": sequence})
