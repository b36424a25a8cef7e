"""The worker, halting at chosen activities, so that a test can kill something right there.

It looks into the folder that its argument names. While there is a file `arm` in it, activities are
counted for each project that the file names; the one that makes a project's number writes its name
to `halted-PROJECT`, before or after it has done its work, and stays there until it is killed.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from emco.log import configure
from emco.main import run_worker
from emco.settings import Settings


class Halting(Interceptor):
    """Counts activities by project, local ones too, while it is armed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Stand in front of every activity."""
        return _Inbound(next, self)

    async def halt(self, project: str) -> None:
        """Say where we are and stay there."""
        (self.folder / f"halted-{project}").write_text(activity.info().activity_type)
        while True:
            if not activity.info().is_local:
                activity.heartbeat()
            await asyncio.sleep(0.1)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, halting: Halting) -> None:
        super().__init__(following)
        self._halting = halting

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        arm = self._halting.folder / "arm"
        of, project, *_ = (activity.info().workflow_id or "").split("/")
        told = json.loads(arm.read_text()) if arm.exists() else {"at": {}}
        if of != "deployment" or project not in told["at"]:
            return await super().execute_activity(input)
        self._halting.counts[project] += 1
        is_here = self._halting.counts[project] == told["at"][project]
        if is_here and told["moment"] == "before":
            await self._halting.halt(project)
        result = await super().execute_activity(input)
        if is_here and told["moment"] == "after":
            await self._halting.halt(project)
        return result


if __name__ == "__main__":
    configure(style="json")
    asyncio.run(run_worker(Settings(), interceptors=[Halting(Path(sys.argv[1]))]))
