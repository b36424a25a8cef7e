"""`emco demo`: Online Boutique on two real clusters of this machine, and everything away again.

The demo has a state folder of its own below EMCO_DATA, so that taking it down never touches
anything else.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from emco.cli import apply, documents, events, operate, terminal, tree, up
from emco.cli.client import Api, connected
from emco.cli.failures import Code, Failure
from emco.cli.sandbox import told
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.lifecycle import RUNNING, Progress, State, Verb
from emco.domain.names import deployment_address, short_name
from emco.domain.resource import Address
from emco.sandbox import processes, toolchain
from emco.sandbox.clusters import ClusterInfo, Sandbox
from emco.sandbox.errors import SandboxError
from emco.settings import Settings

CLUSTERS: Final = ("c1", "c2")
FILE: Final = Path(__file__).resolve().parents[2] / "charts" / "online-boutique" / "emco.yaml"
CLOUD: Final = Address.of(LogicalCloud, ["shop", "edge-cloud"])
DEPLOYMENT: Final = deployment_address("shop/online-boutique/v1/boutique")
READY_SECONDS: Final = 60
HEARD: Final = ["unit", "health", "operation"]
LISTENER_SECONDS: Final = 1.0
"""More than an event takes to a listener."""


def demo(
    down: Annotated[
        bool, typer.Option("--down", help="Remove everything the demo made, except the cache")
    ] = False,
) -> None:
    """Bring up Google's Online Boutique on two Kubernetes clusters of this machine.

    Builds the clusters' programs when they are missing (about 9 minutes, once), starts two clusters and
    the system, deploys twelve apps and shows them until all are ready. Run again it changes nothing.

    Example: emco demo && emco status -w shop/online-boutique/v1/boutique
    """
    settings = Settings()
    with told():
        take_down(settings) if down else bring_up(settings)


def bring_up(settings: Settings) -> None:
    """Whatever is missing of: tools, clusters, system, resources, the deployment."""
    began = time.monotonic()
    if not FILE.is_file():
        raise SandboxError(
            "The demo's charts are not part of this installation: run from a checkout"
        )
    folder = _folder(settings)
    if not processes.is_running(_pid(folder)):
        up.require_ports(settings)  # before minutes are spent on anything else
    tools = toolchain.find(settings, terminal.say)
    terminal.say(f"clusters {' and '.join(CLUSTERS)} …")
    infos = Sandbox(folder / "sandbox").create(CLUSTERS, tools)
    _start_system(settings, tools)
    with connected() as api:
        changed = _deploy(api, infos)
    _say_what_next(settings, infos)
    seconds = time.monotonic() - began
    told = (
        f"Online Boutique is ready after {seconds:.0f} s."
        if changed
        else ("Online Boutique was up already: nothing was changed.")
    )
    terminal.say(told, style="bold green")


def take_down(settings: Settings) -> None:
    """End every process of the demo and remove its files."""
    folder = _folder(settings)
    if not folder.exists():
        terminal.say("The demo is not up: there is nothing to remove.")
        return
    pid = _pid(folder)
    if processes.is_running(pid):
        terminal.say("stopping the system …")
        processes.end(pid, seconds=30)
    sandbox = Sandbox(folder / "sandbox")
    names = [info.name for info in sandbox.all()]
    terminal.say(f"deleting clusters {' and '.join(names)} …" if names else "no clusters left")
    sandbox.delete(names)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        settings.data.rmdir()  # stays when there is anything else in it
    terminal.say(f"Nothing of the demo is left; built tools stay in {settings.cache}.")


def _folder(settings: Settings) -> Path:
    return settings.data / "demo"


def _pid(folder: Path) -> int:
    try:
        return int(json.loads((folder / "system.json").read_text())["pid"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0


def _start_system(settings: Settings, tools: toolchain.Tools) -> None:
    folder = _folder(settings)
    if processes.is_running(pid := _pid(folder)):
        _await_system(settings, pid)
        return
    terminal.say("Temporal server, worker and API …")
    root = str(Path(__file__).resolve().parents[2])
    pid = processes.start_detached(
        [sys.executable, "-m", "emco.cli.app", "up", "--quiet"],
        log=folder / "logs" / "up.log",
        environment={
            "PYTHONPATH": root,
            "EMCO_DATA": str(folder),
            "EMCO_TOOLS": str(tools["helm"].parent),
        },
    )
    (folder / "system.json").write_text(json.dumps({"pid": pid}))
    _await_system(settings, pid)


def _await_system(settings: Settings, pid: int) -> None:
    log = _folder(settings) / "logs" / "up.log"

    def is_ready() -> bool:
        if not processes.is_running(pid):
            raise SandboxError(f"The system did not start:\n{_tail(log)}\nLogs: {log.parent}")
        try:
            return httpx.get(f"{settings.url}/readyz", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    if not processes.until(is_ready, seconds=READY_SECONDS, pause=0.2):
        raise SandboxError(f"The system does not answer at {settings.url}.\nLogs: {log.parent}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text().strip().splitlines()[-5:])


def _deploy(api: Api, infos: list[ClusterInfo]) -> bool:
    """Apply the files and move the deployment on; False when everything was there and up."""
    for info in infos:
        os.environ[f"KUBECONFIG_{info.name.upper()}"] = str(info.kubeconfig)
    counts = apply.run(api, documents.read([FILE]), quiet=True)
    changed = bool(counts[apply.Verdict.CREATED] or counts[apply.Verdict.UPDATED])
    with _listener() as heard:
        moved = _move(api)
    for line in heard:
        terminal.say(f"  {line}", style="dim")
    return changed or moved


@contextmanager
def _listener() -> Iterator[list[str]]:
    """Somebody who wants to know what happens, from before the deployment begins; one line for each event."""
    heard: list[str] = []

    def listen() -> None:
        with connected() as own, suppress(Failure):
            for event in events.coming(own, f"{DEPLOYMENT}/events", {"type": HEARD}):
                heard.append(events.told(event))  # noqa: PERF401 — the list is read meanwhile

    threading.Thread(target=listen, daemon=True).start()
    yield heard
    time.sleep(LISTENER_SECONDS)
    if heard:
        terminal.say("\nWhat a listener heard:")


def _move(api: Api) -> bool:
    """Instantiate what is not up; False when it was."""
    if not operate.is_live(api, CLOUD):
        api.post(f"{CLOUD}/instantiate")
    seen = operate.look(api, DEPLOYMENT)
    if seen.state == State.CREATED:
        api.post(f"{DEPLOYMENT}/approve")
    if seen.progress is Progress.INSTANTIATED:
        terminal.out().print(tree.draw(seen))
        return False
    if seen.progress not in RUNNING:
        _require_restartable(seen.progress)
        api.post(f"{DEPLOYMENT}/instantiate")
    operate.wait_for(api, DEPLOYMENT, Verb.INSTANTIATE)
    return True


def _require_restartable(progress: Progress) -> None:
    if progress in (Progress.INSTANTIATE_FAILED, Progress.TERMINATE_FAILED):
        raise Failure(
            f"{short_name(DEPLOYMENT)} is {progress}",
            f"look why: emco explain {short_name(DEPLOYMENT)}\nstart over: emco terminate "
            f"{short_name(DEPLOYMENT)} --wait, then the demo again",
            code=Code.CONFLICT,
        )


def _say_what_next(settings: Settings, infos: list[ClusterInfo]) -> None:
    short = short_name(DEPLOYMENT)
    first = infos[0].kubeconfig
    lines = [
        "",
        f"API docs     {settings.url}/docs",
        f"Temporal UI  http://127.0.0.1:{settings.temporal_ui_port}",
        *(f"kubeconfig   {info.kubeconfig}  ({info.name})" for info in infos),
        "",
        "Five commands to try next:",
        f"  kubectl --kubeconfig {first} get pods -n online-boutique",
        f"  emco status {short}",
        f"  emco events -f {short}",
        f"  temporal workflow query --workflow-id deployment/{short} --type status",
        f"  emco terminate {short} --wait",
        "",
        f"(emco and temporal are in {Path(sys.executable).parent}; `make demo-down` removes everything.)",
    ]
    for line in lines:
        terminal.say(line)
