"""The port through which the API moves deployments; what is behind it is wired in `emco.main`."""

from abc import ABC, abstractmethod

from emco.domain.resource import Address


class Operations(ABC):
    """Asks for operations on deployments and returns when they were accepted and recorded.

    Every method raises `Conflict` when the operation is refused and `Unavailable` when nobody
    answers; after `Unavailable` it is not known whether the operation was accepted.
    """

    @abstractmethod
    async def instantiate(self, deployment: Address) -> None:
        """Bring the deployment up on its clusters."""

    @abstractmethod
    async def terminate(self, deployment: Address) -> None:
        """Remove the deployment from every cluster it was put on."""

    @abstractmethod
    async def check(self) -> None:
        """Return if operations could be asked for now; `Unavailable` says what does not answer."""
