"""Running deployments replay their history: today's workflows must accept yesterday's histories."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from emco.main import SANDBOX, WORKFLOWS

HISTORIES = sorted(Path(__file__).with_name("histories").glob("*.json"))


def load(path: Path) -> WorkflowHistory:
    document = json.loads(path.read_text())
    return WorkflowHistory.from_json(document.pop("workflowId"), document)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda p: p.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=SANDBOX
    )
    await replayer.replay_workflow(load(path))


def test_every_workflow_has_a_recorded_history() -> None:
    recorded = {path.stem.split("-")[1] for path in HISTORIES}
    assert recorded == {
        "Deployment",
        "ClusterRollout",
        "ClusterRemoval",
        "ClusterStatus",
        "ClusterTest",
        "PlanPreview",
        "Subscription",
    }


def test_nothing_depends_on_the_order_of_sets() -> None:
    """Replays again where strings hash differently: iterating a set would show."""
    script = (
        "import asyncio; from tests.replay.test_replay import *\n"
        "async def main():\n"
        "    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter,"
        " workflow_runner=SANDBOX)\n"
        "    for path in HISTORIES: await replayer.replay_workflow(load(path))\n"
        "asyncio.run(main())"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
