"""One deployment from its first instantiate until it is terminated: the workflow people look at.

Updates ask for operations and are answered as soon as the store has accepted them; the run loop
carries them out one at a time. Cancelling the workflow is a graceful terminate.
"""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field, ValidationError
from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from emco.domain import names
from emco.domain.contracts import (
    BeginRequest,
    Begun,
    ClusterRef,
    Drift,
    Ended,
    EndRequest,
    FailureType,
    Message,
    News,
    Planning,
    PlanRequest,
    Records,
    UnitResult,
)
from emco.domain.lifecycle import OnBusy, Outcome, Progress, Verb, begun
from workflows import options
from workflows.failures import cancel, end_all, results_of, root, root_message
from workflows.gates import Gatehouse
from workflows.operation import Ending, Operation


class Request(Message):
    """An operation asked for. The id makes asking twice harmless; without one the workflow picks it.

    `revision` is for a rollback, `target` for a migrate; `plan_digest` asks for exactly the plan
    that was shown under it; `who` and `why` are remembered.
    """

    operation: str = ""
    on_busy: OnBusy = OnBusy.REFUSE
    plan_digest: str = ""
    revision: int = 0
    target: str = ""
    who: str = ""
    why: str = ""


class Ask(Message):
    """A verb that waits for its turn."""

    verb: Verb
    request: Request


class Start(Message):
    """`{"deployment": "project/compositeApp/version/name"}` instantiates it.

    The API starts with `instantiate: false` and sends its verb as an update in the same call.
    The other fields carry over what is known when a long history is started afresh, or when a
    migration hands over an operation that was accepted already.
    """

    deployment: str = Field(pattern=r"^[^/]+(/[^/]+){3}$")
    instantiate: bool = True
    progress: Progress = Progress.CREATED
    operation: str = ""
    remnants: tuple[str, ...] = ()
    waiting: tuple[Ask, ...] = ()
    begun: Begun | None = None


class Overview(Message):
    """The answer to the query `status`: cluster to the step its part is at."""

    deployment: str
    progress: Progress
    operation: str = ""
    message: str = ""
    clusters: dict[str, str] = Field(default_factory=dict)
    remnants: tuple[str, ...] = ()
    waiting: tuple[Verb, ...] = ()


