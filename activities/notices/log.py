"""Events as lines of the worker's log: for whoever collects those already."""

import logging
from collections.abc import Sequence
from typing import Final

import structlog

from emco.domain.events import Event, Severity
from emco.domain.notices import Sink, SinkSpec

log = structlog.get_logger("emco.notices")

_LEVELS: Final = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}


class Log(Sink, name="log"):
    """Needs nothing and never fails."""

    @classmethod
    def check(cls, spec: SinkSpec) -> None:
        """Whatever is given beside the type is not used."""

    async def send(self, events: Sequence[Event]) -> None:
        """One line for each event, at the level of its severity."""
        for event in events:
            log.log(_LEVELS[event.severity], "status.event", id=event.id, **event.wire())
