"""The verbs of deployments and clouds over HTTP: codes, sentences, and what the status says after."""

from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import Client

from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.fleet import Cluster
from emco.domain.lifecycle import Lifecycle, Progress, Verb
from emco.domain.resource import Address
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow
from emco.store.store import Store
from tests.api.builders import named
from tests.api.conftest import RecordedOperations
from tests.api.world import CLOUD, DEPLOYMENT, PROVIDER

AT = Address.of(Deployment, ["shop", "boutique", "v1", "prod"])
MISSING = DEPLOYMENT.replace("prod", "none")


def set_progress(store: Store, progress: Progress) -> None:
    def change(life: Lifecycle) -> Lifecycle:
        return life.model_copy(update={"progress": progress})

    store.change_lifecycle(AT, change)


@pytest.fixture
def live(shop: Client) -> Client:
    """The shop with its deployment instantiated."""
    for url in (f"{CLOUD}/instantiate", f"{DEPLOYMENT}/approve", f"{DEPLOYMENT}/instantiate"):
        answer = shop.post(url)
        assert (answer.status_code, answer.content) == (202, b""), answer.text
    return shop


def status(client: Client, url: str = DEPLOYMENT, query: str = "?status=deployed") -> Any:
    answer = client.get(f"{url}/status{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_status_moves_at_once(live: Client, operations: RecordedOperations) -> None:
    assert status(live)["deployedStatus"] == "Instantiating"
    assert live.post(f"{DEPLOYMENT}/terminate").status_code == 202
    assert status(live)["deployedStatus"] == "Terminating"
    assert operations.asked == [(Verb.INSTANTIATE, AT), (Verb.TERMINATE, AT)]


def test_the_record_reads_as_in_emco(live: Client) -> None:
    answer = status(live)
    assert [(a["state"], a["revision"]) for a in answer["states"]["actions"]] == [
        ("Created", 0),
        ("Approved", 0),
        ("Instantiated", 1),
    ]
    assert answer["states"]["statusctxid"] == answer["states"]["actions"][-1]["instance"]
    assert (answer["project"], answer["compositeProfile"]) == ("shop", "production")


@pytest.mark.parametrize("body", [b"", b'{"metadata":{"name":""}}', b"nonsense"])
def test_bodies_of_verbs_are_ignored(shop: Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shop.post(f"{DEPLOYMENT}/approve", content=body, headers=headers)
    assert answer.status_code == 202


def test_approving_twice_changes_nothing(shop: Client) -> None:
    for _ in range(2):
        assert shop.post(f"{DEPLOYMENT}/approve").status_code == 202
    assert [a["state"] for a in status(shop)["states"]["actions"]] == ["Created", "Approved"]


def test_approve_names_every_intent_that_is_missing(shop: Client) -> None:
    for name in ("g2", "g3"):
        body = named(name, intent={"genericPlacementIntent": f"missing-{name}"})
        assert shop.post(f"{DEPLOYMENT}/intents", json=body).status_code == 201
    answer = shop.post(f"{DEPLOYMENT}/approve")
    assert answer.status_code == 409
    assert "missing-g2" in answer.json()["detail"]
    assert "missing-g3" in answer.json()["detail"]
    assert [a["state"] for a in status(shop)["states"]["actions"]] == ["Created"]


@pytest.mark.parametrize(
    ("before", "verb", "title"),
    [
        ([], "instantiate", "DeploymentIntentGroup must be Approved before instantiatingprod"),
        ([], "terminate", "DeploymentIntentGroup is not instantiated :prod"),
        (["approve"], "terminate", "DeploymentIntentGroup is not instantiated :prod"),
    ],
)
def test_an_illegal_verb_is_a_conflict_without_asking_anybody(
    shop: Client, operations: RecordedOperations, before: list[str], verb: str, title: str
) -> None:
    shop.post(f"{CLOUD}/instantiate")
    for earlier in before:
        shop.post(f"{DEPLOYMENT}/{earlier}")
    answer = shop.post(f"{DEPLOYMENT}/{verb}")
    assert (answer.status_code, answer.json()["title"]) == (409, title)
    assert operations.asked == []


@pytest.mark.parametrize("verb", ["approve", "instantiate"])
def test_a_running_deployment_refuses_in_emcos_words(
    live: Client, operations: RecordedOperations, verb: str
) -> None:
    operations.refuses = True
    answer = live.post(f"{DEPLOYMENT}/{verb}")
    assert answer.status_code == 409
    assert answer.json()["title"] == "DeploymentIntentGroup has already been instantiatedprod"


def test_a_deployment_whose_workflow_was_ended_by_force_is_taken_over(live: Client) -> None:
    assert live.post(f"{DEPLOYMENT}/instantiate").status_code == 202


@pytest.mark.parametrize("verb", ["approve", "instantiate", "terminate"])
def test_a_missing_deployment_is_not_found(shop: Client, verb: str) -> None:
    answer = shop.post(f"{MISSING}/{verb}")
    assert (answer.status_code, answer.json()["title"]) == (
        404,
        "DeploymentIntentGroup not found",
    )


@pytest.mark.parametrize("question", ["status", "explain"])
def test_asking_about_a_missing_deployment_is_not_found(shop: Client, question: str) -> None:
    assert shop.get(f"{MISSING}/{question}").status_code == 404


@pytest.mark.parametrize("verb", ["approve", "instantiate", "terminate"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_verb_answers_post_alone(shop: Client, method: str, verb: str) -> None:
    answer = shop.request(method, f"{DEPLOYMENT}/{verb}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_silent_temporal_is_a_503_and_nothing_changes(
    shop: Client, operations: RecordedOperations
) -> None:
    shop.post(f"{CLOUD}/instantiate")
    shop.post(f"{DEPLOYMENT}/approve")
    operations.silent = True
    answer = shop.post(f"{DEPLOYMENT}/instantiate")
    assert (answer.status_code, answer.json()["title"]) == (503, "Temporal is unavailable")
    assert "127.0.0.1:7233" in answer.json()["detail"]
    assert status(shop)["states"]["actions"][-1]["state"] == "Approved"


def test_a_cloud_that_was_never_instantiated_takes_no_deployment(shop: Client) -> None:
    shop.post(f"{DEPLOYMENT}/approve")
    answer = shop.post(f"{DEPLOYMENT}/instantiate")
    assert (answer.status_code, answer.json()["title"]) == (
        409,
        "The Logical Cloud has never been instantiated",
    )


def test_a_terminated_cloud_takes_no_deployment(shop: Client) -> None:
    for url in (f"{CLOUD}/instantiate", f"{CLOUD}/terminate", f"{DEPLOYMENT}/approve"):
        assert shop.post(url).status_code == 202
    answer = shop.post(f"{DEPLOYMENT}/instantiate")
    assert answer.status_code == 409
    assert "has been terminated" in answer.json()["title"]


def test_a_deployment_without_a_placement_is_told_so(shop: Client) -> None:
    shop.delete(f"{DEPLOYMENT}/intents/group1")
    shop.post(f"{CLOUD}/instantiate")
    shop.post(f"{DEPLOYMENT}/approve")
    answer = shop.post(f"{DEPLOYMENT}/instantiate")
    assert (answer.status_code, answer.json()["title"]) == (
        404,
        "GenericPlacementIntent not found",
    )


def test_an_approved_deployment_is_not_edited(shop: Client) -> None:
    body = shop.get(DEPLOYMENT).json()
    assert shop.put(DEPLOYMENT, json=body).status_code == 200
    shop.post(f"{DEPLOYMENT}/approve")
    answer = shop.put(DEPLOYMENT, json=body)
    assert (answer.status_code, answer.json()["title"]) == (
        409,
        "The specified DeploymentIntentGroup is not in Created status",
    )


@pytest.mark.parametrize("suffix", ["", "?dryRun=true"])
def test_a_live_deployment_is_not_deleted(live: Client, suffix: str) -> None:
    answer = live.delete(DEPLOYMENT + suffix)
    assert answer.status_code == 409
    assert "must be terminated before it can be deleted" in answer.json()["title"]


def test_a_deployment_is_deleted_after_it_was_terminated(live: Client, store: Store) -> None:
    live.post(f"{DEPLOYMENT}/terminate")
    assert "has not completed terminating" in live.delete(DEPLOYMENT).json()["title"]
    set_progress(store, Progress.TERMINATED)
    for child in (
        "generic-placement-intents/placement/app-intents/web-placement",
        "generic-placement-intents/placement",
        "intents/group1",
        "generic-k8s-intents/customisation/resources/settings/customizations/east",
        "generic-k8s-intents/customisation/resources/settings",
        "generic-k8s-intents/customisation",
    ):
        assert live.delete(f"{DEPLOYMENT}/{child}").status_code == 204
    assert live.delete(DEPLOYMENT).status_code == 204


def test_a_cloud_is_instantiated_at_once_and_says_so_without_a_query(shop: Client) -> None:
    before = status(shop, CLOUD, "")
    assert "deployedStatus" not in before
    assert [a["state"] for a in before["states"]["actions"]] == ["Created"]
    shop.post(f"{CLOUD}/instantiate")
    after = status(shop, CLOUD, "")
    assert (after["deployedStatus"], after["readyStatus"]) == ("Instantiated", "Ready")
    assert after["clusters"] == [
        {"clusterProvider": "edge", "cluster": "c1", "connectivity": "Unknown"}
    ]
    shop.post(f"{CLOUD}/terminate")
    assert status(shop, CLOUD, "")["deployedStatus"] == "Terminated"


@pytest.mark.parametrize(
    ("before", "verb", "code", "title"),
    [
        (["instantiate"], "instantiate", 409, "The Logical Cloud is already instantiated"),
        (
            ["instantiate", "terminate"],
            "terminate",
            409,
            "The Logical Cloud has already been terminated",
        ),
        ([], "terminate", 202, ""),
        (["instantiate", "terminate"], "instantiate", 202, ""),
    ],
)
def test_a_cloud_answers_as_emco_does(
    shop: Client, before: list[str], verb: str, code: int, title: str
) -> None:
    for earlier in before:
        shop.post(f"{CLOUD}/{earlier}")
    answer = shop.post(f"{CLOUD}/{verb}")
    assert answer.status_code == code
    assert not title or answer.json()["title"] == title


def test_a_cloud_without_clusters_is_not_instantiated(shop: Client) -> None:
    shop.post("/v2/projects/shop/logical-clouds", json=named("bare", level="0"))
    answer = shop.post("/v2/projects/shop/logical-clouds/bare/instantiate")
    assert (answer.status_code, answer.json()["title"]) == (
        400,
        "No Cluster References associated",
    )


def test_a_cloud_under_a_live_deployment_is_not_terminated(live: Client) -> None:
    answer = live.post(f"{CLOUD}/terminate")
    assert (answer.status_code, answer.json()["title"]) == (
        400,
        "Found at least one DIG associated with Logical Cloud attempted to be terminated",
    )


def test_a_cloud_under_a_stored_deployment_may_be_terminated(shop: Client) -> None:
    shop.post(f"{CLOUD}/instantiate")
    assert shop.post(f"{CLOUD}/terminate").status_code == 202


def test_an_instantiated_cloud_is_not_deleted(shop: Client) -> None:
    shop.post(f"{CLOUD}/instantiate")
    answer = shop.delete(CLOUD)
    assert (answer.status_code, answer.json()["title"]) == (
        409,
        "The Logical Cloud is instantiated, please terminate first",
    )


def test_a_missing_cloud_is_not_found(shop: Client) -> None:
    answer = shop.post("/v2/projects/shop/logical-clouds/none/instantiate")
    assert (answer.status_code, answer.json()["title"]) == (404, "Logical Cloud not found")


def test_a_level_1_cloud_says_that_it_is_not_acted_upon_yet(shop: Client) -> None:
    answer = shop.post("/v2/projects/shop/logical-clouds/standard/instantiate")
    assert answer.status_code == 409
    assert "not yet instantiated by this version" in answer.json()["title"]


@pytest.fixture
def placed(live: Client, store: Store) -> Client:
    """One unit is known, half ready, on a cluster that answers."""
    key = ObjectKey(api_version="apps/v1", kind="Deployment", namespace="default", name="web")
    objects = (
        ObjectStatus(key=key, deployed=Deployed.APPLIED, ready=Ready.NOT_READY, message="0 of 1"),
    )
    store.put_unit(
        AT,
        UnitRow(
            app="web",
            cluster="edge+c1",
            phase=Phase.APPLIED,
            since=datetime.now(UTC),
            objects=objects,
        ),
    )
    store.put_facts(Address.of(Cluster, ["edge", "c1"]), {"connectivity": "Available"})
    return live


def test_status_shows_objects_and_counts(placed: Client) -> None:
    answer = status(placed, query="?status=ready")
    assert (answer["readyStatus"], answer["readyCounts"]) == ("NotReady", {"NotReady": 1})
    cluster = answer["apps"][0]["clusters"][0]
    assert cluster["connectivity"] == "Available"
    assert cluster["resources"][0]["readyStatus"] == "NotReady"


def test_a_cluster_tells_what_every_deployment_has_on_it(placed: Client) -> None:
    url = f"{PROVIDER}/clusters/c1/status"
    answer = placed.get(url).json()
    assert (answer["readyStatus"], answer["readyCounts"]) == ("NotReady", {"NotReady": 1})
    assert answer["cluster"]["connectivity"] == "Available"
    (shown,) = answer["cluster"]["resources"]
    assert (shown["app"], shown["name"], shown["readyStatus"]) == ("web", "web", "NotReady")
    assert shown["deployment"] == "shop/boutique/v1/prod"
    assert "resources" not in placed.get(f"{url}?output=summary").json()["cluster"]
    assert "readyCounts" not in placed.get(f"{url}?resource=other").json()
    assert placed.get(f"{PROVIDER}/clusters/c9/status").status_code == 404
    assert placed.get(f"{url}?output=everything").status_code == 400


def test_status_filters_by_query(placed: Client) -> None:
    query = "?status=ready&app=web&cluster=edge%2Bc1&resource=web&output=summary"
    assert status(placed, query=query)["readyCounts"] == {"NotReady": 1}
    assert status(placed, query="?apps")["apps"] == ["web"]
    assert "clustersByApp" in status(placed, query="?clusters")
    assert "resourcesByApp" in status(placed, query="?resources=")
    wrong = placed.get(f"{DEPLOYMENT}/status?output=everything")
    assert (wrong.status_code, wrong.json()["title"]) == (400, "Invalid query output")


def test_explain_says_what_is_waited_for(placed: Client) -> None:
    answer = placed.get(f"{DEPLOYMENT}/explain").json()
    assert answer["deployment"] == "shop/boutique/v1/prod"
    assert (answer["state"], answer["progress"]) == ("Instantiated", "Instantiating")
    (unit,) = answer["units"]
    assert (unit["ready"], unit["total"]) == (0, 1)
    assert unit["waitingFor"] == ["Deployment default/web: 0 of 1"]


def test_health_tells_the_process_from_what_it_needs(
    client: Client, operations: RecordedOperations
) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
    operations.silent = True
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
