"""`emco up`: Temporal server, worker and API on this machine, held by one process in the foreground."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from emco.cli.sandbox import told
from emco.sandbox import processes, temporal, toolchain
from emco.sandbox.errors import SandboxError
from emco.settings import Settings

START_SECONDS: Final = 60
BACKOFF_SECONDS: Final = (0.5, 1, 2, 5, 10)
STEADY_SECONDS: Final = 30
"""A part that ran this long starts its backoff afresh."""


@dataclass
class Part:
    """One of the processes of the system."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    failures: int = 0
    restart_at: float = field(default=0)

    def start(self) -> None:
        """Start it; it dies when we do."""
        self.process = processes.start(self.command, log=self.log, environment=self.environment)
        self.started, self.restart_at = time.monotonic(), 0

    def stop(self) -> None:
        """Ask it to end and wait."""
        if self.process is not None:
            processes.stop(self.process)

    def keep_running(self) -> None:
        """Start it again when it ended, later each time it ends soon."""
        now = time.monotonic()
        if self.process is None or self.process.poll() is None:
            return
        if not self.restart_at:
            self.failures = 0 if now - self.started > STEADY_SECONDS else self.failures
            pause = BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS) - 1)]
            self.failures, self.restart_at = self.failures + 1, now + pause
            typer.echo(
                f"{self.name} ended with code {self.process.returncode}; starting it again in "
                f"{pause} s (log: {self.log})",
                err=True,
            )
        elif now >= self.restart_at:
            self.start()


def up(
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but problems")] = False,
) -> None:
    """Run the whole system on this machine in the foreground; Ctrl-C stops it.

    Temporal server, worker and API, with an embedded database below EMCO_DATA. Everything is durable:
    the next `emco up` goes on where this one stopped, in the middle of an operation too.
    """
    settings = Settings()
    with told():
        run(settings, quiet=quiet)


def run(settings: Settings, *, quiet: bool = False) -> None:
    """Start the parts, say where they are, keep them running until SIGINT or SIGTERM."""
    settings.data.mkdir(parents=True, exist_ok=True)
    require_ports(settings)
    tools = toolchain.find(settings, lambda line: typer.echo(line, err=True))
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _frame: stopping.append(n))
    parts = _parts(settings, tools)
    try:
        for part in parts:
            part.start()
        _await_ready(settings, parts, stopping)
        if not quiet and not stopping:
            _say_where(settings)
        while not stopping:
            for part in parts:
                part.keep_running()
            time.sleep(0.2)
    finally:
        for part in reversed(parts):
            part.stop()


def require_ports(settings: Settings) -> None:
    """Raises `SandboxError` naming the first port that is taken, and how to choose another."""
    port = _temporal_port(settings)
    processes.require_free(settings.host, settings.port, "the API", "EMCO_PORT and EMCO_URL")
    if settings.status_port:
        processes.require_free(
            settings.host, settings.status_port, "EMCO's StatusNotify", "EMCO_STATUS_PORT"
        )
    processes.require_free("127.0.0.1", port, "Temporal", "EMCO_TEMPORAL_ADDRESS")
    processes.require_free(
        "127.0.0.1", settings.temporal_ui_port, "the Temporal UI", "EMCO_TEMPORAL_UI_PORT"
    )


def _parts(settings: Settings, tools: toolchain.Tools) -> list[Part]:
    logs = settings.data / "logs"
    root = str(Path(__file__).resolve().parents[2])
    environment = {
        "PYTHONPATH": root,
        "EMCO_DATA": str(settings.data),
        "EMCO_TOOLS": str(tools["helm"].parent),
        "EMCO_LOG_FORMAT": "json",
    }
    emco = [sys.executable, "-m", "emco.cli.app"]
    server = temporal.command(
        settings.data / "temporal.db",
        port=_temporal_port(settings),
        ui_port=settings.temporal_ui_port,
        namespace=settings.temporal_namespace,
    )
    return [
        Part("temporal", server, logs / "temporal.log", {}),
        Part("worker", [*emco, "worker"], logs / "worker.log", environment),
        Part("api", [*emco, "api"], logs / "api.log", environment),
    ]


def _await_ready(settings: Settings, parts: list[Part], stopping: list[int]) -> None:
    def is_ready() -> bool:
        for part in parts:
            part.keep_running()
        if stopping:
            return True
        try:
            return httpx.get(f"{_base(settings)}/readyz", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    if not processes.until(is_ready, seconds=START_SECONDS, pause=0.2):
        raise SandboxError(
            f"The system did not come up within {START_SECONDS} s.\n"
            f"The logs are in {settings.data / 'logs'}"
        )


def _say_where(settings: Settings) -> None:
    typer.echo(
        f"API          {_base(settings)}/docs\n"
        f"Temporal UI  http://127.0.0.1:{settings.temporal_ui_port}\n"
        f"Temporal     {settings.temporal_address}\n"
        f"state, logs  {settings.data}\n"
        "Ctrl-C stops everything; nothing is lost."
    )


def _base(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def _temporal_port(settings: Settings) -> int:
    return int(settings.temporal_address.rpartition(":")[2])
