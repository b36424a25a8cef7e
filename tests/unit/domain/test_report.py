"""EMCO's status JSON: which members appear for which query, and what is counted."""

from datetime import UTC, datetime
from typing import Any

import pytest

from emco.domain.errors import Invalid
from emco.domain.lifecycle import Action, Lifecycle, Progress, State
from emco.domain.report import cloud_status, deployment_status, explanation, question
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = {"project": "p", "compositeApp": "ca", "compositeAppVersion": "v1", "name": "dig"}


def thing(
    name: str,
    ready: Ready = Ready.READY,
    deployed: Deployed = Deployed.APPLIED,
    kind: str = "Deployment",
) -> ObjectStatus:
    return ObjectStatus(
        key=ObjectKey(api_version="apps/v1", kind=kind, namespace="n", name=name),
        deployed=deployed,
        ready=ready,
        observed={"kind": kind, "seen": True},
    )


def unit(app: str, cluster: str, *objects: ObjectStatus, phase: Phase = Phase.READY) -> UnitRow:
    return UnitRow(app=app, cluster=cluster, phase=phase, since=NOW, objects=objects)


LIFE = Lifecycle(
    actions=(
        Action(state=State.APPROVED, time=NOW),
        Action(state=State.INSTANTIATED, instance="op1", time=NOW, revision=1),
    ),
    status_context_id="op1",
    progress=Progress.INSTANTIATED,
)
UNITS = [
    unit("web", "east+c2", thing("web"), thing("conf", Ready.UNKNOWN, kind="Thing")),
    unit("web", "east+c1", thing("web", Ready.NOT_READY), phase=Phase.RETRYING),
    unit("db", "east+c1", thing("db"), thing("old", Ready.NOT_PRESENT, Deployed.DELETED)),
]


def ask(units: list[UnitRow] = UNITS, life: Lifecycle = LIFE, **query: Any) -> dict[str, Any]:
    return deployment_status(NAMES, life, units, question(query), created=NOW)


def test_created_comes_first_in_the_states() -> None:
    states = [a["state"] for a in ask(status=["deployed"])["states"]["actions"]]
    assert states == ["Created", "Approved", "Instantiated"]


def test_an_action_has_emcos_four_members() -> None:
    (*_, last) = ask(status=["deployed"])["states"]["actions"]
    assert last == {
        "state": "Instantiated",
        "instance": "op1",
        "time": "2026-01-01T00:00:00Z",
        "revision": 1,
    }


def test_before_any_operation_only_names_and_states_are_told() -> None:
    assert set(ask([], Lifecycle(), status=["ready"])) == {*NAMES, "states"}


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ({"status": ["deployed"]}, {"deployedStatus", "deployedCounts"}),
        ({"status": ["ready"]}, {"deployedStatus", "readyStatus", "readyCounts"}),
        ({"type": ["rsync"]}, {"status", "rsyncStatus"}),
        ({"type": ["cluster"]}, {"status", "readyStatus", "clusterStatus"}),
        ({}, {"status", "deployedStatus", "rsyncStatus"}),
    ],
)
def test_each_query_has_its_own_totals(query: dict[str, Any], members: set[str]) -> None:
    assert set(ask(**query)) - {*NAMES, "states", "apps"} == members


def test_deployed_counts_every_object() -> None:
    assert ask(status=["deployed"])["deployedCounts"] == {"Applied": 4, "Deleted": 1}


def test_ready_counts_what_is_present() -> None:
    answer = ask(status=["ready"])
    assert answer["readyCounts"] == {"NotReady": 1, "Ready": 2, "Unknown": 1}
    assert answer["readyStatus"] == "NotReady"


def test_what_a_silent_cluster_has_is_unknown_and_not_unready() -> None:
    answer = ask([UNITS[0]], status=["ready"])
    assert answer["readyStatus"] == "Unknown"


def test_a_terminated_deployment_is_ready_as_in_emco() -> None:
    gone = LIFE.model_copy(update={"progress": Progress.TERMINATED})
    assert ask([], gone, status=["ready"])["readyStatus"] == "Ready"


def test_a_deployment_that_is_not_planned_yet_is_not_ready() -> None:
    begun = LIFE.model_copy(update={"progress": Progress.INSTANTIATING})
    assert ask([], begun, status=["ready"])["readyStatus"] == "NotReady"


def test_all_lists_apps_clusters_and_objects_in_order() -> None:
    answer = ask(status=["deployed"])
    assert [a["name"] for a in answer["apps"]] == ["db", "web"]
    assert answer["apps"][1]["clusters"][0] == {
        "clusterProvider": "east",
        "cluster": "c1",
        "connectivity": "Retrying",
        "resources": [
            {
                "GVK": {"Group": "apps", "Version": "v1", "Kind": "Deployment"},
                "name": "web",
                "deployedStatus": "Applied",
            }
        ],
    }


