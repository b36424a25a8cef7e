"""Subscriptions' workflows as the API sees them, remembered instead of run."""

from activities.notices import all as _every_sink  # noqa: F401  defines the sinks
from api.listeners import Listeners
from emco.domain.errors import Unavailable
from emco.domain.resource import Address


class RecordedListeners(Listeners):
    """Remembers who was woken; `failure` is what a test event comes to."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start over."""
        self.woken: list[Address] = []
        self.failure = ""
        self.silent = False

    async def wake(self, subscription: Address) -> None:
        if self.silent:
            raise Unavailable("Temporal is unavailable", "127.0.0.1:7233: connection refused")
        self.woken.append(subscription)

    async def test(self, subscription: Address) -> str:
        return self.failure
