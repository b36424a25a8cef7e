"""Moving deployments and looking at them: what is told, when it ends, and with which exit code."""

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from emco.domain.lifecycle import Verb, accept
from emco.domain.resource import Address
from emco.domain.status import Phase
from emco.store.store import Store
from tests.unit.cli.conftest import ROOT, Emco, Served, done, unit

DEPLOYMENT = "shop/online-boutique/v1/boutique"


@pytest.fixture
def approved(boutique: Served, emco: Emco) -> Served:
    assert emco("approve", DEPLOYMENT).stdout == f"approved  {DEPLOYMENT}\n"
    return boutique


def test_instantiate_before_approve_says_what_to_do(boutique: Served, emco: Emco) -> None:
    result = emco("instantiate", DEPLOYMENT)
    assert result.exit_code == 4
    assert "approve it first" in result.stderr
    assert f"next: emco approve {DEPLOYMENT}" in emco("explain", DEPLOYMENT).stdout


def test_without_wait_it_only_begins(approved: Served, emco: Emco) -> None:
    result = emco("instantiate", DEPLOYMENT)
    assert (result.exit_code, result.stdout) == (0, f"instantiating  {DEPLOYMENT}\n")
    assert f"emco status -w {DEPLOYMENT}" in result.stderr


def test_wait_tells_every_change_until_all_is_ready(approved: Served, emco: Emco) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = [
        unit("frontend", Phase.APPLIED, message="0 of 2 replicas"),
        done(Verb.INSTANTIATE),
        unit("frontend", Phase.READY),
    ]
    result = emco("instantiate", DEPLOYMENT, "--wait")
    assert result.exit_code == 0
    told = [line.split("s  ", 1)[-1] for line in result.stdout.splitlines()]
    assert told[0] == f"{DEPLOYMENT} Instantiating"
    assert "frontend edge+c1 Ready 1/1" in told
    assert told[-1] == f"{DEPLOYMENT}  Instantiated  1 ready"


def test_a_failed_operation_names_the_unit_and_why(approved: Served, emco: Emco) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = [
        unit("frontend", Phase.FAILED, message="no image"),
        done(Verb.INSTANTIATE, failure="frontend failed"),
    ]
    result = emco("instantiate", DEPLOYMENT, "--wait")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: Could not instantiate {DEPLOYMENT}",
        "  frontend on edge+c1: no image",
        f"  more: emco explain {DEPLOYMENT}",
    ]
    explained = emco("explain", DEPLOYMENT).stdout
    assert "The last operation failed: frontend failed" in explained
    assert re.search(
        r"frontend on edge\+c1 is Failed for \ds, 0 of 1 objects are ready\.", explained
    )
    assert f"next: emco resume {DEPLOYMENT}" in explained


def test_the_timeout_has_its_own_code_and_says_what_is_late(approved: Served, emco: Emco) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = []
    result = emco("instantiate", DEPLOYMENT, "--wait", "--timeout", "0")
    assert result.exit_code == 6
    assert f"look again: emco status -w {DEPLOYMENT}" in result.stderr


def test_ctrl_c_ends_the_looking_and_not_the_operation(approved: Served) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = []
    command = [sys.executable, "-m", "emco.cli.app", "instantiate", DEPLOYMENT, "--wait"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "Instantiating" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == f"it goes on; look again: emco status -w {DEPLOYMENT}\n"


def overtaken(store: Store, at: Address) -> None:
    """Somebody else terminates it, and that is done at once."""
    now = datetime.now(UTC)
    store.change_lifecycle(
        at, lambda life: accept(life, Verb.TERMINATE, at.name, operation="other", now=now)
    )
    done(Verb.TERMINATE)(store, at)


def test_a_terminate_that_overtakes_ends_the_wait(approved: Served, emco: Emco) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = [
        lambda store, at: None,
        overtaken,
    ]
    result = emco("instantiate", DEPLOYMENT, "--wait")
    assert result.exit_code == 4
    assert "is Terminated" in result.stderr


def test_terminate_waits_until_it_is_terminated(approved: Served, emco: Emco) -> None:
    assert emco("instantiate", DEPLOYMENT, "--wait").exit_code == 0
    result = emco("terminate", DEPLOYMENT, "--wait")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"{DEPLOYMENT}  Terminated"
    assert emco("terminate", DEPLOYMENT).exit_code == 4


def test_status_shows_units_as_a_table_and_emcos_answer_as_json(
    approved: Served, emco: Emco
) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = [
        unit("frontend", Phase.APPLIED, message="0 of 2 replicas"),
        unit("cartservice", Phase.READY, cluster="edge+c2"),
    ]
    emco("instantiate", DEPLOYMENT)
    approved.settle()
    shown = emco("status", DEPLOYMENT).stdout.splitlines()
    assert shown[0] == f"{DEPLOYMENT}  Instantiating  1 applied, 1 ready"
    assert shown[2].split()[:4] == ["cartservice", "edge+c2", "Ready", "1/1"]
    assert shown[3].split()[:4] == ["frontend", "edge+c1", "Applied", "0/1"]
    assert "Deployment ns/frontend: 0 of 2 replicas" in shown[3]
    answer = json.loads(emco("status", DEPLOYMENT, "-o", "json").stdout)
    assert answer["deployedStatus"] == "Instantiating"
    assert json.loads(emco("explain", DEPLOYMENT, "-o", "json").stdout)["units"]
    assert "waits for Deployment ns/frontend" in emco("explain", DEPLOYMENT).stdout


def test_a_cloud_is_opened_waited_for_and_shown(boutique: Served, emco: Emco) -> None:
    shown = emco("status", "--cloud", "shop/edge-cloud").stdout
    assert shown.splitlines()[0] == "shop/edge-cloud  Instantiated"
    assert "edge+c2" in shown
    result = emco("terminate", "--cloud", "shop/edge-cloud", "--wait")
    assert result.stdout == "terminated  shop/edge-cloud\n"
    shown = emco("status", "--cloud", "shop/edge-cloud").stdout
    assert "next: emco instantiate --cloud shop/edge-cloud" in shown


@pytest.mark.parametrize("arguments", [[], [DEPLOYMENT, "--cloud", "shop/edge-cloud"]])
def test_a_deployment_or_a_cloud_must_be_named(emco: Emco, arguments: list[str]) -> None:
    result = emco("instantiate", *arguments)
    assert result.exit_code == 2
    assert "--cloud project/cloud" in result.stderr


def test_a_deployment_that_is_not_there_is_not_found(served: Served, emco: Emco) -> None:
    for verb in ("approve", "instantiate", "terminate", "status", "explain"):
        assert emco(verb, "a/b/c/d").exit_code == 3, verb


def test_a_test_that_fails_is_told_and_leaves_the_deployment_up(
    approved: Served, emco: Emco
) -> None:
    approved.operations.steps[Verb.INSTANTIATE] = [
        unit("frontend", Phase.READY),
        done(Verb.INSTANTIATE),
    ]
    assert emco("instantiate", DEPLOYMENT, "--wait").exit_code == 0
    approved.operations.steps[Verb.TEST] = [done(Verb.TEST, failure="nobody answers")]
    result = emco("test", DEPLOYMENT, "--wait")
    assert result.exit_code == 1
    assert "nobody answers" in result.stderr
    assert "is Instantiated" in emco("explain", DEPLOYMENT).stdout


def test_an_answer_for_a_hook_that_is_not_there_says_which_are(
    approved: Served, emco: Emco
) -> None:
    result = emco("answer", DEPLOYMENT, "nothing", "done")
    assert result.exit_code == 3
    assert "there are: none" in result.stderr
