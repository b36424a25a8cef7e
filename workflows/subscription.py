"""One listener for as long as its subscription exists: what is told, when it is tried again, what rests.

The store has the cursor, so the history only has what a person would want to know of: a few events
an hour while all is well, and one timer for each long pause.
"""

from temporalio import workflow

from emco.domain import names
from emco.domain.contracts import Delivered, Listening, Notices, Standing, Tried
from workflows import options


@workflow.defn(name=names.SUBSCRIPTION_WORKFLOW)
class SubscriptionWorkflow:
    """Ends when the subscription is gone."""

    @workflow.init
    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._last = Delivered()
        self._woken = False

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL, description="The subscription was changed")
    def look_again(self) -> None:
        """What rests is looked at anew at once."""
        self._woken = True

    @workflow.update(name=names.TEST_UPDATE, description="Tell the listener a test event")
    async def test(self, listening: Listening) -> Tried:
        """What came of it; the listener's cursor stays where it is."""
        return await workflow.execute_activity_method(
            Notices.test, listening, summary="test", **options.TELL_ONCE
        )

    @workflow.query(name="status", description="Cursor, and why the listener rests if it does")
    def status(self) -> Delivered:
        """As it was when something was last heard; the API's status is up to date."""
        return self._last

    @workflow.run
    async def run(self, listening: Listening) -> Delivered:
        """Tell, rest, tell again."""
        while True:
            self._woken = False
            self._last = await workflow.execute_activity_method(
                Notices.deliver, listening, summary=listening.subscription, **options.TELL
            )
            self._show()
            if self._last.standing is Standing.GONE:
                break
            await self._rest()
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(listening)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._last

    async def _rest(self) -> None:
        """Until it is time again, or the subscription was changed."""
        if self._last.standing is not Standing.LISTENING:
            await workflow.wait_condition(lambda: self._woken)
        elif self._last.again_in:
            try:
                await workflow.wait_condition(lambda: self._woken, timeout=self._last.again_in)
            except TimeoutError:
                return

    def _show(self) -> None:
        lines = [
            f"**{self._last.standing}** {self._listening.subscription}, at {self._last.cursor}"
        ]
        if self._last.note:
            lines += ["", self._last.note]
        workflow.set_current_details("\n".join(lines))
