"""The real temporal CLI against the test's server."""

import subprocess

from emco.sandbox.toolchain import temporal_binary


def temporal(address: str, *arguments: str, check: bool = True) -> str:
    """Run it; everything it prints."""
    command = [str(temporal_binary()), *arguments, "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr
