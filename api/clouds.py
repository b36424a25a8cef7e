"""Verbs and status of logical clouds; only level 0 moves, and that is done when it is recorded."""

import uuid
from datetime import UTC, datetime

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from api.endpoints import Queries, json_response
from api.looking import accepted, connectivity, queried
from emco.domain import clouds, report
from emco.domain.errors import Conflict
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import ClusterReference, LogicalCloud
from emco.domain.lifecycle import Lifecycle
from emco.domain.resource import Address
from emco.store.store import Store


class Clouds:
    """What can be asked of one logical cloud."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def instantiate(self, request: Request, at: Address, queries: Queries) -> Response:
        """Open the cloud for deployments."""
        await run_in_threadpool(self._instantiate, at)
        return accepted()

    async def terminate(self, request: Request, at: Address, queries: Queries) -> Response:
        """Close the cloud; refused while a deployment in it is live."""
        await run_in_threadpool(self._terminate, at)
        return accepted()

    async def status(self, request: Request, at: Address, queries: Queries) -> Response:
        """EMCO's status JSON."""
        asked = report.question(queried(request), cloud=True)
        return json_response(await run_in_threadpool(self._status, at, asked))

    def _instantiate(self, at: Address) -> None:
        cloud = self._store.get(at)
        if isinstance(cloud.spec, LogicalCloud) and not cloud.spec.is_admin:
            raise Conflict(
                "Level 1 Logical Clouds are stored but not yet instantiated by this version",
                f'{at}: a cloud with `"level": "0"` uses the clusters\' own credentials and works',
            )
        has_clusters = bool(self._store.list(ClusterReference, at, limit=1).items)
        self._store.change_lifecycle(
            at,
            lambda life: clouds.instantiate_cloud(
                life,
                at.name,
                has_clusters=has_clusters,
                operation=uuid.uuid4().hex,
                now=datetime.now(UTC),
            ),
        )

    def _terminate(self, at: Address) -> None:
        self._store.get(at)
        users = {user for _, user in self._store.references(at).incoming}
        live = [
            user.path
            for user in users
            if user.kind == Deployment.kind and self._store.lifecycle(user).is_live
        ]

        def terminated(life: Lifecycle) -> Lifecycle:
            return clouds.terminate_cloud(
                life, at.name, live=live, operation=uuid.uuid4().hex, now=datetime.now(UTC)
            )

        self._store.change_lifecycle(at, terminated)

    def _status(self, at: Address, asked: report.Question) -> report.Json:
        cloud = self._store.get(at)
        clusters = [
            f"{item.spec.cluster_provider}+{item.spec.cluster}"
            for item in self._store.list(ClusterReference, at).items
            if isinstance(item.spec, ClusterReference)
        ]
        return report.cloud_status(
            {"project": at.params(LogicalCloud)["project"], "name": at.name},
            self._store.lifecycle(at),
            clusters,
            asked,
            created=cloud.created,
            connectivity=connectivity(self._store, clusters),
        )
