"""Whatever can be wrong with a machine that builds the tools is told, and the second try works."""

import os
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from emco.sandbox import processes, toolchain
from emco.sandbox.errors import SandboxError
from emco.settings import Settings

Usage = namedtuple("Usage", "total used free")
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "helm")

BUILDS = """
case "$1" in
  version) echo go version go1.26.8 linux/amd64 ;;
  list) echo one; echo two ;;
  build)
    while [ "$1" != -o ]; do shift; done
    for name in server kube-apiserver kube-controller-manager kube-scheduler kwok helm; do
      echo made > "$2$name"
    done ;;
esac
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A machine with nothing on PATH but a shell's own tools, and an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Settings(cache=tmp_path / "cache", data=tmp_path / "data", tools=None)


def put(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_without_go_the_message_says_which_go_and_what_else_would_do(settings: Settings) -> None:
    with pytest.raises(SandboxError, match=r"(?s)Go is missing.*1\.26.*EMCO_TOOLS"):
        toolchain.find(settings)


def test_a_go_that_is_too_old_is_named_with_its_version(settings: Settings, tmp_path: Path) -> None:
    put(tmp_path / "bin", "go", "echo go version go1.19 linux/amd64")
    with pytest.raises(SandboxError, match=r"(?s)too old.*go1\.19.*1\.26"):
        toolchain.find(settings)


def test_too_little_disk_is_told_before_anything_is_built(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "bin", "go", BUILDS)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10, 9, 1024**3))
    with pytest.raises(SandboxError, match=r"1\.0 GiB are free.*6 GiB"):
        toolchain.find(settings)


def test_a_disk_that_fills_up_while_building_is_told(settings: Settings, tmp_path: Path) -> None:
    full = 'case "$1" in version) echo go version go1.27.0 x;; list) echo one;; *) echo "write: no space left on device" >&2; exit 1;; esac'
    put(tmp_path / "bin", "go", full)
    with pytest.raises(SandboxError, match="disk is full"):
        toolchain.find(settings)


def test_a_failed_build_tells_what_go_said_and_leaves_no_half_made_cache(
    settings: Settings, tmp_path: Path
) -> None:
    broken = 'case "$1" in version) echo go version go1.26.0 x;; list) echo one;; *) echo "dial tcp: no route" >&2; exit 1;; esac'
    put(tmp_path / "bin", "go", broken)
    with pytest.raises(SandboxError, match="no route"):
        toolchain.find(settings)
    assert list((settings.cache / "tools").glob("*")) == []
    put(tmp_path / "bin", "go", BUILDS)
    assert toolchain.find(settings)["helm"].is_file(), "the second try works"


def test_what_is_built_once_is_found_without_go(settings: Settings, tmp_path: Path) -> None:
    put(tmp_path / "bin", "go", BUILDS)
    lines: list[str] = []
    built = toolchain.find(settings, lines.append)
    assert lines[0].startswith("building etcd")
    assert lines[-1].startswith("tools are ready after")
    (tmp_path / "bin" / "go").unlink()
    assert toolchain.find(settings) == built
    assert {path.name for path in built.paths.values()} == set(NAMES)


def test_a_cache_with_holes_is_filled(settings: Settings, tmp_path: Path) -> None:
    put(tmp_path / "bin", "go", BUILDS)
    built = toolchain.find(settings)
    built["kwok"].unlink()
    assert toolchain.find(settings)["kwok"].is_file()


def test_a_tool_on_path_or_in_the_tools_folder_is_not_built(
    settings: Settings, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in NAMES[1:]:
        put(own, name, "exit 0")
    put(tmp_path / "bin", "etcd", "exit 0")
    tools = toolchain.find(settings.model_copy(update={"tools": own}))
    assert tools["helm"] == own / "helm"
    assert tools["etcd"] == tmp_path / "bin" / "etcd"
    assert not os.path.exists(settings.cache)  # noqa: PTH110 — the point is that nothing was made


def test_a_build_that_was_killed_just_works_the_second_time(
    settings: Settings, tmp_path: Path
) -> None:
    hangs = BUILDS.replace('> "$2$name"', '> "$2$name"; exec /bin/sleep 600')
    put(tmp_path / "bin", "go", hangs)
    script = (
        "from pathlib import Path; from emco.sandbox import toolchain; from emco.settings import Settings\n"
        f"toolchain.find(Settings(cache=Path({str(settings.cache)!r}), tools=None))"
    )
    root = Path(__file__).resolve().parents[3]
    environment = {"PATH": str(tmp_path / "bin"), "PYTHONPATH": str(root)}
    builder = subprocess.Popen([sys.executable, "-c", script], env=environment)
    assert processes.until(lambda: bool(list(settings.cache.glob("tools/.*/server"))), seconds=20)
    builder.kill()
    builder.wait()
    put(tmp_path / "bin", "go", BUILDS)
    assert toolchain.find(settings)["etcd"].read_text() == "made\n"
    assert list(settings.cache.glob("tools/.*")) == []
