"""Rendered YAML is read as Kubernetes reads it."""

from typing import Any

import pytest

from activities.helm import load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True),
        ("N", False),
        ("yes", True),
        ("off", False),
        ("=", "="),
        ("2026-01-01", "2026-01-01"),
        ("1_000", 1000),
        ("12:30", "12:30"),
        ("~", None),
        ("'y'", "y"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    assert load_yaml(f"a: {text}", "a file") == {"a": value}
