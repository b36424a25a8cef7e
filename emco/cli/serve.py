"""`emco api` and `emco worker`: one process each, for production."""

import asyncio
from collections.abc import Callable

import typer

from emco.domain.errors import EmcoError
from emco.settings import Settings


def api() -> None:
    """Serve the REST API.

    Needs a Temporal server (EMCO_TEMPORAL_ADDRESS) and a database (EMCO_DATABASE_URL; SQLite below
    EMCO_DATA without). Example:

        EMCO_DATABASE_URL=postgresql+psycopg://emco@db/emco emco api
    """
    from emco import log, main

    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    _run(lambda: main.run_api(settings))


def worker() -> None:
    """Carry out operations: serve Temporal's task queue.

    Start as many as you like; each needs the same database and keys as the API. Example:

        EMCO_TEMPORAL_ADDRESS=temporal:7233 emco worker
    """
    from emco import log, main

    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    _run(lambda: asyncio.run(main.run_worker(settings)))


def _run(serve: Callable[[], None]) -> None:
    try:
        serve()
    except EmcoError as error:
        typer.echo(f"{error.title}\n{error.detail}", err=True)
        raise typer.Exit(1) from None
