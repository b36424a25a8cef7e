"""What was asked of a deployment and how it ended, written to the store in one transaction each."""

import asyncio
from datetime import UTC, datetime

from activities.failures import translated
from emco.domain import clouds, lifecycle
from emco.domain.contracts import BeginRequest, Begun, EndRequest, Records
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import LogicalCloud, Project
from emco.domain.lifecycle import Lifecycle, Verb
from emco.domain.names import deployment_address
from emco.domain.resource import Address
from emco.store.store import Store


class StoredRecords(Records):
    """Idempotent by operation id: an operation begins once and ends once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, request: BeginRequest) -> Begun:
        """See `Records.begin`."""
        with translated():
            return await asyncio.to_thread(self._begin, request)

    async def end(self, request: EndRequest) -> None:
        """See `Records.end`."""
        with translated():
            await asyncio.to_thread(self._end, request)

    def _begin(self, request: BeginRequest) -> Begun:
        deployment = deployment_address(request.deployment)
        if request.verb is Verb.INSTANTIATE:
            self._require_cloud(deployment)

        def accept(life: Lifecycle) -> Lifecycle:
            if life.operation == request.operation:
                return life
            return lifecycle.accept(
                life,
                request.verb,
                deployment.name,
                operation=request.operation,
                now=datetime.now(UTC),
                adopt=request.adopt,
            )

        life = self._store.change_lifecycle(deployment, accept)
        return Begun(operation=life.operation, status_context_id=life.status_context_id)

    def _require_cloud(self, deployment: Address) -> None:
        """The API has looked already; whoever starts the workflow from the temporal CLI has not."""
        spec = self._store.get(deployment).spec
        assert isinstance(spec, Deployment)  # noqa: S101 — the address says so
        project = deployment.ancestor(Deployment, Project)
        cloud = Address.of(LogicalCloud, [project.name, spec.logical_cloud])
        if self._store.find(cloud) is None:
            raise clouds.cloud_missing(cloud.name)
        clouds.may_receive_deployments(self._store.lifecycle(cloud), cloud.name)

    def _end(self, request: EndRequest) -> None:
        deployment: Address = deployment_address(request.deployment)

        def close(life: Lifecycle) -> Lifecycle:
            if life.operation != request.operation:
                return life
            return lifecycle.ended(life, request.verb, failure=request.failure)

        self._store.change_lifecycle(deployment, close)
