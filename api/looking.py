"""The small things that every question about a deployment or a cloud needs."""

from collections.abc import Iterable

from fastapi import Request, Response

from emco.store.snapshot import cluster_address
from emco.store.store import Store


def accepted() -> Response:
    """202 without a body, as EMCO's clients know it."""
    return Response(status_code=202)


def queried(request: Request) -> dict[str, list[str]]:
    """Every query parameter with all its values."""
    query = request.query_params
    return {name: query.getlist(name) for name in query}


def connectivity(store: Store, clusters: Iterable[str]) -> dict[str, str]:
    """Whether each cluster answered last, where that is known."""
    at = {cluster_address(cluster): cluster for cluster in clusters}
    facts = store.facts_of(at)
    return {
        at[address]: str(reached)
        for address, fact in facts.items()
        if (reached := fact.get("connectivity"))
    }
