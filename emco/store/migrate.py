"""Brings a database to the current schema; processes that start at once take turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from emco.store.engine import Database

_LOCK: Final = 0x656D636F
"""PostgreSQL's advisory lock for migrations: "emco" in ASCII."""


def migrate(database: Database) -> None:
    """Run every migration that is missing. Does nothing on a current schema."""
    with _locked(database) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    # On SQLite beginning the transaction takes the only write lock there is.
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection
