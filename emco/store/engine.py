"""Connections and transactions: how SQLite and PostgreSQL are made to behave alike.

A write transaction holds the SQLite write lock from its first statement, so that what it read
is still true when it writes; on PostgreSQL row locks and foreign keys do that. Transactions that
lose a race are run again from the start.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from emco.domain.errors import Conflict, Unavailable

T = TypeVar("T")

ATTEMPTS: Final = 8
BUSY_SECONDS: Final = 30
_RETRIED_STATES: Final = frozenset({"40001", "40P01"})


class Database:
    """One database; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        # SQLite has one writer; threads that wait for it here do not have to poll its lock file.
        self._writing: AbstractContextManager[object] = (
            threading.Lock() if self.is_sqlite else nullcontext()
        )
        self.engine: Engine = create_engine(url, **({} if self.is_sqlite else _POSTGRESQL))
        if self.is_sqlite:
            event.listen(self.engine, "connect", _tune_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction, again when it loses a race; returns its result.

        A constraint that the database refuses is one more reason to run again: the second look
        finds what stands in the way and names it.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._writing, self.engine.begin() as connection:
                    return work(connection)
            except IntegrityError as error:
                if attempt == ATTEMPTS:
                    raise Conflict(
                        "The database refuses the change", "others keep changing the same resources"
                    ) from error
            except DBAPIError as error:
                if not _lost_a_race(error):
                    raise _away(error) from error
                if attempt == ATTEMPTS:
                    raise Unavailable("The database is too busy", "try again") from error
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 — jitter, not secrecy
        raise AssertionError("unreachable")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction that sees one consistent picture."""
        options: dict[str, Any] = {"emco_read": True}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with (
                self.engine.connect().execution_options(**options) as connection,
                connection.begin(),
            ):
                yield connection
        except OperationalError as error:
            raise _away(error) from error


_POSTGRESQL: Final[dict[str, Any]] = {
    "pool_pre_ping": True,
    "pool_size": 10,
    "max_overflow": 20,
    "connect_args": {"connect_timeout": 5},
}


def _tune_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are ours to begin, see _begin_sqlite
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("emco_read")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _lost_a_race(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", "") or ""
    return state in _RETRIED_STATES or name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _away(error: DBAPIError) -> Exception:
    if isinstance(error, OperationalError):
        return Unavailable("The database does not answer", type(error.orig).__name__)
    return error
