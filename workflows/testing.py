"""One cluster's part of a test: the test hooks of every app there, as `helm test` runs them."""

from temporalio import workflow

from emco.domain.contracts import ClusterRef, Planning, Stage, UnitRef
from workflows import options
from workflows.failures import all_of
from workflows.hooks import UnitHooks


@workflow.defn(name="ClusterTest")
class ClusterTestWorkflow:
    """Apps are tested side by side, the tests of one app one after the other."""

    @workflow.run
    async def run(self, part: ClusterRef) -> int:
        """Run every test; returns how many apps have any. The others go on when one fails."""
        outline = await workflow.execute_local_activity_method(
            Planning.outline, part, **options.BOOKKEEPING
        )
        workflow.set_current_details(f"testing {len(outline.hooked)} apps on {part.cluster}")
        tests = {app: self._test(UnitRef(**part.model_dump(), app=app)) for app in outline.hooked}
        await all_of(tests, f"on {part.cluster}", halt=False)
        return len(tests)

    async def _test(self, unit: UnitRef) -> None:
        hooks = await UnitHooks.of(unit, Stage.TEST, hooked=True)
        await hooks.before()
