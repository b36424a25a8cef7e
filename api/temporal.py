"""Operations as Workflow Updates of the deployment's own workflow, which is started when none is open."""

import uuid
from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.operations import Operations
from emco.domain import names
from emco.domain.contracts import FailureType
from emco.domain.errors import Conflict, EmcoError, Unavailable
from emco.domain.resource import Address
from emco.settings import Settings

ANSWER_WITHIN: Final = timedelta(seconds=30)
"""How long a client waits for an operation to be accepted; recording it takes milliseconds."""


class TemporalOperations(Operations):
    """Update-with-start: one call works whether or not the deployment's workflow is open."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def instantiate(self, deployment: Address) -> None:
        """See `Operations.instantiate`."""
        await self._ask("instantiate", deployment)

    async def terminate(self, deployment: Address) -> None:
        """Also starts a workflow when none is open, so that what one left behind is removed."""
        await self._ask("terminate", deployment)

    async def check(self) -> None:
        """See `Operations.check`."""
        try:
            if await self._client.service_client.check_health(timeout=timedelta(seconds=5)):
                return
        except (RPCError, RuntimeError) as e:
            raise self._unavailable(_reason(e)) from e
        raise self._unavailable("it says it is not serving")

    async def _ask(self, update: str, deployment: Address) -> None:
        short = names.short_name(deployment)
        operation = uuid.uuid4().hex
        start: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
            names.DEPLOYMENT_WORKFLOW,
            {"deployment": short, "instantiate": False},
            id=names.workflow_id(short),
            task_queue=self._settings.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=short,
        )
        try:
            await self._client.execute_update_with_start_workflow(
                update,
                {"operation": operation},
                id=operation,
                start_workflow_operation=start,
                rpc_timeout=ANSWER_WITHIN,
            )
        except WorkflowUpdateFailedError as e:
            raise self._refusal(e, update) from e
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as e:
            raise self._unavailable(
                f"no worker of the task queue '{self._settings.task_queue}' accepted {update} "
                f"within {ANSWER_WITHIN.seconds} seconds; is one running?"
            ) from e
        except (RPCError, WorkflowAlreadyStartedError, RuntimeError) as e:
            # RuntimeError is what the SDK raises when a client's first connection fails.
            raise self._unavailable(_reason(e)) from e

    def _refusal(self, error: WorkflowUpdateFailedError, update: str) -> EmcoError:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == FailureType.REFUSED:
            title, _, detail = cause.message.partition(": ")
            return Conflict(title, detail)
        return Unavailable(
            f"The deployment's workflow could not {update}",
            getattr(cause, "message", None) or str(cause),
        )

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            "Temporal is unavailable", f"{self._settings.temporal_address}: {reason}"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, RPCError) and error.status is RPCStatusCode.DEADLINE_EXCEEDED:
        return "it did not answer in time"
    return str(error)
