"""Operations as Workflow Updates of the deployment's own workflow, which is started when none is open."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.operations import Accepted, Asked, Operations
from emco.domain import names
from emco.domain.contracts import Begun, FailureType, Preview
from emco.domain.errors import Conflict, EmcoError, Forbidden, Invalid, NotFound, Unavailable
from emco.domain.lifecycle import Verb
from emco.domain.resource import Address
from emco.settings import Settings

ANSWER_WITHIN: Final = timedelta(seconds=30)
"""How long a client waits for an operation to be accepted; recording it takes milliseconds."""

PLAN_WITHIN: Final = timedelta(minutes=2)
"""How long a client waits for a plan: every chart has to be rendered."""

_ERRORS: Final[Mapping[int, type[EmcoError]]] = {
    error.status: error for error in (Invalid, Forbidden, NotFound, Conflict)
}


ENDING_PAUSES: Final = (0.1, 0.3, 1.0)
"""Seconds between asking again while a workflow is ending."""

_NOT_NOW: Final = frozenset(
    {RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED, RPCStatusCode.UNAVAILABLE}
)


class _Ending(Exception):
    """The workflow could not take the update just now."""


class TemporalOperations(Operations):
    """Update-with-start: one call works whether or not the deployment's workflow is open."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def ask(self, verb: Verb, deployment: Address, asked: Asked) -> Accepted:
        """Also starts a workflow when none is open, so that what one left behind can be dealt with.

        A workflow that ends at the very moment when it is asked answers nothing; the same
        operation is asked again then, which is harmless, and meets the next workflow.
        """
        operation = uuid.uuid4().hex
        for pause in (*ENDING_PAUSES, None):
            try:
                return await self._ask(verb, deployment, operation, asked)
            except _Ending as ending:
                if pause is None:
                    raise self._unavailable(str(ending)) from ending
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _ask(self, verb: Verb, deployment: Address, operation: str, asked: Asked) -> Accepted:
        short = names.short_name(deployment)
        start: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
            names.DEPLOYMENT_WORKFLOW,
            {"deployment": short, "instantiate": False},
            id=names.workflow_id(short),
            task_queue=self._settings.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=short,
        )
        try:
            begun = await self._client.execute_update_with_start_workflow(
                verb.value,
                _request(operation, asked),
                id=operation,
                start_workflow_operation=start,
                rpc_timeout=ANSWER_WITHIN,
                result_type=Begun,
            )
        except WorkflowUpdateFailedError as e:
            raise self._refusal(e.cause, verb) from e
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as e:
            raise self._unavailable(
                f"no worker of the task queue '{self._settings.task_queue}' accepted {verb} "
                f"within {ANSWER_WITHIN.seconds} seconds; is one running?"
            ) from e
        except (RPCError, WorkflowAlreadyStartedError, RuntimeError) as e:
            if isinstance(e, RPCError) and e.status in _NOT_NOW:
                raise _Ending(_reason(e)) from e
            # RuntimeError is what the SDK raises when a client's first connection fails.
            raise self._unavailable(_reason(e)) from e
        return Accepted(begun.operation, begun.revision, begun.queued)

    async def preview(self, deployment: Address, revision: int = 0) -> str:
        """A workflow of its own, which ends with the answer."""
        short = names.short_name(deployment)
        try:
            async with asyncio.timeout(PLAN_WITHIN.total_seconds()):
                shown: Preview = await self._client.execute_workflow(
                    names.PREVIEW_WORKFLOW,
                    {"deployment": short, "revision": revision},
                    id=names.preview_id(short, uuid.uuid4().hex),
                    task_queue=self._settings.task_queue,
                    execution_timeout=PLAN_WITHIN,
                    result_type=Preview,
                    static_summary=short,
                )
        except WorkflowFailureError as e:
            raise self._refusal(e.cause, "plan") from e
        except TimeoutError as e:
            raise self._unavailable(
                f"no worker of the task queue '{self._settings.task_queue}' planned within "
                f"{PLAN_WITHIN.seconds} seconds; is one running?"
            ) from e
        except (RPCError, RuntimeError) as e:
            raise self._unavailable(_reason(e)) from e
        return shown.report

    async def policies_changed(self, deployment: Address) -> None:
        """A signal; a deployment without a workflow has nothing to be told."""
        await self._tell(deployment, names.POLICIES_SIGNAL)

    async def dependencies_changed(self, deployment: Address) -> None:
        """A signal too."""
        await self._tell(deployment, names.DEPENDENCIES_SIGNAL)

    async def _tell(self, deployment: Address, signal: str) -> None:
        handle = self._client.get_workflow_handle(names.workflow_id(names.short_name(deployment)))
        try:
            await handle.signal(signal)
        except (RPCError, RuntimeError) as e:
            if not isinstance(e, RPCError) or e.status is not RPCStatusCode.NOT_FOUND:
                raise self._unavailable(_reason(e)) from e

    async def check(self) -> None:
        """See `Operations.check`."""
        try:
            if await self._client.service_client.check_health(timeout=timedelta(seconds=5)):
                return
        except (RPCError, RuntimeError) as e:
            raise self._unavailable(_reason(e)) from e
        raise self._unavailable("it says it is not serving")

    def _refusal(self, cause: BaseException | None, verb: str) -> EmcoError:
        while isinstance(cause, FailureError) and cause.cause is not None:
            cause = cause.cause
        if isinstance(cause, ApplicationError) and cause.type == FailureType.REFUSED:
            return _as_raised(cause)
        return Unavailable(
            f"The deployment's workflow could not {verb}",
            getattr(cause, "message", None) or str(cause),
        )

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            "Temporal is unavailable", f"{self._settings.temporal_address}: {reason}"
        )


def _request(operation: str, asked: Asked) -> dict[str, Any]:
    return {
        "operation": operation,
        "on_busy": asked.on_busy.value,
        "plan_digest": asked.plan_digest,
        "revision": asked.revision,
        "target": names.short_name(asked.target) if asked.target else "",
        "who": asked.who,
        "why": asked.why,
    }


def _as_raised(cause: ApplicationError) -> EmcoError:
    """The error that an activity raised, with its status; `Conflict` for a workflow's own refusal."""
    for told in cause.details:
        if isinstance(told, dict) and (error := _ERRORS.get(told.get("status", 0))):
            return error(str(told.get("title", "")), str(told.get("detail", "")))
    title, _, detail = cause.message.partition(": ")
    return Conflict(title, detail)


def _reason(error: Exception) -> str:
    if isinstance(error, RPCError) and error.status is RPCStatusCode.DEADLINE_EXCEEDED:
        return "it did not answer in time"
    return str(error)
