"""Child processes that die with their owner, whatever happens to it, and log to files.

Linux ends a child by itself when its parent thread is gone (PR_SET_PDEATHSIG); that covers a
parent ended by SIGKILL, which runs no clean-up of its own.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from emco.sandbox.errors import SandboxError

STOP_SECONDS: Final = 10
_PR_SET_PDEATHSIG: Final = 1
_IS_LINUX: Final = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _IS_LINUX else None


def start(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log`. It is killed when we die."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent,
        )


def start_detached(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Start `command` so that it outlives us, with its output appended to `log`; its process id.

    A shell in between starts it and is gone at once, so nobody is left who would have to wait for it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    launch = '"$@" </dev/null >>"$EMCO_DETACHED_LOG" 2>&1 & echo $!'
    told = subprocess.run(
        ["/bin/sh", "-c", launch, "sh", *(str(part) for part in command)],
        env={**os.environ, **(environment or {}), "EMCO_DETACHED_LOG": str(log)},
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
    )
    return int(told.stdout)


def die_with_parent() -> None:
    """Run in a child between fork and exec: the kernel kills it when the thread that forked it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, insist after ten seconds."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_running(pid: int) -> bool:
    """True while there is a process of that id that has not ended (zombies have); 0 is none."""
    if not pid:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        if _IS_LINUX:
            return False
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def end(pid: int, *, seconds: float = STOP_SECONDS) -> None:
    """End a process that is not our child; returns when it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if until(lambda: not is_running(pid), seconds=seconds):
            return


def until(condition: Callable[[], bool], *, seconds: float, pause: float = 0.05) -> bool:
    """True as soon as `condition` holds, False when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on; all are held until all are known, so they differ."""
    sockets = []
    try:
        for _ in range(count):
            held = socket.socket()
            sockets.append(held)
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


def require_free(host: str, port: int, what: str, variable: str) -> None:
    """Raises `SandboxError` naming the port and how to choose another one when it is taken."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise SandboxError(
                f"Port {port} on {host} is in use, and {what} wants it.\n"
                f"Stop what listens there, or choose another port with {variable}"
            ) from None


def listens(port: int) -> bool:
    """True when something accepts connections on that loopback port."""
    with closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
