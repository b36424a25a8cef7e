"""The worker, halting at chosen places, so that a test can kill something right there.

It looks into the folder that its argument names. While there is a file `arm` in it, activities are
counted for each project that the file names; the one that makes a project's number writes its name
to `halted-PROJECT`, before or after it has done its work, and stays there until it is killed.
Where the file names an activity in `within`, what is counted are that activity's calls of a
cluster, and the one that makes the number halts after it.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities import clusters
from activities.clusters import Cluster
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

    async def halt(self, project: str, where: str = "") -> None:
        """Say where we are and stay there."""
        place = where or activity.info().activity_type
        (self.folder / f"halted-{project}").write_text(place)
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
        if of != "deployment" or project not in told["at"] or "within" in told:
            return await super().execute_activity(input)
        self._halting.counts[project] += 1
        is_here = self._halting.counts[project] == told["at"][project]
        if is_here and told["moment"] == "before":
            await self._halting.halt(project)
        result = await super().execute_activity(input)
        if is_here and told["moment"] == "after":
            await self._halting.halt(project)
        return result


class HaltingCluster(Cluster):
    """A cluster whose calls are counted."""

    halting: ClassVar[Halting]

    async def _json(self, method: str, path: str, **how: Any) -> Any:
        answer = await super()._json(method, path, **how)
        arm = self.halting.folder / "arm"
        told = json.loads(arm.read_text()) if arm.exists() and activity.in_activity() else {}
        if told.get("within") == activity.info().activity_type if told else False:
            project = (activity.info().workflow_id or "").split("/")[1]
            self.halting.counts[project] += 1
            if self.halting.counts[project] == told["at"].get(project):
                await self.halting.halt(project, f"{method} {path}")
        return answer


if __name__ == "__main__":
    configure(style="json")
    HaltingCluster.halting = Halting(Path(sys.argv[1]))
    clusters.Cluster = HaltingCluster  # type: ignore[misc]
    asyncio.run(run_worker(Settings(), interceptors=[HaltingCluster.halting]))
