"""What one app may wait for in another: the words of a dependency, shared by kinds, plans and workflows."""

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

MAX_WAIT_SECONDS: Final = 4096
MAX_TIMEOUT_SECONDS: Final = 7 * 86400
MAX_STABLE_SECONDS: Final = 86400


class Condition(StrEnum):
    """EMCO's `opStatus`: what the needed app must have reached."""

    DEPLOYED = "Deployed"
    """Every object is applied, and the hooks after that are done."""
    READY = "Ready"
    """Every object is ready as well."""


class Scope(StrEnum):
    """Which copies of the needed app count."""

    ALL = "all"
    """Those on every cluster."""
    SAME_CLUSTER = "same-cluster"
    """The one beside it; where there is none beside it, all of them."""


class OnTimeout(StrEnum):
    """What becomes of an app that has waited too long."""

    FAIL = "fail"
    PROCEED = "proceed"


class Dependency(BaseModel):
    """`app` starts when `needs` has reached `condition`, and `wait` seconds after that.

    `timeout` and `stable_for` are seconds; zero means none. `stable_for` asks that the needed app
    has been ready for so long without a break.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    app: str
    needs: str
    condition: Condition = Condition.READY
    wait: int = 0
    scope: Scope = Scope.ALL
    timeout: int = 0
    on_timeout: OnTimeout = OnTimeout.FAIL
    stable_for: int = 0

    def __str__(self) -> str:
        steady = f" for {self.stable_for} s" if self.stable_for else ""
        delay = f" + {self.wait} s" if self.wait else ""
        where = " on the same cluster" if self.scope is Scope.SAME_CLUSTER else ""
        return f"{self.needs} {self.condition}{steady}{where}{delay}"
