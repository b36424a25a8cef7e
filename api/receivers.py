"""Refusing a listener's address when it is written, as far as that can be told without resolving it."""

from emco.domain.errors import Forbidden, Invalid
from emco.domain.guard import Allowance, place_of
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Resource
from emco.domain.secrets import MASK
from emco.settings import Settings


def check_receiver(spec: Resource, settings: Settings) -> None:
    """Raise `Invalid` or `Forbidden` naming the field; other kinds than subscriptions are fine."""
    if not isinstance(spec, StatusSubscription) or spec.sink.address in ("", MASK):
        return
    field = "url" if spec.sink.url else "secretUrl"
    try:
        place_of(spec.sink.address, Allowance.parse(settings.notices_allow))
    except (Invalid, Forbidden) as error:
        raise type(error)("Invalid Input:", f"spec.sink.{field}: {error}") from None
