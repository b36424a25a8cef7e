"""Looking before and after: plans, revisions, differences and operations, as people read them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from emco.domain.history import Changes, OperationRow, RevisionRow
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import OnBusy, Outcome, Verb
from emco.domain.plan.model import Plan, Rendered, UnitPlan
from emco.domain.resource import Address
from tests.unit.cli.conftest import Emco, Served

DEPLOYMENT = "shop/online-boutique/v1/boutique"
AT = Address.of(Deployment, DEPLOYMENT.split("/"))
NOW = datetime.now(UTC)


@pytest.fixture
def up(boutique: Served, emco: Emco) -> Served:
    assert emco("approve", DEPLOYMENT).exit_code == 0
    assert emco("instantiate", DEPLOYMENT, "--wait").exit_code == 0
    return boutique


def revise(served: Served, number: int) -> None:
    data = {"v": str(number)}
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}
    manifest = served.store.put_blob(Rendered(resources=(item,)).model_dump_json().encode())
    unit = UnitPlan(app="frontend", cluster="edge+c1", manifest=manifest)
    plan = Plan(deployment=DEPLOYMENT, release="r", namespace="n", cloud="c", units=(unit,))
    row = RevisionRow(
        number=number,
        digest=served.store.put_blob(plan.model_dump_json().encode()),
        operation="op",
        verb=Verb.UPDATE,
        who="mia",
        why="new image",
        time=NOW,
        changes=Changes(created=1, changed=2),
    )
    served.store.record_revision(AT, row, keep=10)


def test_a_plan_reads_like_a_diff_and_ends_with_the_next_command(up: Served, emco: Emco) -> None:
    fields: list[Any] = [
        {"path": "data.v", "before": "1", "after": "2"},
        {"path": "data.old", "before": "1", "after": None},
    ]
    item = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "", "name": "m"}
    up.operations.report = {
        "digest": "d1",
        "revision": 1,
        "changes": {"created": 0, "changed": 1, "deleted": 0},
        "units": [
            {
                "app": "frontend",
                "cluster": "edge+c1",
                "action": "change",
                "reason": "allOf: cluster edge+c1",
                "after": ["cart", "currency"],
                "objects": [{**item, "action": "change", "fields": fields}],
                "hooks": [
                    {"kind": "Job", "name": "migrate", "event": "pre-upgrade", "runs": True},
                    {"kind": "Job", "name": "backup", "event": "pre-delete", "runs": False},
                ],
            }
        ],
        "passedOver": [{"app": "frontend", "cluster": "edge+c2", "reason": "no rule"}],
    }
    assert emco("plan", DEPLOYMENT).stdout.splitlines() == [
        "~ frontend on edge+c1  allOf: cluster edge+c1, starts after cart, currency",
        "    ~ ConfigMap m",
        "        data.v: 1 -> 2",
        "        data.old: 1 is dropped",
        "    pre-upgrade hook Job migrate",
        "  frontend not on edge+c2: no rule",
        "0 to create, 1 to change, 0 to delete",
        f"next: emco update {DEPLOYMENT} --plan d1",
    ]


def test_revisions_and_diff(up: Served, emco: Emco) -> None:
    for number in (1, 2):
        revise(up, number)
    lines = emco("revisions", DEPLOYMENT).stdout.splitlines()
    assert lines[0].split() == "REVISION BY WHO AGE DIGEST CHANGES WHY".split()
    assert lines[2].split()[:3] == ["2", "update", "mia"]
    assert lines[2].endswith("+1 ~2 -0  new image")
    assert emco("diff", DEPLOYMENT, "1", "2").stdout.splitlines() == [
        "frontend on edge+c1",
        "    ~ ConfigMap m",
        "        data.v: 1 -> 2",
    ]
    assert emco("diff", DEPLOYMENT, "2", "2").stdout.strip() == "no difference"
    assert emco("diff", DEPLOYMENT, "1", "7").exit_code == 3


def test_operations_say_how_each_ended(up: Served, emco: Emco) -> None:
    row = OperationRow(id="x", verb=Verb.HEAL, who="emco", why="data.v changed", began=NOW)
    up.store.note_operation(AT, row.model_copy(update={"outcome": Outcome.DONE, "ended": NOW}))
    line = emco("operations", DEPLOYMENT).stdout.splitlines()[1]
    assert line.split()[:3] == ["heal", "done", "emco"]
    assert line.endswith("data.v changed")


def test_what_goes_along_with_an_update(up: Served, emco: Emco) -> None:
    result = emco("update", DEPLOYMENT, "--on-busy", "queue", "-m", "new image")
    assert result.stdout == f"updating  {DEPLOYMENT}\n"
    assert (up.operations.asked.on_busy, up.operations.asked.why) == (OnBusy.QUEUE, "new image")
    assert up.operations.asked.who


def test_a_rollback_and_a_stop(up: Served, emco: Emco) -> None:
    revise(up, 1)
    assert emco("rollback", DEPLOYMENT, "--to", "1", "--wait").exit_code == 0
    assert up.operations.asked.revision == 1
    assert emco("rollback", DEPLOYMENT, "--to", "9").exit_code == 3
    assert emco("rollback", DEPLOYMENT, "--to", "0").exit_code == 2
    assert emco("stop", DEPLOYMENT).exit_code == 4


def test_a_migrate_needs_a_version_and_a_name(up: Served, emco: Emco) -> None:
    assert emco("migrate", DEPLOYMENT, "--to", "v2").exit_code == 2
    assert emco("migrate", DEPLOYMENT, "--to", "v2/other").exit_code == 3
