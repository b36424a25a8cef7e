"""Content negotiation: quality, wildcards, and clients without an opinion."""

import pytest

from api.accept import acceptable

OFFERS = ("application/json", "application/octet-stream", "multipart/form-data")


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("multipart/*", "multipart/form-data"),
        ("Application/Octet-Stream", "application/octet-stream"),
        ("application/json;q=0.1, application/octet-stream", "application/octet-stream"),
        ("application/octet-stream;q=0.2, */*;q=0.1", "application/octet-stream"),
        ("application/json;q=0, */*", "application/octet-stream"),
        ("text/html", None),
        ("*/*;q=0", None),
        ("application/json;q=x", None),
        (",;,", None),
    ],
)
def test_the_best_offer_is_taken(accept: str | None, best: str | None) -> None:
    assert acceptable(accept, OFFERS) == best
