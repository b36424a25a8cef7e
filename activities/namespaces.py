"""The namespace of a deployment on a cluster: made when first needed, removed when last needed.

Only a namespace that carries our mark is ever removed, and only when no other deployment uses it
and nothing of anybody else is left inside.
"""

import asyncio
from typing import Final

from activities.clusters import ApiResource, Cluster, NotReady
from activities.together import together
from emco.domain.errors import Conflict
from emco.domain.plan import manifests
from emco.domain.plan.hooks import RUN_ANNOTATION
from emco.domain.plan.model import Manifest, Plan
from emco.domain.resource import Address
from emco.domain.status import ObjectKey
from emco.store.store import Store

_BORN_WITH_IT: Final = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_PASSING: Final = frozenset({"Event", "Lease", "EndpointSlice", "Endpoints", "PodMetrics"})


class Namespaces:
    """Makes and removes the namespaces of deployments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ensure(self, cluster: Cluster, plan: Plan) -> None:
        """The plan's namespace exists and is usable; `NotReady` while an old one is being deleted."""
        key = _key(plan.namespace)
        live = await cluster.get(key)
        if live is None:
            try:
                await cluster.create(key, _namespace(plan))
            except Conflict:
                live = await cluster.get(key)
        if live is not None and live["metadata"].get("deletionTimestamp"):
            raise NotReady(
                f"The namespace {plan.namespace} on {cluster.name} is still being deleted",
                "it is made again as soon as it is gone",
            )

    async def release(self, cluster: Cluster, deployment: Address, at: Address, name: str) -> str:
        """Remove the namespace if it is ours and unused; returns what was done, for people."""
        users = await asyncio.to_thread(self._store.namespace_users, at, name)
        if any(user != deployment for user in users):
            return f"namespace {name} is used by {len(users)} other deployments"
        key = _key(name)
        live = await cluster.get(key, metadata_only=True)
        if live is None:
            return f"namespace {name} is gone"
        if manifests.CLOUD_LABEL not in (live["metadata"].get("labels") or {}):
            return f"namespace {name} was there before us and stays"
        if foreign := await _foreign_objects(cluster, name):
            return f"namespace {name} stays: it holds {foreign}"
        uid = live["metadata"]["uid"]
        await cluster.delete(key, uid=uid)
        await cluster.until_gone(key, uid)
        return f"namespace {name} removed"


def _key(name: str) -> ObjectKey:
    return ObjectKey(api_version="v1", kind="Namespace", name=name)


def _namespace(plan: Plan) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": plan.namespace,
            "labels": {
                **plan.namespace_labels,
                manifests.CLOUD_LABEL: manifests.short_hash(plan.cloud),
            },
            "annotations": {manifests.PATH_ANNOTATION: plan.cloud},
        },
    }


async def _foreign_objects(cluster: Cluster, namespace: str) -> str:
    """One object in the namespace that did not come with it and is not owned by another, or ""."""
    kinds = [k for k in await cluster.namespaced_kinds() if k.kind not in _PASSING]
    found = await together(_first_foreign(cluster, kind, namespace) for kind in kinds)
    return next((one for one in found if one), "")


async def _first_foreign(cluster: Cluster, kind: ApiResource, namespace: str) -> str:
    for item in await cluster.list_metadata(kind, namespace):
        metadata = item["metadata"]
        if (kind.kind, metadata["name"]) in _BORN_WITH_IT or metadata.get("ownerReferences"):
            continue
        if RUN_ANNOTATION in (metadata.get("annotations") or {}):
            continue  # what a hook of ours left behind, as Helm's hooks do
        if not metadata.get("deletionTimestamp"):
            return f"{kind.kind} {metadata['name']}"
    return ""
