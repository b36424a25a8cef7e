"""The port through which the API moves deployments; what is behind it is wired in `emco.main`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from emco.domain.lifecycle import OnBusy, Verb
from emco.domain.resource import Address


@dataclass(frozen=True)
class Asked:
    """What comes with a verb. `revision` is for a rollback, `target` for a migrate."""

    on_busy: OnBusy = OnBusy.REFUSE
    plan_digest: str = ""
    revision: int = 0
    target: Address | None = None
    who: str = ""
    why: str = ""


@dataclass(frozen=True)
class Accepted:
    """An operation that was accepted, or that waits for its turn."""

    operation: str
    revision: int = 0
    queued: bool = False


class Operations(ABC):
    """Asks for operations on deployments and returns when they were accepted and recorded.

    Every method raises `Unavailable` when nobody answers; after that it is not known whether the
    operation was accepted.
    """

    @abstractmethod
    async def ask(self, verb: Verb, deployment: Address, asked: Asked) -> Accepted:
        """Ask for a verb; what refuses it is raised, `Conflict` most of the time."""

    @abstractmethod
    async def preview(self, deployment: Address, revision: int = 0) -> str:
        """The digest of a report that says what an update, or a rollback, would do."""

    @abstractmethod
    async def policies_changed(self, deployment: Address) -> None:
        """Tell the deployment's workflow, if one is open."""

    @abstractmethod
    async def dependencies_changed(self, deployment: Address) -> None:
        """The same, when what its apps wait for was changed."""

    @abstractmethod
    async def check(self) -> None:
        """Return if operations could be asked for now; `Unavailable` says what does not answer."""
