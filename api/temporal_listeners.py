"""Subscriptions' workflows: started by whoever needs one, told by signal, tried by update."""

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
from temporalio.service import RPCError

from api.listeners import Listeners
from emco.domain import names
from emco.domain.contracts import Listening, Tried
from emco.domain.errors import Unavailable
from emco.domain.resource import Address
from emco.settings import Settings

ANSWER_WITHIN: Final = timedelta(seconds=40)
"""More than a listener may take to answer."""


class TemporalListeners(Listeners):
    """One workflow per subscription, whoever starts it."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client, self._settings = client, settings

    async def wake(self, subscription: Address) -> None:
        """A signal that starts the workflow when there is none."""
        short = names.subscription_name(subscription)
        try:
            await self._client.start_workflow(
                names.SUBSCRIPTION_WORKFLOW,
                Listening(subscription=short),
                id=names.subscription_id(short),
                task_queue=self._settings.task_queue,
                start_signal=names.LOOK_AGAIN_SIGNAL,
                static_summary=short,
                rpc_timeout=ANSWER_WITHIN,
            )
        except (RPCError, RuntimeError) as error:
            raise self._unavailable(error) from error

    async def test(self, subscription: Address) -> str:
        """An update of the workflow."""
        short = names.subscription_name(subscription)
        start: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
            names.SUBSCRIPTION_WORKFLOW,
            Listening(subscription=short),
            id=names.subscription_id(short),
            task_queue=self._settings.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            tried: Tried = await self._client.execute_update_with_start_workflow(
                names.TEST_UPDATE,
                Listening(subscription=short),
                start_workflow_operation=start,
                id=uuid.uuid4().hex,
                result_type=Tried,
                rpc_timeout=ANSWER_WITHIN,
            )
        except WorkflowUpdateFailedError as error:
            return str(error.cause)
        except (RPCError, RuntimeError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise self._unavailable(error) from error
        return tried.failure

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable("Temporal is unavailable", f"{self._settings.temporal_address}: {error}")