def test_the_older_query_has_the_older_member_names() -> None:
    cluster = ask(type=["cluster"])["apps"][0]["clusters"][0]
    assert cluster["readyStatus"] == "Available"
    assert cluster["resources"][0]["clusterStatus"] == "Ready"


def test_summary_leaves_the_apps_out() -> None:
    assert "apps" not in ask(status=["ready"], output=["summary"])


def test_detail_shows_the_live_object() -> None:
    answer = ask(status=["ready"], output=["detail"])
    assert answer["apps"][0]["clusters"][0]["resources"][0]["detail"]["seen"] is True


def test_filters_narrow_apps_clusters_and_objects_and_the_counts() -> None:
    answer = ask(status=["deployed"], app=["web"], cluster=["east+c2"], resource=["web"])
    assert answer["deployedCounts"] == {"Applied": 1}
    assert len(answer["apps"]) == 1


def test_a_plus_that_arrived_as_a_blank_is_understood() -> None:
    answer = ask(status=["deployed"], cluster=["east c2"])
    assert [a["name"] for a in answer["apps"]] == ["web"]


def test_an_app_without_a_matching_object_is_left_out() -> None:
    answer = ask(status=["deployed"], resource=["db"])
    assert [a["name"] for a in answer["apps"]] == ["db"]


def test_lists_have_a_fixed_precedence() -> None:
    assert ask(apps=[""], clusters=[""]) == {**NAMES, "apps": ["db", "web"]}
    by_app = ask(clusters=[""], resources=[""], app=["db"])["clustersByApp"]
    assert by_app == [{"app": "db", "clusters": [{"clusterProvider": "east", "cluster": "c1"}]}]
    (listed,) = ask(resources=[""], cluster=["east+c2"])["resourcesByApp"]
    assert [r["name"] for r in listed["resources"]] == ["web", "conf"]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ({"instance": [""]}, "Invalid query instance"),
        ({"instance": ["other"]}, "Invalid query instance"),
        ({"type": ["x"]}, "Invalid query type"),
        ({"status": ["x"]}, "Invalid query status"),
        ({"output": ["x"]}, "Invalid query output"),
        ({"app": ["a b"]}, "Invalid app query"),
        ({"app": ["a" * 64]}, "Invalid app query"),
        ({"cluster": ["c1"]}, "Invalid cluster query"),
        ({"cluster": ["+c1"]}, "Invalid cluster query"),
        ({"resource": [""]}, "Invalid resources query"),
        (
            {"app": ["nope"]},
            "Filter app nope not in list of apps for composite app ca",
        ),
    ],
)
def test_a_wrong_query_is_refused_in_emcos_words(query: dict[str, Any], title: str) -> None:
    with pytest.raises(Invalid) as refusal:
        ask(**query)
    assert refusal.value.title == title


def test_a_cloud_answers_without_apps_and_with_readiness_by_default() -> None:
    answer = cloud_status(
        {"project": "p", "name": "lc"},
        LIFE,
        ["east+c2", "east+c1"],
        question({"app": ["ignored"], "type": ["ignored"]}, cloud=True),
        created=NOW,
        connectivity={"east+c1": "Available"},
    )
    assert (answer["deployedStatus"], answer["readyStatus"]) == ("Instantiated", "Ready")
    assert answer["clusters"] == [
        {"clusterProvider": "east", "cluster": "c1", "connectivity": "Available"},
        {"clusterProvider": "east", "cluster": "c2", "connectivity": "Unknown"},
    ]


def test_explain_counts_present_objects_and_names_what_is_late() -> None:
    late = unit("web", "east+c1", thing("web", Ready.NOT_READY), phase=Phase.APPLIED)
    answer = explanation("p/ca/v1/dig", LIFE, [UNITS[2], late])
    assert [(u["app"], u["ready"], u["total"], u["waitingFor"]) for u in answer["units"]] == [
        ("db", 1, 1, []),
        ("web", 0, 1, ["Deployment n/web"]),
    ]


def test_explain_says_what_a_degraded_unit_lacks_and_what_comes_next() -> None:
    broken = unit("web", "east+c1", thing("web", Ready.NOT_READY), phase=Phase.DEGRADED)
    (told,) = explanation("p/ca/v1/dig", LIFE, [broken])["units"]
    assert told["waitingFor"] == ["Deployment n/web"]
    assert told["next"] == "ready again by itself, or changed by an update"


def test_explain_says_created_before_anything_was_asked() -> None:
    answer = explanation("p/ca/v1/dig", Lifecycle(), [])
    assert (answer["state"], answer["progress"], answer["units"]) == ("Created", "Created", [])
