"""The commands a person types: `emco up`, `emco demo`, on ports and in folders of the test's own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from emco.sandbox import processes
from emco.sandbox.toolchain import Tools
from tests.e2e.test_sandbox import started_from

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(tmp_path: Path, tools: Tools) -> Iterator[dict[str, str]]:
    """Settings for one installation of its own; nothing of it may be left running."""
    api, temporal, ui = processes.free_ports(3)
    yield {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EMCO_DATA": str(tmp_path / "data"),
        "EMCO_PORT": str(api),
        "EMCO_STATUS_PORT": "0",
        "EMCO_URL": f"http://127.0.0.1:{api}",
        "EMCO_TEMPORAL_ADDRESS": f"127.0.0.1:{temporal}",
        "EMCO_TEMPORAL_UI_PORT": str(ui),
        "EMCO_TOOLS": str(tools["helm"].parent),
    }
    assert processes.until(lambda: not started_from(tmp_path / "data"), seconds=30)


def emco(*arguments: str, env: dict[str, str], check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "emco.cli.app", *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    told = done.stdout + done.stderr
    assert not check or done.returncode == 0, told
    return told


class Up:
    """`emco up` in the foreground of another process."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self.told = ""

    def __enter__(self) -> "Up":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emco.cli.app", "up"],
            env=self._env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert processes.until(self.answers, seconds=60), "emco up did not come up"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.told = self.process.communicate(timeout=40)[0]

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self._env['EMCO_URL']}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False


def test_up_goes_on_where_it_stopped_and_names_a_port_that_is_taken(
    environment: dict[str, str],
) -> None:
    url = f"{environment['EMCO_URL']}/v2/projects"
    with Up(environment) as first:
        answer = httpx.post(url, json={"metadata": {"name": "kept"}}, trust_env=False)
        assert answer.status_code == 201
        refused = emco("up", env=environment, check=False)
        assert environment["EMCO_PORT"] in refused
        assert "EMCO_PORT" in refused
    assert f"{environment['EMCO_URL']}/docs" in first.told
    assert first.process.returncode == 0
    assert not first.answers()
    with Up(environment):
        names = [p["metadata"]["name"] for p in httpx.get(url, trust_env=False).json()]
        assert names == ["kept"]


def test_up_starts_a_part_again_that_was_killed(environment: dict[str, str]) -> None:
    with Up(environment) as running:
        (api,) = [pid for pid in _children(running.process.pid) if b"api" in _command(pid)]
        os.kill(api, signal.SIGKILL)
        assert processes.until(lambda: not running.answers(), seconds=10)
        assert processes.until(running.answers, seconds=40)
    assert "api ended" in running.told


def test_when_up_is_killed_its_parts_die_with_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    running = Up(environment)
    running.__enter__()
    children = _children(running.process.pid)
    assert len(children) == 3
    running.process.kill()
    running.process.communicate()
    assert processes.until(lambda: not any(map(processes.is_running, children)), seconds=10)


def test_the_demo_comes_up_changes_nothing_again_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    first = emco("demo", env=environment)
    assert "Online Boutique is ready" in first
    assert "12 ready" in first
    assert "kubectl --kubeconfig" in first
    again = emco("demo", env=environment)
    assert "nothing was changed" in again
    short = "shop/online-boutique/v1/boutique"
    assert "Everything is ready: 12 units on 2 clusters" in emco("explain", short, env=environment)
    gone = emco("demo", "--down", env=environment)
    assert "Nothing of the demo is left" in gone
    assert not (tmp_path / "data").exists()
    assert started_from(tmp_path / "data") == []
    assert "nothing to remove" in emco("demo", "--down", env=environment)


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2]
