"""One deployment from its first instantiate until it is terminated: the workflow people look at.

Updates ask for operations and are answered as soon as the store has accepted them; the run loop
carries them out one at a time. Cancelling the workflow is a graceful terminate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field, ValidationError
from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, is_cancelled_exception
from temporalio.types import MethodAsyncSingleParam

from emco.domain import names
from emco.domain.contracts import (
    BeginRequest,
    Begun,
    ClusterRef,
    EndRequest,
    FailureType,
    Message,
    Planning,
    PlanRequest,
    PlanSummary,
    Records,
)
from emco.domain.lifecycle import BEGUN, DONE, FAILED, Progress, Verb
from workflows import options
from workflows.failures import raise_first, root_message
from workflows.removal import ClusterRemovalWorkflow
from workflows.rollout import ClusterRolloutWorkflow

Work = Callable[[Begun], Awaitable[None]]


class Start(Message):
    """`{"deployment": "project/compositeApp/version/name"}` instantiates it.

    The API starts with `instantiate: false` and sends its verb as an update in the same call.
    `progress` is carried over when a long history is started afresh.
    """

    deployment: str = Field(pattern=r"^[^/]+(/[^/]+){3}$")
    instantiate: bool = True
    progress: Progress = Progress.CREATED


class Request(Message):
    """An operation asked for. The id makes asking twice harmless; without one the workflow picks it."""

    operation: str = ""


class Overview(Message):
    """The answer to the query `status`: cluster to the step its part is at."""

    deployment: str
    progress: Progress
    operation: str = ""
    message: str = ""
    clusters: dict[str, str] = Field(default_factory=dict)


@workflow.defn(name=names.DEPLOYMENT_WORKFLOW, failure_exception_types=[ValidationError])
class DeploymentWorkflow:
    """Entity workflow of one deployment."""

    @workflow.init
    def __init__(self, start: Start) -> None:
        self._deployment = start.deployment
        self._progress = start.progress
        self._queue: list[tuple[Verb, Begun]] = []
        self._running: asyncio.Task[None] | None = None
        self._operation = ""
        self._message = ""
        self._clusters: dict[str, str] = {}
        self._asked = False

    # -- what can be asked ----------------------------------------------------------------------

    @workflow.update(name="instantiate", description="Bring the deployment up on its clusters")
    async def instantiate(self, request: Request) -> Begun:
        """Accepted when recorded; the operation then runs on its own."""
        return await self._accept(Verb.INSTANTIATE, request)

    @workflow.update(name="terminate", description="Remove the deployment from all its clusters")
    async def terminate(self, request: Request) -> Begun:
        """Accepted when recorded. It overtakes a running instantiate, which is stopped first."""
        begun = await self._accept(Verb.TERMINATE, request)
        self._stop_running()
        return begun

    @instantiate.validator
    def _may_instantiate(self, request: Request) -> None:
        if self._progress in (Progress.INSTANTIATING, Progress.INSTANTIATED, Progress.TERMINATING):
            self._refuse("instantiate")

    @terminate.validator
    def _may_terminate(self, request: Request) -> None:
        if self._progress is Progress.TERMINATING:
            self._refuse("terminate")

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
        )

    # -- the loop -------------------------------------------------------------------------------

    @workflow.run
    async def run(self, start: Start) -> Overview:
        """Carry out what is asked, until nothing of the deployment is left."""
        self._tell()
        try:
            if start.instantiate:
                await self._accept(Verb.INSTANTIATE, Request())
            while await self._more_to_do():
                await self._carry_out(*self._queue.pop(0))
                if workflow.info().is_continue_as_new_suggested() and not self._queue:
                    await self._start_afresh()
        except asyncio.CancelledError:
            await self._cancelled()
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.status()

    async def _more_to_do(self) -> bool:
        """Wait for the next operation; False when the workflow has nothing left to stand for."""
        while not self._queue:
            if self._asked and not self._is_live and workflow.all_handlers_finished():
                return False
            try:
                await workflow.wait_condition(
                    lambda: bool(self._queue) or (self._asked and not self._is_live),
                    timeout=None if self._is_live else options.UNCLAIMED,
                )
            except TimeoutError:
                self._asked = True
            if not self._queue:
                await workflow.wait_condition(workflow.all_handlers_finished)
        return True

    @property
    def _is_live(self) -> bool:
        return self._progress not in (Progress.CREATED, Progress.TERMINATED)

    async def _accept(self, verb: Verb, request: Request) -> Begun:
        try:
            begun = await workflow.execute_local_activity_method(
                Records.begin,
                BeginRequest(
                    deployment=self._deployment,
                    verb=verb,
                    operation=request.operation or str(workflow.uuid4()),
                    adopt=not self._is_live,
                ),
                **options.BOOKKEEPING,
            )
        except BaseException as error:
            if is_cancelled_exception(error) or not isinstance(error, Exception):
                raise
            raise ApplicationError(
                root_message(error), type=FailureType.REFUSED, non_retryable=True
            ) from error
        finally:
            self._asked = True
        self._progress, self._operation, self._message = BEGUN[verb], begun.operation, ""
        self._queue.append((verb, begun))
        self._tell()
        return begun

    async def _carry_out(self, verb: Verb, begun: Begun) -> None:
        work: Work = self._bring_up if verb is Verb.INSTANTIATE else self._take_down
        self._running = asyncio.create_task(self._settle(verb, begun, work))
        try:
            await self._running
        except asyncio.CancelledError:
            if workflow.cancellation_reason() is not None:
                raise
        finally:
            self._running = None

    async def _settle(self, verb: Verb, begun: Begun, work: Work) -> None:
        failure = ""
        try:
            await work(begun)
        except Exception as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            failure = root_message(error)
        await workflow.execute_local_activity_method(
            Records.end,
            EndRequest(
                deployment=self._deployment, verb=verb, operation=begun.operation, failure=failure
            ),
            **options.BOOKKEEPING,
        )
        if not self._queue:
            self._progress = FAILED[verb] if failure else DONE[verb]
            self._message = failure
        self._tell()

    def _stop_running(self) -> None:
        self._queue = [entry for entry in self._queue if entry[0] is Verb.TERMINATE]
        if self._running is not None and not self._running.done():
            self._running.cancel()

    async def _cancelled(self) -> None:
        """Cancelled from outside: stop what runs, then terminate. Later awaits work as usual."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await workflow.wait([self._running])
            self._running = None
        if not self._is_live:
            return
        pending = [entry for entry in self._queue if entry[0] is Verb.TERMINATE]
        self._queue.clear()
        if not pending and self._progress is not Progress.TERMINATING:
            await self._accept(Verb.TERMINATE, Request())
            pending = [self._queue.pop()]
        if not pending:
            pending = [(Verb.TERMINATE, Begun(operation=self._operation))]
        await self._settle(*pending[0], self._take_down)
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _start_afresh(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._queue:
            workflow.continue_as_new(
                Start(deployment=self._deployment, instantiate=False, progress=self._progress)
            )

    # -- the operations -------------------------------------------------------------------------

    async def _bring_up(self, begun: Begun) -> None:
        plan = await workflow.execute_activity_method(
            Planning.plan,
            PlanRequest(deployment=self._deployment, operation=begun.operation),
            summary="plan: place, render, order",
            **options.PLAN,
        )
        await self._on_every_cluster(ClusterRolloutWorkflow.run, plan, begun)

    async def _take_down(self, begun: Begun) -> None:
        left = await workflow.execute_local_activity_method(
            Planning.footprint,
            PlanRequest(deployment=self._deployment, operation=begun.operation),
            **options.BOOKKEEPING,
        )
        await self._on_every_cluster(ClusterRemovalWorkflow.run, left, begun)

    async def _on_every_cluster(
        self,
        run: MethodAsyncSingleParam[Any, ClusterRef, int],
        plan: PlanSummary,
        begun: Begun,
    ) -> None:
        self._clusters = dict.fromkeys(plan.clusters, "waiting")
        window = asyncio.Semaphore(options.CLUSTERS_AT_ONCE)

        async def part(cluster: str) -> None:
            async with window:
                self._step(cluster, "running")
                await workflow.execute_child_workflow(
                    run,
                    ClusterRef(
                        deployment=self._deployment,
                        operation=begun.operation,
                        cluster=cluster,
                        plan=plan.digest,
                    ),
                    id=names.cluster_workflow_id(self._deployment, begun.operation, cluster),
                    search_attributes=self._attributes(cluster),
                    static_summary=f"{self._deployment} on {cluster}",
                    **options.CHILD,
                )
                self._step(cluster, "done")

        results = await asyncio.gather(*(part(c) for c in plan.clusters), return_exceptions=True)
        for cluster, result in zip(plan.clusters, results, strict=True):
            if isinstance(result, BaseException):
                self._step(cluster, root_message(result))
        raise_first(dict(zip(plan.clusters, results, strict=True)), "among the clusters")

    # -- what people see ------------------------------------------------------------------------

    def _refuse(self, verb: str) -> None:
        raise ApplicationError(
            f"cannot {verb} {self._deployment} while it is {self._progress}",
            type=FailureType.REFUSED,
            non_retryable=True,
        )

    def _step(self, cluster: str, step: str) -> None:
        self._clusters[cluster] = step
        self._tell()

    def _tell(self) -> None:
        lines = [f"**{self._progress}** {self._deployment}"]
        if self._message:
            lines += ["", self._message]
        lines += ["", *(f"- {cluster}: {step}" for cluster, step in sorted(self._clusters.items()))]
        workflow.set_current_details("\n".join(lines))
        project, app, *_ = self._deployment.split("/")
        workflow.upsert_search_attributes(
            [
                names.PROJECT.value_set(project),
                names.APP.value_set(app),
                names.STATE.value_set(str(self._progress)),
            ]
        )

    def _attributes(self, cluster: str) -> TypedSearchAttributes:
        project, app, *_ = self._deployment.split("/")
        return TypedSearchAttributes(
            [
                SearchAttributePair(names.PROJECT, project),
                SearchAttributePair(names.APP, app),
                SearchAttributePair(names.CLUSTER, cluster),
            ]
        )
