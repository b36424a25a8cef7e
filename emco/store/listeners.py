"""How far each listener is, what it did not take, and the last attempts to tell it something."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Connection, Table, delete, insert, select, update

from emco.domain.errors import NotFound
from emco.domain.events import Event
from emco.domain.kinds.fleet import Cluster, ClusterLabel
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.kinds.tenancy import Project
from emco.domain.resource import Address
from emco.domain.secrets import revealed
from emco.domain.subscriptions import Attempt, DeadLetter, Labels, Listener, in_scope, matches
from emco.store import tables as t
from emco.store.blobs import Blobs
from emco.store.engine import Database
from emco.store.events import Events, extent, touch
from emco.store.reader import Reader, resource_id

ATTEMPTS_KEPT: Final = 100
DEAD_LETTERS_KEPT: Final = 1000

Change = Callable[[Listener], Listener]

_EVENTS: Final = TypeAdapter(list[Event])


@dataclass(frozen=True)
class Entry:
    """A change of one listener, with what was tried and what was given up."""

    address: Address
    change: Change
    attempts: Sequence[Attempt] = ()
    letters: Sequence[DeadLetter] = ()


class Listeners:
    """Rows that belong to one subscription and end with it."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._sealed = database, blobs

    def subscriptions(self) -> list[Address]:
        """Every subscription of every project, in path order."""
        with self._database.read() as connection:
            return [at for at, _ in Reader(connection).specs(StatusSubscription, None)]

    def subscription(self, address: Address) -> tuple[StatusSubscription, Listener] | None:
        """The subscription with its secrets, and how far it is; None when it is gone."""
        with self._database.read() as connection:
            stored = Reader(connection).lookup(address)
            document = connection.execute(
                select(t.listener.c.document)
                .join(t.resource, t.resource.c.id == t.listener.c.subscription)
                .where(t.resource.c.path == address.path)
            ).scalar()
        if stored is None or stored.file is None:
            return None
        spec = revealed(StatusSubscription, self._sealed.blob(stored.file))
        return spec, Listener.model_validate(document or {})

    def begin_listening(self, address: Address, log: Events) -> Listener:
        """Keep the state as it is now for a listener that begins, and where the log goes on; once."""
        found = self.subscription(address)
        if found is None or found[1].cursor is not None:
            return found[1] if found else Listener()
        spec, project = found[0], address.ancestor(StatusSubscription, Project).name
        labels = self.cluster_labels()

        def wanted(event: Event) -> bool:
            return in_scope(spec, project, event) and matches(spec.criteria, event, labels)

        now, events = log.standing(project, wanted=wanted)
        snapshot = ""
        if spec.snapshot and events:
            snapshot = self._sealed.put_blob(_EVENTS.dump_json(events, by_alias=True))

        def begin(listener: Listener) -> Listener:
            if listener.cursor is not None:
                return listener
            return listener.model_copy(update={"cursor": now.last, "snapshot": snapshot})

        return self.change_listener(address, begin)

    def snapshot_of(self, listener: Listener) -> list[Event]:
        """What is left to tell of the state in which it began."""
        if not listener.snapshot:
            return []
        events = _EVENTS.validate_json(self._sealed.blob(listener.snapshot))
        return events[listener.snapshot_told :]

    def change_listener(
        self, address: Address, change: Change, *, by_others: bool = False
    ) -> Listener:
        """Read, change and write in one transaction; `NotFound` without the subscription.

        `by_others` tells whoever works for the listener to look again.
        """

        def work(connection: Connection) -> Listener:
            changed = _change(connection, resource_id(connection, address), change)
            if by_others:
                touch(connection)
            return changed

        return self._database.write(work)

    def change_listeners(self, entries: Sequence[Entry]) -> tuple[list[Listener | None], int]:
        """The same for many in one transaction, with what was tried and what was given up.

        Returns each listener as it is then, None where the subscription is gone, and
        `Extent.touched`.
        """

        def work(connection: Connection) -> tuple[list[Listener | None], int]:
            places = sorted(range(len(entries)), key=lambda place: entries[place].address)
            found: list[Listener | None] = [None] * len(entries)
            for place in places:  # in one order, or two workers would wait for each other
                entry = entries[place]
                with suppress(NotFound):
                    owner = resource_id(connection, entry.address)
                    found[place] = _change(connection, owner, entry.change)
                    _keep(connection, t.delivery, owner, entry.attempts, ATTEMPTS_KEPT)
                    _keep(connection, t.dead_letter, owner, entry.letters, DEAD_LETTERS_KEPT)
            return found, extent(connection).touched

        return self._database.write(work)

    def touch_subscriptions(self) -> None:
        """Tell whoever works for listeners that a subscription was written or deleted."""
        self._database.write(touch)

    def attempts(self, address: Address) -> list[Attempt]:
        """The last ones, newest first; `NotFound` without the subscription."""
        return [Attempt.model_validate(d) for d in self._newest(t.delivery, address)]

    def dead_letters(self, address: Address) -> list[DeadLetter]:
        """What was given up, newest first; `NotFound` without the subscription."""
        return [DeadLetter.model_validate(d) for d in self._newest(t.dead_letter, address)]

    def cluster_labels(self) -> Labels:
        """The labels of every cluster that has any."""
        found: dict[str, set[str]] = {}
        with self._database.read() as connection:
            for at, spec in Reader(connection).specs(ClusterLabel, None):
                cluster = "+".join(at.ancestor(ClusterLabel, Cluster).names(Cluster))
                found.setdefault(cluster, set()).add(spec.cluster_label)
        return {cluster: frozenset(labels) for cluster, labels in found.items()}

    def _newest(self, table: Table, address: Address) -> list[Any]:
        with self._database.read() as connection:
            Reader(connection).get(address)
            rows = connection.execute(
                select(table.c.document)
                .join(t.resource, t.resource.c.id == table.c.subscription)
                .where(t.resource.c.path == address.path)
                .order_by(table.c.number.desc())
            )
            return list(rows.scalars())


def _change(connection: Connection, owner: int, change: Change) -> Listener:
    mine = t.listener.c.subscription == owner
    document = connection.execute(
        select(t.listener.c.document).where(mine).with_for_update()
    ).scalar()
    changed = change(Listener.model_validate(document or {}))
    values = {"document": changed.model_dump(mode="json")}
    if document is None:
        connection.execute(insert(t.listener).values(subscription=owner, **values))
    else:
        connection.execute(update(t.listener).where(mine).values(**values))
    return changed


def _keep(
    connection: Connection,
    table: Table,
    owner: int,
    rows: Sequence[Attempt] | Sequence[DeadLetter],
    most: int,
) -> None:
    """Add rows; the oldest beyond `most` go."""
    if not rows:
        return
    connection.execute(
        insert(table),
        [{"subscription": owner, "document": row.model_dump(mode="json")} for row in rows],
    )
    mine = table.c.subscription == owner
    doomed = (
        select(table.c.number).where(mine).order_by(table.c.number.desc()).offset(most).limit(1)
    )
    if (oldest := connection.execute(doomed).scalar()) is not None:
        connection.execute(delete(table).where(mine, table.c.number <= oldest))
