"""A plan that is only looked at: rendered and compared, and nothing is touched."""

from temporalio import workflow

from emco.domain import names
from emco.domain.contracts import Planning, Preview, PreviewRequest
from workflows import options


@workflow.defn(name=names.PREVIEW_WORKFLOW)
class PlanPreviewWorkflow:
    """Its result is the digest by which an operation can ask for exactly this plan."""

    @workflow.run
    async def run(self, request: PreviewRequest) -> Preview:
        """Plan and compare."""
        return await workflow.execute_activity_method(
            Planning.preview,
            request,
            summary=f"what would change in {request.deployment}",
            **options.PLAN,
        )
