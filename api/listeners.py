"""The port through which the API reaches the workflows of subscriptions; wired in `emco.main`."""

from abc import ABC, abstractmethod

from emco.domain.resource import Address


class Listeners(ABC):
    """Both methods raise `Unavailable` when nobody answers."""

    @abstractmethod
    async def wake(self, subscription: Address) -> None:
        """Have the subscription looked at now: its workflow is started, or told, or ends with it."""

    @abstractmethod
    async def test(self, subscription: Address) -> str:
        """Tell the listener a test event; why it did not take it, empty when it did."""
