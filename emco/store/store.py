"""The one way to persistent state: resources, blobs, and what is remembered of operations.

Synchronous; asynchronous callers thread it at their border. Every method is one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from emco.domain.kinds import all as _all_kinds  # noqa: F401 — rows name kinds, so all must be known
from emco.domain.kinds.delivery import Deployment, Policies
from emco.domain.resource import Address
from emco.store.blobs import Blobs
from emco.store.crypto import Keyring
from emco.store.deployments import Deployments
from emco.store.engine import Database
from emco.store.events import Events
from emco.store.following import Following
from emco.store.history import History
from emco.store.listeners import Listeners
from emco.store.migrate import migrate
from emco.store.reader import Reader
from emco.store.releases import Releases
from emco.store.resources import Resources


class Store(Resources, Deployments, Following, History, Releases, Events, Listeners, Blobs):
    """A database with the current schema, and the keys that open what is sealed in it."""

    def __init__(self, database: Database, keys: Keyring) -> None:
        Blobs.__init__(self, database, keys)
        Deployments.__init__(self, database)
        Following.__init__(self, database)
        History.__init__(self, database)
        Releases.__init__(self, database)
        Events.__init__(self, database)
        Listeners.__init__(self, database, self)
        Resources.__init__(self, database, self)

    @classmethod
    def open(cls, url: str, *, keys: Keyring, migrate_first: bool = True) -> Self:
        """Connect, and bring the schema up to date first unless told otherwise."""
        database = Database(url)
        if migrate_first:
            migrate(database)
        return cls(database, keys)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def file(self, address: Address) -> bytes | None:
        """The content of a resource's file, secret files included; None when it has none."""
        digest = self.get(address).file
        return None if digest is None else self.blob(digest)

    def policies(self, deployment: Address) -> Policies:
        """How the operations of a deployment are to behave, as it is described now."""
        spec = self.get(deployment).spec
        assert isinstance(spec, Deployment)  # noqa: S101 — the address says so
        return spec.in_force

    @contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """Several reads of one consistent picture."""
        with self._database.read() as connection:
            yield Reader(connection)
