"""What comes with a verb over HTTP, and what is answered: bodies, queries, revisions, plans."""

from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import Client

from emco.domain.history import Changes, OperationRow, RevisionRow
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import OnBusy, Outcome, Verb, ended
from emco.domain.plan.hooks import Event
from emco.domain.plan.model import Plan, Rendered, UnitPlan
from emco.domain.releases import HookRow, HookState
from emco.domain.resource import Address
from emco.domain.status import ObjectKey
from tests.api.conftest import Api, RecordedOperations
from tests.api.world import CLOUD, DEPLOYMENT

AT = Address.of(Deployment, ["shop", "boutique", "v1", "prod"])


@pytest.fixture
def up(api: Api, shop: Client) -> Client:
    """A deployment that is instantiated, and nothing of it running."""
    for url in (f"{CLOUD}/instantiate", f"{DEPLOYMENT}/approve", f"{DEPLOYMENT}/instantiate"):
        assert shop.post(url).status_code == 202
    now = datetime.now(UTC)
    api.store.change_lifecycle(AT, lambda life: ended(life, Outcome.DONE, now=now))
    return shop


def plan(api: Api, value: str) -> str:
    """A stored plan of one ConfigMap."""
    item = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m"},
        "data": {"v": value},
    }
    manifest = api.store.put_blob(Rendered(resources=(item,)).model_dump_json().encode())
    unit = UnitPlan(app="frontend", cluster="edge+c1", manifest=manifest)
    made = Plan(
        deployment="shop/boutique/v1/prod", release="r", namespace="n", cloud="c", units=(unit,)
    )
    return api.store.put_blob(made.model_dump_json().encode())


def revise(api: Api, number: int) -> None:
    row = RevisionRow(
        number=number,
        digest=plan(api, str(number)),
        operation=f"op{number}",
        verb=Verb.UPDATE,
        who="mia",
        time=datetime(2026, 1, number, tzinfo=UTC),
        changes=Changes(changed=1),
    )
    api.store.record_revision(AT, row, keep=10)


def test_who_and_why_and_what_to_do_when_busy_are_passed_on(
    up: Client, operations: RecordedOperations
) -> None:
    answer = up.post(
        f"{DEPLOYMENT}/update?onBusy=supersede",
        json={"metadata": {"description": "new\x07image"}},
        headers={"X-Forwarded-User": "mia"},
    )
    assert answer.status_code == 202
    asked = operations.with_verb[-1]
    assert (asked.who, asked.why, asked.on_busy) == ("mia", "new image", OnBusy.SUPERSEDE)


def test_update_answers_the_bare_revision_and_the_operation(up: Client) -> None:
    answer = up.post(f"{DEPLOYMENT}/update")
    assert (answer.status_code, answer.json()) == (202, 2)
    assert answer.headers["X-Emco-Operation"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"metadata":{"name":""}}', b"not json"])
def test_verbs_take_the_bodies_of_emcos_clients(up: Client, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = up.post(f"{DEPLOYMENT}/update", content=content, headers=headers)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("revision", ["1", 1])
def test_a_rollback_takes_its_revision_as_text_or_number(
    api: Api, up: Client, operations: RecordedOperations, revision: Any
) -> None:
    revise(api, 1)
    answer = up.post(f"{DEPLOYMENT}/rollback", json={"spec": {"revision": revision}})
    assert answer.status_code == 202, answer.text
    assert operations.with_verb[-1].revision == 1


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"spec": {"revision": True}}, 422, "spec.revision"),
        ({"spec": {"revision": "-1"}}, 400, "spec.revision"),
        ({"spec": {"revision": "01"}}, 400, "spec.revision"),
        ({"spec": {"revision": 1.5}}, 422, "spec.revision"),
        ({"spec": None}, 400, "spec"),
        ([], 422, "body"),
        ({"spec": {"revision": "7"}}, 404, "7"),
    ],
)
def test_a_wrong_rollback_is_refused_with_the_place(
    up: Client, operations: RecordedOperations, body: Any, status: int, part: str
) -> None:
    before = len(operations.asked)
    answer = up.post(f"{DEPLOYMENT}/rollback", json=body)
    assert answer.status_code == status, answer.text
    assert part in answer.json()["detail"]
    assert len(operations.asked) == before


def test_a_migrate_names_its_target(up: Client, operations: RecordedOperations) -> None:
    body = {"spec": {"targetCompositeAppVersion": "v1", "targetDeploymentIntentGroup": "nope"}}
    assert up.post(f"{DEPLOYMENT}/migrate", json=body).status_code == 404
    body["spec"]["targetDeploymentIntentGroup"] = "prod"
    assert up.post(f"{DEPLOYMENT}/migrate", json=body).status_code == 202
    assert operations.with_verb[-1].target == AT


