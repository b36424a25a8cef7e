"""The receiver in the user guide does what the page says: it is run as it stands there."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from activities.notices.http import GuardedHttp
from activities.notices.webhook import Webhook
from emco.domain.events import Event, EventType
from emco.domain.guard import Allowance
from emco.domain.notices import SinkSpec, Undelivered
from emco.sandbox import processes

PAGE = Path(__file__).resolve().parents[3] / "docs" / "notifications.md"
SECRET = "whsec_" + "a2V5" * 8
EVENT = Event(
    sequence=1,
    project="shop",
    type=EventType.HOOK,
    target="done",
    time=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) == 15
    path, (port,) = tmp_path / "receiver.py", processes.free_ports(1)
    path.write_text(code)
    process = subprocess.Popen(
        [sys.executable, path, SECRET, str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert processes.until(lambda: processes.listens(port), seconds=10)
    yield process, port
    process.kill()
    process.communicate()


async def send(port: int, secret: str) -> None:
    sink = {"type": "webhook", "url": f"http://127.0.0.1:{port}/", "signingSecrets": [secret]}
    async with GuardedHttp(Allowance.parse("127.0.0.1"), 5) as http:
        await Webhook(SinkSpec.model_validate(sink), http).send([EVENT])


async def test_it_prints_what_is_signed_and_refuses_the_rest(
    receiver: tuple["subprocess.Popen[str]", int],
) -> None:
    process, port = receiver
    with pytest.raises(Undelivered, match="401"):
        await send(port, "whsec_" + "b3Ro" * 8)
    headers = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{port}/", content=b"{}", headers=headers)
    assert answer.status_code == 401
    await send(port, SECRET)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(3)]
    assert told[:2] == ["forged\n"] * 2
    assert json.loads(told[2])["data"]["to"] == "done"
