"""The words of health, and the few looks at an object that every rule needs."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

Live = Mapping[str, Any]


class Verdict(StrEnum):
    """What can be said of one object."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"


class Health(BaseModel):
    """A verdict with the object's own reason and message."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reason: str = ""
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """True when nothing more is expected to happen."""
        return self.verdict is Verdict.CURRENT

    @property
    def told(self) -> str:
        """Reason and message in one line."""
        return ": ".join(part for part in (self.reason, self.message) if part)


Rule = Callable[[Live], Health]
Rules = Mapping[tuple[str, str], Rule]
"""By API group and kind."""

CURRENT: Final = Health(verdict=Verdict.CURRENT)
NOT_OBSERVED: Final = Health(
    verdict=Verdict.IN_PROGRESS,
    reason="NotObserved",
    message="its controller has not seen the latest change yet",
)


def progress(reason: str, message: str) -> Health:
    """Not there yet."""
    return Health(verdict=Verdict.IN_PROGRESS, reason=reason, message=message)


def failed(reason: str, message: str = "") -> Health:
    """It will never be current by itself."""
    return Health(verdict=Verdict.FAILED, reason=reason, message=message)


def group_of(live: Live) -> str:
    """`apps` of `apps/v1`; empty for the core group."""
    return str(live.get("apiVersion", "")).rpartition("/")[0]


def status_of(live: Live) -> Mapping[str, Any]:
    """Its status, empty while nobody has written one."""
    return live.get("status") or {}


def spec_of(live: Live) -> Mapping[str, Any]:
    """Its spec."""
    return live.get("spec") or {}


def conditions_of(holder: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of a status, or of a part of one, by type."""
    found = holder.get("conditions") or []
    return {c.get("type", ""): c for c in found if isinstance(c, dict)}


def stands(condition: Mapping[str, Any] | None, value: str) -> bool:
    """True when the condition is there and says so: "True", "False" or "Unknown"."""
    return condition is not None and condition.get("status") == value


def as_told(condition: Mapping[str, Any], fallback: str) -> Health:
    """Not there yet, in the words of a condition."""
    return progress(condition.get("reason") or fallback, condition.get("message") or "")


def as_failed(condition: Mapping[str, Any], fallback: str) -> Health:
    """Failed, in the words of a condition."""
    return failed(condition.get("reason") or fallback, condition.get("message") or "")


def is_behind(live: Live, holder: Mapping[str, Any]) -> bool:
    """True when what holds an `observedGeneration` is about an earlier generation of the object."""
    observed = str(holder.get("observedGeneration", ""))  # Istio writes its numbers as strings
    generation: int = live.get("metadata", {}).get("generation", 0)
    return observed.isdigit() and int(observed) < generation
