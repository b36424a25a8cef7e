"""What happens, as lines and as commands; a stream that is cut off goes on where it was."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emco.domain.events import EventType, Note, Severity, hook_news, news
from emco.domain.kinds.delivery import Deployment
from emco.domain.releases import HookRow
from emco.domain.resource import Address
from emco.domain.status import ObjectKey, Phase, UnitRow
from tests.unit.cli.conftest import Emco, Served

DEPLOYMENT = "shop/online-boutique/v1/boutique"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "notifications.md"
AT = Address.of(Deployment, DEPLOYMENT.split("/"))


def hook(number: int, **more: Any) -> Note:
    return Note(type=EventType.HOOK, app="cart", target=f"done-{number}", **more)


@contextmanager
def running(served: Served, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command as a process of its own, ended as a person would."""
    environment = {**os.environ, "EMCO_URL": served.url}
    process = subprocess.Popen(
        [sys.executable, "-m", "emco.cli.app", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_events_are_lines(boutique: Served, emco: Emco) -> None:
    boutique.store.note(AT, hook(1, cluster="edge+c1", source="begun", message="it went well"))
    done = emco("events", DEPLOYMENT, "--type", "hook")
    assert done.exit_code == 0
    assert "hook  cart  on edge+c1  begun → done-1  it went well" in done.stdout
    assert done.stdout.count("\n") == 1


def test_hooks_and_gates_are_told_with_what_they_are(boutique: Served, emco: Emco) -> None:
    migrate = ObjectKey(api_version="batch/v1", kind="Job", namespace="ns", name="migrate")
    run = {"id": "1", "run": "1", "event": "pre-install", "key": migrate, "state": "Running"}
    place: dict[str, Any] = {"app": "cart", "cluster": "edge+c1", "since": datetime.now(UTC)}
    waiting = UnitRow(**place, phase=Phase.WAITING, message="waits for db")
    boutique.store.note(AT, *hook_news(None, HookRow.model_validate({**place, **run})))
    boutique.store.note(AT, *news(None, waiting).notes)
    lines = emco("events", DEPLOYMENT, "--type", "hook", "--type", "gate").stdout.splitlines()
    assert [line[10:] for line in lines] == [
        "hook  pre-install  cart  on edge+c1  Job migrate  Waiting → Running",
        "gate  cart  on edge+c1  waiting  waits for db",
    ]


def test_events_of_a_project_as_json(boutique: Served, emco: Emco) -> None:
    boutique.store.note(AT, hook(1), hook(2, severity=Severity.ERROR))
    done = emco("events", "shop", "--severity", "error", "-o", "json")
    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert told["to"] == "done-2"


def test_a_project_that_does_not_exist_is_said_so(boutique: Served, emco: Emco) -> None:
    assert emco("events", "nobody").exit_code == 3
    assert emco("events", "-f", "nobody").exit_code == 3


def test_following_shows_what_was_and_what_comes(boutique: Served) -> None:
    boutique.store.note(AT, hook(1))
    with running(boutique, "events", "-f", DEPLOYMENT, "--type", "hook") as process:
        assert process.stdout is not None
        assert "done-1" in process.stdout.readline()
        time.sleep(0.5)
        boutique.store.note(AT, hook(2))
        assert "done-2" in process.stdout.readline()


def test_a_command_is_run_for_each_event(boutique: Served, tmp_path: Path) -> None:
    """It gets the event on its standard input, and may fail."""
    script = tmp_path / "told.py"
    script.write_text(
        "import json, sys\ne = json.load(sys.stdin)\nprint(e['to'], flush=True)\nsys.exit(e['to'] == 'done-1')"
    )
    command = f"{sys.executable} {script}"
    with running(boutique, "subscribe", DEPLOYMENT, "--type", "hook", "--exec", command) as process:
        time.sleep(1.5)
        boutique.store.note(AT, hook(1), hook(2))
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["done-1", "done-2"]
        assert process.stderr is not None
        assert "ended with 1 for the event" in process.stderr.readline()


@pytest.mark.parametrize("command", ["", "/no/such/program"])
def test_a_command_that_cannot_be_run_is_said_so(
    boutique: Served, emco: Emco, command: str
) -> None:
    done = emco("subscribe", DEPLOYMENT, "--exec", command)
    assert done.exit_code == 2
    assert "error:" in done.stderr


def test_the_subscription_in_the_user_guide_can_be_applied(
    boutique: Served, emco: Emco, tmp_path: Path
) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "pager.yaml"
    path.write_text(text.replace("whsec_…", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    done = emco("apply", "-f", str(path))
    assert done.exit_code == 0, done.stderr
    shown = emco("get", "status-subscription", "shop/pager", "-o", "json").stdout
    assert json.loads(shown)["spec"]["sink"]["signingSecrets"] == ["**********"]