def test_revisions_and_their_difference(api: Api, up: Client) -> None:
    for number in (1, 2):
        revise(api, number)
    kept = up.get(f"{DEPLOYMENT}/revisions").json()
    assert [(r["number"], r["who"], r["changes"]["changed"]) for r in kept] == [
        (1, "mia", 1),
        (2, "mia", 1),
    ]
    found = up.get(f"{DEPLOYMENT}/diff?old=1&new=2").json()
    (changed,) = found["units"][0]["objects"]
    assert changed["fields"] == [{"path": "data.v", "before": "1", "after": "2"}]
    assert up.get(f"{DEPLOYMENT}/diff?old=1&new=1").json()["units"] == []
    assert up.get(f"{DEPLOYMENT}/diff?old=1").status_code == 400
    assert up.get(f"{DEPLOYMENT}/diff?old=1&new=9").status_code == 404


def test_operations_are_listed_newest_first(api: Api, up: Client) -> None:
    for number in (1, 2):
        began = datetime(2026, 1, number, tzinfo=UTC)
        row = OperationRow(id=str(number), verb=Verb.UPDATE, began=began)
        api.store.note_operation(AT, row)
    found = up.get(f"{DEPLOYMENT}/operations").json()
    assert [row["id"] for row in found] == ["2", "1"]


def test_a_plan_is_answered_as_it_was_reported(up: Client) -> None:
    report = up.get(f"{DEPLOYMENT}/plan").json()
    assert report["deployment"] == "shop/boutique/v1/prod"
    assert up.get(f"{DEPLOYMENT}/plan?revision=0").status_code == 400


def test_an_unknown_plan_is_a_conflict(up: Client) -> None:
    answer = up.post(f"{DEPLOYMENT}/update?planDigest={'f' * 64}")
    assert (answer.status_code, answer.json()["title"]) == (409, "There is no such plan")


def test_policies_can_be_changed_while_it_runs_and_the_workflow_is_told(
    up: Client, operations: RecordedOperations
) -> None:
    body = up.get(DEPLOYMENT).json()
    body["spec"]["policies"] = {"drift": "heal", "onFailure": "rollback"}
    answer = up.put(DEPLOYMENT, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"]["policies"]["drift"] == "heal"
    assert operations.told == [AT]
    body["spec"]["version"] = "other"
    assert up.put(DEPLOYMENT, json=body).status_code == 409


@pytest.mark.parametrize(
    "policies",
    [
        {"drift": "sometimes"},
        {"onFailure": ""},
        {"revisions": 0},
        {"ignoreDifferences": [{}]},
        {"ignoreDifferences": [{"jsonPointer": "spec"}]},
    ],
)
def test_wrong_policies_are_refused(up: Client, policies: Any) -> None:
    body = up.get(DEPLOYMENT).json()
    body["spec"]["policies"] = policies
    answer = up.put(DEPLOYMENT, json=body)
    assert answer.status_code == 400
    assert "spec.policies" in answer.json()["detail"]


def lost(api: Api) -> str:
    """A hook whose end nobody saw."""
    row = HookRow(
        id="1:pre-install:0:Job/migrate:frontend@edge+c1",
        run="1",
        event=Event.PRE_INSTALL,
        key=ObjectKey(api_version="batch/v1", kind="Job", name="migrate"),
        app="frontend",
        cluster="edge+c1",
        attempt=1,
        state=HookState.LOST,
        since=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return api.store.change_hook(AT, row, lambda row: row).id


def test_a_lost_hook_is_a_question_until_somebody_answers(up: Client, api: Api) -> None:
    hook = lost(api)
    (asked,) = up.get(f"{DEPLOYMENT}/explain").json()["hooks"]
    assert (asked["id"], asked["state"]) == (hook, "Lost")
    assert "answer done, or again" in asked["question"]
    answer = up.post(f"{DEPLOYMENT}/answer", json={"spec": {"hook": hook, "answer": "done"}})
    assert (answer.status_code, answer.json()["state"]) == (200, "Succeeded")
    again = up.post(f"{DEPLOYMENT}/answer", json={"spec": {"hook": hook, "answer": "again"}})
    assert again.status_code == 409
    assert "Succeeded" in again.json()["detail"]
    assert up.get(f"{DEPLOYMENT}/explain").json()["hooks"][0]["question"] == ""


@pytest.mark.parametrize(
    ("spec", "status", "told"),
    [
        ({"hook": "nothing", "answer": "done"}, 404, "has no hook nothing"),
        ({"hook": "x", "answer": "perhaps"}, 400, "spec.answer"),
        ({"answer": "done"}, 400, "spec.hook"),
    ],
)
def test_an_answer_that_is_none_is_refused(
    up: Client, spec: dict[str, str], status: int, told: str
) -> None:
    answer = up.post(f"{DEPLOYMENT}/answer", json={"spec": spec})
    assert answer.status_code == status
    assert told in answer.text
