"""Structured logs, one configuration for every process: JSON for machines, colours for terminals."""

import logging
import sys

import structlog


def configure(level: str = "INFO", style: str = "auto") -> None:
    """Route structlog and the standard library to stderr in one format.

    pyhelm3 logs whole command lines, so it is silenced below ERROR whatever the level.
    """
    console = sys.stderr.isatty() if style == "auto" else style == "console"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("pyhelm3").setLevel(logging.ERROR)
    for chatty in ("httpx", "temporalio.activity", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
