"""Holds one cluster's programs: it starts them, and they end when it ends or its owner does.

Run as a process of its own, one for each cluster, so that `emco sandbox create` can return while
the cluster lives on. Everything it starts dies with it, even when it is ended by SIGKILL.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from emco.sandbox import controlplane, processes
from emco.sandbox.toolchain import Tools

OWNER_CHECK_SECONDS: Final = 0.5


def main(folder: Path, owner: int) -> int:
    """Run the cluster in `folder` until SIGTERM, or until the process `owner` ends (0: no owner)."""
    description = json.loads((folder / "cluster.json").read_text())
    ports = controlplane.Ports(**description["ports"])
    tools = Tools({name: Path(path) for name, path in description["tools"].items()})
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands = controlplane.commands(folder, ports, tools)

    def start(name: str) -> subprocess.Popen[bytes]:
        return processes.start(commands[name], log=folder / "logs" / f"{name}.log")

    running = {name: start(name) for name in commands}
    while not stopping and not (owner and not processes.is_running(owner)):
        time.sleep(OWNER_CHECK_SECONDS)
        for name, process in running.items():
            if process.poll() is not None and not stopping:
                # The controllers give up when the API server is not there yet.
                running[name] = start(name)
    for process in reversed(running.values()):
        processes.stop(process)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
