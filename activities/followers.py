"""Makes sure that somebody follows each cluster which deployments use."""

import asyncio
from collections.abc import Iterable

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from emco.domain.contracts import StatusRef
from emco.domain.errors import Unavailable
from emco.domain.names import CLUSTER, STATUS_WORKFLOW, WANTED_SIGNAL, status_id


async def follow(client: Client, clusters: Iterable[str], *, task_queue: str) -> None:
    """Start what follows each cluster, `provider+cluster`; one that runs only hears that it is wanted.

    Raises `Unavailable` when Temporal does not answer.
    """
    try:
        await asyncio.gather(
            *(
                client.start_workflow(
                    STATUS_WORKFLOW,
                    StatusRef(cluster=cluster),
                    id=status_id(cluster),
                    task_queue=task_queue,
                    start_signal=WANTED_SIGNAL,
                    search_attributes=TypedSearchAttributes(
                        [SearchAttributePair(CLUSTER, cluster)]
                    ),
                    static_summary=f"what becomes of our objects on {cluster}",
                )
                for cluster in clusters
            )
        )
    except RPCError as error:
        raise Unavailable("Temporal does not answer", f"{error.status.name}; try again") from None
