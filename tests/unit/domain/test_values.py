"""Overrides mean what `helm --set` means, and lie above the profile's values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.errors import Invalid
from emco.domain.plan.values import effective, hidden, typed


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("a", "1", {"a": 1}),
        ("a.b.c", "x", {"a": {"b": {"c": "x"}}}),
        ("a[1]", "x", {"a": [None, "x"]}),
        ("a[0].b", "true", {"a": [{"b": True}]}),
        (r"a\.b/c", "x", {"a.b/c": "x"}),
        ("a", "{x,2}", {"a": ["x", 2]}),
        ("a", "{}", {"a": []}),
        ("a", "null", {"a": None}),
    ],
)
def test_a_path_is_set(key: str, text: str, expected: dict[str, Any]) -> None:
    assert effective({}, {key: text}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("007", "007"), ("1.5", "1.5"), ("-3", -3), ("True", "True"), ("a\\,b", "a,b"), ("", "")],
)
def test_types_are_guessed_as_helm_guesses(text: str, expected: object) -> None:
    assert typed(text) == expected


def test_overrides_lie_above_the_profile_and_keep_its_other_values() -> None:
    profile = {"image": {"tag": "v1", "pull": "Always"}, "list": [1, 2]}
    values = effective(profile, {"image.tag": "v2", "list[1]": "3"})
    assert values == {"image": {"tag": "v2", "pull": "Always"}, "list": [1, 3]}
    assert profile == {"image": {"tag": "v1", "pull": "Always"}, "list": [1, 2]}


@pytest.mark.parametrize("key", ["", "[0]", "a[x]", "a[", "a[99999999]"])
def test_a_key_that_is_no_path_is_refused_by_name(key: str) -> None:
    with pytest.raises(Invalid) as refused:
        effective({}, {key: "x"})
    assert repr(key) in refused.value.detail


def test_a_path_below_a_plain_value_is_refused() -> None:
    with pytest.raises(Invalid, match=r"a\.b"):
        effective({"a": 1}, {"a.b": "x"})


@given(st.dictionaries(st.from_regex(r"[a-c](\.[d-f]){0,2}", fullmatch=True), st.text(max_size=5)))
def test_the_result_never_depends_on_the_order_of_overrides(overrides: dict[str, str]) -> None:
    def attempt(items: dict[str, str]) -> object:
        try:
            return effective({}, items)
        except Invalid as refused:
            return refused.detail

    assert attempt(overrides) == attempt(dict(reversed(overrides.items())))


VALUES = {
    "db": {"password": "hunter22"},
    "mode": "frontend",
    "short": "abc",
    "list": [{"apiKey": "xyz-9"}],
}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "at '/db/password': 'hunter22' does not match",
            "at '/db/password': '(hidden)' does not match",
        ),
        (
            "dial postgres://u:hunter22@db and more-hunter22",
            "dial postgres://u:(hidden)@db and more-(hidden)",
        ),
        ("key xyz-9", "key (hidden)"),
        ("mode frontend is unknown", "mode (hidden) is unknown"),
        ("frontend/templates/a.yaml:3: abc", "frontend/templates/a.yaml:3: abc"),
    ],
)
def test_messages_lose_the_values_they_quote_and_keep_names_and_places(
    said: str, shown: str
) -> None:
    assert hidden(said, VALUES) == shown