@workflow.defn(name=names.DEPLOYMENT_WORKFLOW, failure_exception_types=[ValidationError])
class DeploymentWorkflow:
    """Entity workflow of one deployment."""

    @workflow.init
    def __init__(self, start: Start) -> None:
        self._deployment = start.deployment
        self._progress = start.progress
        self._remnants = start.remnants
        self._waiting = list(start.waiting)
        self._accepted: list[Begun] = []
        self._running: asyncio.Task[Ending] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._drifted = ""
        self._healed: datetime | None = None
        self._stopping = self._settling = False
        self._recording = 0
        self._operation = start.operation
        self._message = ""
        self._clusters: dict[str, str] = {}
        self._gatehouse = Gatehouse()
        self._asked = False
        if start.begun is not None:
            self._enqueue(start.begun)

    # -- what can be asked ----------------------------------------------------------------------

    @workflow.update(name="instantiate", description="Bring the deployment up on its clusters")
    async def instantiate(self, request: Request) -> Begun:
        """Accepted when recorded; the operation then runs on its own. So do the other verbs."""
        return await self._ask(Verb.INSTANTIATE, request)

    @workflow.update(name="update", description="Bring about what is described now")
    async def update(self, request: Request) -> Begun:
        """Charts, profiles, values and placement as they are now; what is unwanted is removed."""
        return await self._ask(Verb.UPDATE, request)

    @workflow.update(name="rollback", description="Bring about an earlier revision")
    async def rollback(self, request: Request) -> Begun:
        """The revision's plan as it was, byte for byte."""
        return await self._ask(Verb.ROLLBACK, request)

    @workflow.update(name="migrate", description="Hand over to another version's deployment")
    async def migrate(self, request: Request) -> Begun:
        """The target's workflow carries it out, as an update of what is there."""
        return await self._ask(Verb.MIGRATE, request)

    @workflow.update(name="resume", description="Go on with what failed or was stopped")
    async def resume(self, request: Request) -> Begun:
        """With the same plan; what is done already is not done again."""
        return await self._ask(Verb.RESUME, request)

    @workflow.update(name="test", description="Run the test hooks of what is up")
    async def test(self, request: Request) -> Begun:
        """Nothing of the deployment is changed, whatever they come to."""
        return await self._ask(Verb.TEST, request)

    @workflow.update(name="stop", description="Halt the running operation at the next safe point")
    async def stop(self, request: Request) -> Begun:
        """What is done stays; resume or terminate go on from there."""
        accepted = await self._record(Verb.STOP, request)
        self._stopping = True
        self._stop_running()
        return accepted

    @workflow.update(name="terminate", description="Remove the deployment from all its clusters")
    async def terminate(self, request: Request) -> Begun:
        """It takes the place of whatever runs, which is stopped first."""
        return await self._ask(Verb.TERMINATE, request)

    @instantiate.validator
    def _may_instantiate(self, request: Request) -> None:
        self._refuse_when_busy(Verb.INSTANTIATE, request)

    @update.validator
    def _may_update(self, request: Request) -> None:
        self._refuse_when_busy(Verb.UPDATE, request)

    @rollback.validator
    def _may_rollback(self, request: Request) -> None:
        self._refuse_when_busy(Verb.ROLLBACK, request)

    @migrate.validator
    def _may_migrate(self, request: Request) -> None:
        if self._is_busy and request.on_busy is OnBusy.SUPERSEDE:
            raise _refusal(
                f"cannot migrate {self._deployment} in the middle of another operation: "
                "stop or await that one; what is half done cannot be handed over"
            )
        self._refuse_when_busy(Verb.MIGRATE, request)

    @test.validator
    def _may_test(self, request: Request) -> None:
        self._refuse_when_busy(Verb.TEST, request)

    @resume.validator
    def _may_resume(self, request: Request) -> None:
        self._refuse_when_busy(Verb.RESUME, request)

    @workflow.signal(name="take-over", description="Go on with a migration that was accepted")
    def take_over(self, accepted: Begun) -> None:
        """Sent by the workflow of the deployment that was migrated, when this one runs already."""
        self._enqueue(accepted)
        self._tell()

    @workflow.signal(
        name=names.POLICIES_SIGNAL, description="The deployment's policies were changed"
    )
    def look_again(self) -> None:
        """The watch for drift begins anew, under the policies as they are now."""
        if self._watching is not None:
            self._watching.cancel()

    @workflow.signal(name=names.MILESTONES_SIGNAL, description="What a cluster's part has come to")
    def learn(self, news: News) -> None:
        """Sent by the parts of an operation in which apps wait for each other."""
        self._gatehouse.learn(news)

    @workflow.signal(
        name=names.DEPENDENCIES_SIGNAL, description="The dependencies of apps were changed"
    )
    def dependencies_changed(self) -> None:
        """They count at once for every app that has not started."""
        self._gatehouse.dependencies_changed()

    @workflow.query(
        name="status", description="Progress, running operation, and each cluster's step"
    )
    def status(self) -> Overview:
        """A look at the workflow itself; the API's status has every object."""
        return Overview(
            deployment=self._deployment,
            progress=self._progress,
            operation=self._operation,
            message=self._message,
            clusters=dict(self._clusters),
            remnants=self._remnants,
            waiting=tuple(ask.verb for ask in self._waiting),
        )

    # -- the loop -------------------------------------------------------------------------------

    @workflow.run
    async def run(self, start: Start) -> Overview:
        """Carry out what is asked, until nothing of the deployment is left."""
        self._tell()
        try:
            if start.instantiate:
                await self._record(Verb.INSTANTIATE, Request())
            while await self._more_to_do():
                await self._carry_out(self._accepted.pop(0))
                if workflow.info().is_continue_as_new_suggested() and not self._accepted:
                    await self._start_afresh()
        except asyncio.CancelledError:
            await self._cancelled()
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.status()

    async def _more_to_do(self) -> bool:
        """Wait for the next operation; False when the workflow has nothing left to stand for."""
        while not self._accepted:
            if self._waiting:
                await self._next_in_line()
            elif self._remnants:
                await self._until_asked(self._sweep())
            elif self._progress is Progress.INSTANTIATED:
                await self._until_asked(self._watch_for_drift())
                await self._heal()
                if workflow.info().is_continue_as_new_suggested():
                    await self._start_afresh()
            elif self._has_business:
                await workflow.wait_condition(lambda: self._is_wanted)
            elif self._asked and workflow.all_handlers_finished():
                return False
            else:
                await self._unclaimed()
        return True

    @property
    def _is_live(self) -> bool:
        return self._progress not in (Progress.CREATED, Progress.TERMINATED, Progress.UPDATED)

    @property
    def _has_business(self) -> bool:
        return self._is_live or bool(self._remnants)

    @property
    def _is_wanted(self) -> bool:
        """Something is asked for, or everything was handed over."""
        return bool(self._accepted or self._waiting) or not self._has_business

    async def _unclaimed(self) -> None:
        """Nothing is up: stay for a moment, in case somebody asks for something."""
        try:
            await workflow.wait_condition(
                lambda: bool(self._accepted or self._waiting or self._asked),
                timeout=options.UNCLAIMED,
            )
        except TimeoutError:
            self._asked = True
        if not self._accepted:
            await workflow.wait_condition(workflow.all_handlers_finished)

    async def _until_asked(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background for as long as nothing is asked."""
        watching = self._watching = asyncio.create_task(work)
        try:
            await workflow.wait_condition(lambda: watching.done() or self._is_wanted)
        except asyncio.CancelledError:
            await end_all([watching])
            raise
        await end_all([watching])
        self._watching = None
        error = None if watching.cancelled() else watching.exception()
        if error is not None and not is_cancelled_exception(error):
            raise error

    async def _ask(self, verb: Verb, request: Request) -> Begun:
        if request.on_busy is OnBusy.QUEUE and self._is_busy and verb is not Verb.TERMINATE:
            return await self._queue(verb, request)
        if verb is Verb.MIGRATE:
            return await self._hand_over(request)
        accepted = await self._record(verb, request, supersede=request.on_busy is OnBusy.SUPERSEDE)
        if verb is Verb.TERMINATE or request.on_busy is OnBusy.SUPERSEDE:
            self._accepted = self._accepted[-1:]
            self._stop_running()
        return accepted

    async def _queue(self, verb: Verb, request: Request) -> Begun:
        operation = request.operation or str(workflow.uuid4())
        named = request.model_copy(update={"operation": operation})
        self._waiting.append(Ask(verb=verb, request=named))
        await workflow.execute_local_activity_method(
            Records.queue, self._begin_request(verb, named), **options.BOOKKEEPING
        )
        self._tell()
        return Begun(operation=operation, verb=verb, queued=True)

    async def _next_in_line(self) -> None:
        """Begin what waited longest; one that its time has passed by is dropped, and that is noted."""
        verb, request = self._waiting[0].verb, self._waiting[0].request
        try:
            if verb is Verb.MIGRATE:
                await self._hand_over(request)
            else:
                await self._record(verb, request)
        except ApplicationError as refused:
            await self._end(verb, request.operation, Outcome.UNTOUCHED, refused.message)
        finally:
            self._waiting.pop(0)
        self._tell()

    async def _record(self, verb: Verb, request: Request, *, supersede: bool = False) -> Begun:
        """Have the store accept a verb; raises its refusal.

        While nothing runs here, an operation that the store believes to be under way was recorded
        in the very moment when this server and its worker died: nobody knows of it, so that
        whoever asks next takes its place. A healing is nobody's wish and waits for that.
        """
        is_lost = not (self._is_busy or self._recording or verb is Verb.HEAL)
        self._recording += 1
        try:
            accepted = await workflow.execute_local_activity_method(
                Records.begin,
                self._begin_request(verb, request, supersede=supersede or is_lost),
                **options.BOOKKEEPING,
            )
        except BaseException as error:
            raise self._refused(error) from error
        finally:
            self._asked = True
            self._recording -= 1
        if verb is not Verb.STOP:
            self._enqueue(accepted)
            self._tell()
        return accepted

    def _begin_request(
        self, verb: Verb, request: Request, *, supersede: bool = False
    ) -> BeginRequest:
        return BeginRequest(
            deployment=self._deployment,
            verb=verb,
            operation=request.operation or str(workflow.uuid4()),
            adopt=not self._has_business,
            supersede=supersede,
            plan_digest=request.plan_digest,
            revision=request.revision,
            target=request.target,
            who=request.who,
            why=request.why,
        )

    def _enqueue(self, accepted: Begun) -> None:
        self._progress = begun(accepted.verb)
        self._operation, self._message = accepted.operation, ""
        self._asked, self._stopping = True, False
        self._accepted.append(accepted)

    async def _hand_over(self, request: Request) -> Begun:
        """Give everything to the target; its workflow is started, or told when it is open."""
        try:
            accepted = await workflow.execute_local_activity_method(
                Records.hand_over,
                self._begin_request(Verb.MIGRATE, request),
                **options.BOOKKEEPING,
            )
        except BaseException as error:
            raise self._refused(error) from error
        finally:
            self._asked = True
        self._progress, self._remnants = Progress.UPDATED, ()
        workflow_id = names.workflow_id(request.target)
        try:
            await workflow.start_child_workflow(
                DeploymentWorkflow.run,
                Start(deployment=request.target, instantiate=False, begun=accepted),
                id=workflow_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            )
        except WorkflowAlreadyStartedError:
            target = workflow.get_external_workflow_handle_for(DeploymentWorkflow.run, workflow_id)
            await target.signal(DeploymentWorkflow.take_over, accepted)
        self._tell()
        return accepted

    async def _carry_out(self, accepted: Begun) -> None:
        self._clusters = {}
        ending = Ending(outcome=Outcome.STOPPED)
        if not self._stopping:
            operation = Operation(self._deployment, accepted, self._step, self._gatehouse)
            self._running = asyncio.create_task(operation.carry_out())
            try:
                ending = await self._running
            except BaseException as error:
                if not is_cancelled_exception(error):
                    raise
                if workflow.cancellation_reason() is not None:
                    raise asyncio.CancelledError from error
                if not self._stopping:
                    ending = Ending(outcome=Outcome.SUPERSEDED)
            finally:
                self._running = None
        self._settling = True
        await self._settle(accepted, ending)
        self._settling = self._stopping = False

    async def _settle(self, accepted: Begun, ending: Ending) -> None:
        """Have the store record the ending; what it says then is what this workflow says."""
        ended = await self._end(accepted.verb, accepted.operation, ending.outcome, ending.failure)
        if ending.outcome is not Outcome.SUPERSEDED and not self._accepted:
            self._remnants = ending.remnants
            self._progress, self._message = ended.progress, ending.failure
        self._tell()

    async def _end(self, verb: Verb, operation: str, outcome: Outcome, failure: str) -> Ended:
        return await workflow.execute_local_activity_method(
            Records.end,
            EndRequest(
                deployment=self._deployment,
                verb=verb,
                operation=operation,
                failure=failure,
                outcome=outcome,
            ),
            **options.BOOKKEEPING,
        )

    def _stop_running(self) -> None:
        if self._running is not None and not self._running.done():
            cancel(self._running)

    async def _cancelled(self) -> None:
        """Cancelled from outside: stop what runs, then terminate. Later awaits work as usual."""
        if self._running is not None and not self._running.done():
            cancel(self._running)
            await workflow.wait([self._running])
        self._running = None
        if not self._has_business:
            return
        self._waiting.clear()
        pending = [accepted for accepted in self._accepted if accepted.verb is Verb.TERMINATE]
        self._accepted.clear()
        if not pending and self._progress is Progress.TERMINATING:
            pending = [Begun(operation=self._operation, verb=Verb.TERMINATE)]
        if not pending and self._is_live:
            await self._record(Verb.TERMINATE, Request())
            pending = [self._accepted.pop()]
        for accepted in pending:
            operation = Operation(self._deployment, accepted, self._step, self._gatehouse)
            await self._settle(accepted, await operation.carry_out())
        if self._remnants:
            await self._sweep()
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _start_afresh(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._accepted:
            workflow.continue_as_new(
                Start(
                    deployment=self._deployment,
                    instantiate=False,
                    progress=self._progress,
                    operation=self._operation,
                    remnants=self._remnants,
                    waiting=tuple(self._waiting),
                )
            )

    # -- between operations ---------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Clear the clusters that were away during the terminate.

        One that refuses to be cleared makes a failure of that terminate: it can be asked for again.
        """
        operation = str(workflow.uuid4())
        sweeping = Operation(
            self._deployment,
            Begun(operation=operation, verb=Verb.TERMINATE),
            self._step,
            self._gatehouse,
        )
        try:
            await sweeping.sweep(self._remnants)
        except Exception as error:
            if is_cancelled_exception(error):
                raise
            self._message = root_message(error)
            ended = await self._end(Verb.TERMINATE, self._operation, Outcome.FAILED, self._message)
            self._progress = ended.progress
        self._remnants = ()
        self._tell()

    async def _watch_for_drift(self) -> None:
        """Returns when something is to be healed, or when it is time to look anew."""
        if self._healed is not None:
            pause = self._healed + options.HEAL_PAUSE - workflow.now()
            await workflow.sleep(max(pause, timedelta()))
        rules = await workflow.execute_local_activity_method(
            Records.rules,
            PlanRequest(deployment=self._deployment, operation=self._operation),
            **options.BOOKKEEPING,
        )
        if rules.drift == "off":
            await workflow.wait_condition(lambda: False)
        footprint = await workflow.execute_local_activity_method(
            Planning.footprint,
            PlanRequest(deployment=self._deployment, operation=self._operation),
            **options.BOOKKEEPING,
        )
        watches = {cluster: self._watch(cluster) for cluster in footprint.clusters}
        found = await results_of(watches, until=asyncio.FIRST_COMPLETED)
        notes = [r.note for r in found.values() if isinstance(r, UnitResult) and r.note]
        self._drifted = "; ".join(notes)
        if not notes:  # nothing to watch, or a cluster that refuses to be watched
            await workflow.sleep(options.WATCH_PAUSE)

    async def _watch(self, cluster: str) -> UnitResult:
        """One cluster's watch; its end ends those of the other clusters."""
        part = ClusterRef(deployment=self._deployment, operation=self._operation, cluster=cluster)
        return await workflow.execute_activity_method(
            Drift.watch, part, summary=f"watch {cluster} for drift", **options.WATCH
        )

    async def _heal(self) -> None:
        why, self._drifted = self._drifted, ""
        if not why or self._accepted or self._waiting:
            return
        try:
            await self._record(Verb.HEAL, Request(who="emco", why=why))
            self._healed = workflow.now()
        except ApplicationError as refused:
            self._message = refused.message
            self._tell()

    # -- what people see ------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        return bool(self._accepted or self._running or self._waiting or self._settling)

    def _refuse_when_busy(self, verb: Verb, request: Request) -> None:
        if self._is_busy and request.on_busy is OnBusy.REFUSE:
            raise _refusal(
                f"cannot {verb} {self._deployment} while it is {self._progress}",
            )
        if len(self._waiting) >= options.QUEUE_LENGTH and request.on_busy is OnBusy.QUEUE:
            raise _refusal(
                f"cannot queue {verb} of {self._deployment}: {len(self._waiting)} operations wait already"
            )

    def _refused(self, error: BaseException) -> BaseException:
        if is_cancelled_exception(error) or not isinstance(error, Exception):
            return error
        cause = root(error)
        details = cause.details if isinstance(cause, ApplicationError) else ()
        return _refusal(root_message(error), *details)

    def _step(self, cluster: str, step: str) -> None:
        self._clusters[cluster] = step
        self._tell()

    def _tell(self) -> None:
        lines = [f"**{self._progress}** {self._deployment}"]
        if self._message:
            lines += ["", self._message]
        lines += ["", *(f"- {cluster}: {step}" for cluster, step in sorted(self._clusters.items()))]
        lines += [f"- next in line: {ask.verb}" for ask in self._waiting]
        lines += [f"- {cluster} was away and still holds something" for cluster in self._remnants]
        workflow.set_current_details("\n".join(lines))
        project, app, *_ = self._deployment.split("/")
        workflow.upsert_search_attributes(
            [
                names.PROJECT.value_set(project),
                names.APP.value_set(app),
                names.STATE.value_set(str(self._progress)),
            ]
        )


def _refusal(message: str, *details: Any) -> ApplicationError:
    return ApplicationError(message, *details, type=FailureType.REFUSED, non_retryable=True)
