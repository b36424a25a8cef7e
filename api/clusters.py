"""What is on one cluster, of all deployments, and whether it answers."""

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from api.endpoints import Queries, json_response
from api.looking import queried
from emco.domain import report
from emco.domain.kinds.fleet import Cluster
from emco.domain.names import short_name
from emco.domain.resource import Address
from emco.store.store import Store


class Clusters:
    """What can be asked of one cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def status(self, request: Request, at: Address, queries: Queries) -> Response:
        """EMCO's status JSON with one `cluster` in place of the apps."""
        asked = report.question(queried(request), cloud=True)
        return json_response(await run_in_threadpool(self._status, at, asked))

    def _status(self, at: Address, asked: report.Question) -> report.Json:
        self._store.get(at)
        provider, cluster = at.names(Cluster)
        observed = asked.output is report.Output.DETAIL
        units = self._store.units_on(f"{provider}+{cluster}", observed=observed)
        return report.cluster_status(
            {"clusterProvider": provider, "cluster": cluster},
            [(short_name(deployment), unit) for deployment, unit in units],
            asked,
            self._store.facts(at) or {},
        )
