"""Follows one cluster for as long as any deployment has something there, whatever operations come and go."""

import asyncio

from pydantic import ValidationError
from temporalio import workflow

from emco.domain import names
from emco.domain.contracts import Followed, Status, StatusRef
from workflows import options
from workflows.failures import end_all


@workflow.defn(name=names.STATUS_WORKFLOW, failure_exception_types=[ValidationError])
class ClusterStatusWorkflow:
    """One long activity, begun afresh every day so that the history stays short."""

    @workflow.init
    def __init__(self, cluster: StatusRef) -> None:
        self._wanted = True

    @workflow.signal(name=names.WANTED_SIGNAL, description="A deployment goes onto the cluster")
    def wanted(self) -> None:
        """Sent with the start by whoever claims the cluster: an end that was near is called off."""
        self._wanted = True

    @workflow.run
    async def run(self, cluster: StatusRef) -> None:
        """Follow until nothing is left to follow."""
        workflow.set_current_details(f"following {cluster.cluster}")
        while self._wanted:
            self._wanted = False
            if not (await self._follow(cluster)).unused:
                workflow.continue_as_new(cluster)

    async def _follow(self, cluster: StatusRef) -> Followed:
        following = asyncio.create_task(
            workflow.execute_activity_method(
                Status.follow, cluster, summary=f"follow {cluster.cluster}", **options.FOLLOW
            )
        )
        try:
            await workflow.wait_condition(
                lambda: following.done() or workflow.info().is_continue_as_new_suggested()
            )
        except asyncio.CancelledError:
            await end_all([following])
            raise
        if following.done():
            return following.result()
        await end_all([following])
        return Followed()
