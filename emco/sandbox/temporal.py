"""A Temporal server on this machine: one process, its state in a file, tuned as a small installation needs."""

from pathlib import Path

from emco.domain.names import SEARCH_ATTRIBUTES
from emco.sandbox.toolchain import temporal_binary


def command(
    database: Path, *, port: int, ui_port: int | None, namespace: str = "default"
) -> list[str]:
    """The server's command line. Without a `ui_port` it serves no UI."""
    attributes = [f"--search-attribute={key.name}=Keyword" for key in SEARCH_ATTRIBUTES]
    settings = {
        # One partition per queue: below a thousand tasks a second more of them only add latency.
        "matching.numTaskqueueReadPartitions": "1",
        "matching.numTaskqueueWritePartitions": "1",
        "matching.enableFairness": "true",
    }
    return [
        str(temporal_binary()),
        "server",
        "start-dev",
        "--ip=127.0.0.1",
        f"--port={port}",
        *([f"--ui-port={ui_port}", "--ui-ip=127.0.0.1"] if ui_port else ["--headless"]),
        f"--db-filename={database}",
        # Without these a write waits for the disk each time: 2.6 times slower, no safer against a crash.
        "--sqlite-pragma=journal_mode=wal",
        "--sqlite-pragma=synchronous=normal",
        f"--namespace={namespace}",
        "--log-level=warn",
        *attributes,
        *(f"--dynamic-config-value={key}={value}" for key, value in settings.items()),
    ]
