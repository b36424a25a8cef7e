"""Which of the media types we can send a client likes best (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence


def acceptable(accept: str | None, offers: Sequence[str]) -> str | None:
    """The best of `offers`, the first one when the client has no opinion, None when none will do."""
    if not accept or not accept.strip():
        return offers[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best, best_quality = None, 0.0
    for offer in offers:
        quality = _quality(offer, ranges)
        if quality > best_quality:
            best, best_quality = offer, quality
    return best


def _range(part: str) -> tuple[str, float]:
    media, *parameters = (p.strip().lower() for p in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media, float(value)
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that covers `offer`."""
    family = offer.split("/")[0]
    for pattern in (offer, f"{family}/*", "*/*"):
        for media, quality in ranges:
            if media == pattern:
                return quality
    return 0.0
