"""What an app finds on a cluster before anything of its own is put there: namespace and CRDs."""

import asyncio
from collections.abc import Iterable
from typing import Final

from activities.clusters import Cluster
from activities.namespaces import Namespaces
from activities.watches import Watches
from emco.domain import health
from emco.domain.plan import manifests
from emco.domain.plan.model import Manifest, Plan
from emco.domain.status import ObjectKey

DISCOVERY_PAUSE_SECONDS: Final = 0.2


class Ground:
    """Makes the namespace, and the custom resource definitions of charts."""

    def __init__(self, namespaces: Namespaces, watches: Watches) -> None:
        self._namespaces, self._watches = namespaces, watches

    async def prepare(self, cluster: Cluster, plan: Plan, definitions: Iterable[Manifest]) -> None:
        """Everything is there and served. CRDs are never changed once there, as with Helm.

        Raises `NotReady` while an old namespace of that name is still being deleted.
        """
        await self._namespaces.ensure(cluster, plan)
        for item in definitions:
            key = manifests.key_of(item)
            live = await cluster.get(key) or await cluster.apply(key, item)
            if not health.assess(live).is_ready:
                await self._until_established(cluster, key, item)

    async def _until_established(self, cluster: Cluster, key: ObjectKey, item: Manifest) -> None:
        resource = await cluster.resource(key.api_version, key.kind)
        async with self._watches.on(cluster, resource, "", "") as watch:
            await watch.until(lambda: _is_ready(watch.get(key.name)))
        spec = item["spec"]
        served = f"{spec['group']}/{spec['versions'][0]['name']}"
        # Discovery learns of the new kind a moment after its controller, and nobody can watch it.
        while not await cluster.serves(served, spec["names"]["kind"]):  # noqa: ASYNC110
            await asyncio.sleep(DISCOVERY_PAUSE_SECONDS)


def _is_ready(live: Manifest | None) -> bool:
    return live is not None and health.assess(live).is_ready
