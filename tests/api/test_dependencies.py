"""Dependencies between apps over HTTP: who is told of a change, and how the graph is answered."""

from datetime import UTC, datetime

import pytest
from httpx import Client

from emco.domain.dependencies import Dependency
from emco.domain.lifecycle import Progress
from emco.domain.status import Awaited, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.store import Store
from tests.api.builders import named
from tests.api.conftest import RecordedOperations
from tests.api.test_lifecycle import AT, set_progress
from tests.api.world import APP, DEPLOYMENT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = f"{APP}/apps/web/dependency/dep1"
CHANGED = named("dep1", app="db", opStatus="deployed", wait=5, scope="same-cluster", timeout=60)


def unit(app: str, phase: Phase, **more: object) -> UnitRow:
    return UnitRow.model_validate(
        {"app": app, "cluster": "edge+c1", "phase": phase, "since": NOW, **more}
    )


@pytest.fixture
def waiting(shop: Client, store: Store) -> Client:
    """The web waits for a database that cannot be pulled."""
    pod = ObjectStatus(
        key=ObjectKey(api_version="apps/v1", kind="Deployment", name="db"),
        ready=Ready.NOT_READY,
        message="Pod db-x: ImagePullBackOff",
    )
    awaits = (Awaited(dependency=Dependency(app="web", needs="db", wait=2)),)
    rows = [
        unit("db", Phase.APPLIED, objects=(pod,)),
        unit("web", Phase.WAITING, awaits=awaits, message="waits for db Ready"),
    ]
    store.put_units([(AT, row) for row in rows])
    set_progress(store, Progress.INSTANTIATING)
    return shop


def test_what_is_written_is_read_with_every_field(shop: Client) -> None:
    answer = shop.put(ONE, json=CHANGED)
    assert answer.is_success, answer.text
    assert shop.get(ONE).json()["spec"] == {
        "app": "db",
        "opStatus": "Deployed",
        "wait": 5,
        "scope": "same-cluster",
        "timeout": 60,
        "onTimeout": "fail",
        "stableFor": 0,
    }


def test_a_deployment_that_runs_is_told_of_every_change(
    waiting: Client, operations: RecordedOperations
) -> None:
    more = named("dep2", app="web", opStatus="Ready")
    assert waiting.put(ONE, json=CHANGED).is_success
    assert waiting.delete(f"{ONE}?dryRun=true").is_success
    assert operations.told == [AT]
    assert waiting.delete(ONE).is_success
    assert waiting.post(f"{APP}/apps/db/dependency", json=more).is_success
    assert operations.told == [AT] * 3


def test_one_that_does_not_run_is_not_told(shop: Client, operations: RecordedOperations) -> None:
    assert shop.put(ONE, json=CHANGED).is_success
    assert operations.told == []


def test_a_change_is_stored_though_nobody_can_be_told(
    waiting: Client, operations: RecordedOperations
) -> None:
    operations.silent = True
    assert waiting.put(ONE, json=CHANGED).is_success
    assert waiting.get(ONE).json()["spec"]["wait"] == 5


def test_explain_follows_the_wait_to_the_object_that_is_to_blame(waiting: Client) -> None:
    (web,) = (u for u in waiting.get(f"{DEPLOYMENT}/explain").json()["units"] if u["app"] == "web")
    assert web["waitingFor"] == [
        "db is not Ready on edge+c1 (Applied): Deployment db: Pod db-x: ImagePullBackOff"
    ]
    assert web["next"] == "started as soon as that has come about"


def test_the_graph_is_answered_as_json_text_or_mermaid(waiting: Client) -> None:
    url = f"{DEPLOYMENT}/dependency-graph"
    shown = waiting.get(url).json()
    assert [(e["app"], e["needs"], e["wait"], e["open"]) for e in shown["edges"]] == [
        ("web", "db", 2, False)
    ]
    assert [(n["app"], n["clusters"][0]["phase"]) for n in shown["nodes"]] == [
        ("db", "Applied"),
        ("web", "Waiting"),
    ]
    text = waiting.get(url, params={"format": "text"})
    assert text.text == "web  ◷ edge+c1 Waiting\n└─ db (Ready + 2 s) …  ◑ edge+c1 Applied\n"
    for how in ({"params": {"format": "mermaid"}}, {"headers": {"Accept": "text/vnd.mermaid"}}):
        drawn = waiting.get(url, **how)  # type: ignore[arg-type]
        assert drawn.headers["Content-Type"].startswith("text/vnd.mermaid")
        assert '  n0 -.->|"Ready + 2 s"| n1' in drawn.text.splitlines()
    assert waiting.get(url, params={"format": "svg"}).status_code == 400
    assert waiting.get(url.replace("prod", "none")).status_code == 404
