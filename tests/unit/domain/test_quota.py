"""Whether quotas leave room, in Kubernetes' own arithmetic."""

from decimal import Decimal
from typing import Any

import pytest

from emco.domain.plan.quota import demand, exceeded, quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        ("2k", "2000"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("2e3", "2000"),
        ("100n", "0.0000001"),
    ],
)
def test_quantities(text: str, value: str) -> None:
    assert quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "x", "1Zi", "1 2"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


def workload(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
    template = {"spec": {"containers": [{"name": "a", "resources": resources}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "w"},
        "spec": {"template": template, **spec},
    }


@pytest.mark.parametrize(
    ("kind", "spec", "pods"),
    [
        ("Deployment", {}, 1),
        ("Deployment", {"replicas": 3}, 3),
        ("StatefulSet", {"replicas": 0}, 0),
        ("Job", {"parallelism": 2}, 2),
        ("DaemonSet", {}, 0),
    ],
)
def test_pods_that_controllers_will_make_are_counted(
    kind: str, spec: dict[str, Any], pods: int
) -> None:
    found = demand([workload(kind, spec)])
    assert found.get("pods", 0) == pods
    assert found.get("requests.cpu", 0) == pods * Decimal("0.1")
    assert found.get("requests.memory", 0) == pods * quantity("1Gi"), "limits stand in for requests"


def test_only_what_is_added_must_fit() -> None:
    quota = {
        "metadata": {"name": "q"},
        "status": {"hard": {"pods": "4", "count/deployments.apps": "1"}, "used": {"pods": "3"}},
    }
    had, wanted = (demand([workload("Deployment", {"replicas": n})]) for n in (3, 4))
    assert exceeded(wanted, had, [quota]) == []
    more = demand([workload("Deployment", {"replicas": 5})])
    (sentence,) = exceeded(more, had, [quota])
    assert sentence == "the quota q allows pods 4, 3 are used and 2 more are wanted"
