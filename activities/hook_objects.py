"""The object of a hook on its cluster: put there, waited for, listened to, and deleted.

Which hook runs when, and what is remembered of it, is decided in `activities/hooks.py`.
"""

import asyncio
import base64
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from activities.clusters import Cluster
from activities.ours import foreign, is_ours
from activities.watches import Watch, Watches
from emco.domain.health import pod_trouble
from emco.domain.plan import hooks as rules
from emco.domain.plan import manifests
from emco.domain.plan.hooks import DeletePolicy, End, Hook
from emco.domain.plan.model import Manifest, Rendered
from emco.domain.plan.values import hidden
from emco.domain.releases import HookRow, ReleaseRow
from emco.domain.status import ObjectKey

LAST_LINES: Final = 10
LOOK_SECONDS: Final = 0.5
"""Between two looks at an object of which the watch may not have heard yet."""


class Vanished(Exception):
    """The object is gone and nobody saw how it ended."""


class HookObjects:
    """Objects of hooks on member clusters. Only what carries our mark is ever changed or deleted."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    async def put(
        self, cluster: Cluster, hook: Hook, release: ReleaseRow, row: HookRow
    ) -> Manifest:
        """The live object of this attempt; put there now unless it was before a crash.

        One that is there from earlier and is not to be replaced is applied over, as with Helm 4:
        if it has finished, so has the hook. Raises `Conflict` for an object of somebody else.
        """
        _, key = await cluster.locate(hook.key, release.namespace)
        live = await cluster.get(key, metadata_only=True)
        if live is not None and _mark_of(live) == row.mark:
            return live
        if live is not None and not is_ours(live, release.owner, release.app):
            raise foreign(live, key, release.cluster, release.app)
        if live is not None and hook.is_deleted(DeletePolicy.BEFORE_CREATION):
            await _delete(cluster, key, live)
        return await cluster.apply(key, _marked(hook, row))

    async def end(
        self, cluster: Cluster, hook: Hook, release: ReleaseRow, row: HookRow, *, seconds: int
    ) -> End:
        """How the object ended, or that it did not within `seconds` of its beginning.

        Raises `Vanished`.
        """
        resource, key = await cluster.locate(hook.key, release.namespace)
        if not hook.runs_to_completion and key.kind != "CustomResourceDefinition":
            return End(is_success=True)
        gone = datetime.now(UTC) - row.began if row.began else None
        left = seconds - (gone.total_seconds() if gone else 0)
        selector = manifests.selector(release.owner)
        try:
            async with (
                asyncio.timeout(max(left, 0)),
                self._watches.on(cluster, resource, key.namespace, selector) as watch,
            ):
                return await _end_of(cluster, watch, key, row.uid)
        except TimeoutError:
            return End(is_success=False, why=f"it did not finish within {seconds} s")

    async def last_words(
        self, cluster: Cluster, hook: Hook, release: ReleaseRow, rendered: Rendered
    ) -> str:
        """What the hook's pods say of themselves, and the end of their logs, without secrets."""
        resource = await cluster.resource("v1", "Pod")
        _, key = await cluster.locate(hook.key, release.namespace)
        is_job = key.kind == "Job"
        pods, _ = await cluster.list_objects(
            resource,
            key.namespace,
            selector=f"batch.kubernetes.io/job-name={key.name}" if is_job else "",
            field="" if is_job else f"metadata.name={key.name}",
        )
        if not pods:
            return ""
        pod = max(pods, key=lambda p: str(p["metadata"]["creationTimestamp"]))
        name = pod["metadata"]["name"]
        ended = rules.end_of({**pod, "kind": "Pod"})
        trouble = pod_trouble(pod) or (ended.why if ended else "")
        lines = await cluster.last_lines(key.namespace, name, LAST_LINES)
        told = [
            f"Pod {name}: {trouble}" if trouble else "",
            f"its log ends: {lines}" if lines else "",
        ]
        return hidden("; ".join(filter(None, told)), {"secret": _secrets(rendered)})

    async def let_go(self, cluster: Cluster, hook: Hook, release: ReleaseRow, row: HookRow) -> None:
        """Its end is written down: it may vanish now."""
        _, key = await cluster.locate(hook.key, release.namespace)
        await cluster.let_go(key, uid=row.uid, finalizer=rules.FINALIZER)

    async def delete(self, cluster: Cluster, hook: Hook, release: ReleaseRow) -> None:
        """Delete it and wait until it is gone. Gone already, or somebody else's, is success."""
        _, key = await cluster.locate(hook.key, release.namespace)
        live = await cluster.get(key, metadata_only=True)
        if live is not None and is_ours(live, release.owner, release.app):
            await _delete(cluster, key, live)

    async def delete_attempt(self, cluster: Cluster, row: HookRow, release: ReleaseRow) -> None:
        """The same for the object of exactly this attempt."""
        _, key = await cluster.locate(row.key, release.namespace)
        live = await cluster.get(key, metadata_only=True)
        if live is not None and _mark_of(live) == row.mark:
            await _delete(cluster, key, live)


async def _end_of(cluster: Cluster, watch: Watch, key: ObjectKey, uid: str) -> End:
    def seen() -> Manifest | None:
        live = watch.get(key.name)
        return live if live and live["metadata"]["uid"] == uid else None

    while True:
        await watch.until(lambda: (live := seen()) is None or rules.end_of(live) is not None)
        live = seen() or await cluster.get(key)  # the watch may not have seen it yet
        if live is None or live["metadata"]["uid"] != uid:
            raise Vanished
        if (end := rules.end_of(live)) is not None:
            return end
        await asyncio.sleep(LOOK_SECONDS)


async def _delete(cluster: Cluster, key: ObjectKey, live: Manifest) -> None:
    uid = live["metadata"]["uid"]
    await cluster.let_go(key, uid=uid, finalizer=rules.FINALIZER)
    await cluster.delete(key, uid=uid, background=True)
    await cluster.until_gone(key, uid)


def _mark_of(live: Manifest) -> str:
    return str((live["metadata"].get("annotations") or {}).get(rules.RUN_ANNOTATION, ""))


def _marked(hook: Hook, row: HookRow) -> Manifest:
    """The hook's object with our mark, and the finalizer where its work has an end."""
    metadata = hook.manifest["metadata"]
    annotations = {
        **(metadata.get("annotations") or {}),
        rules.RUN_ANNOTATION: row.mark,
        rules.OPERATION_ANNOTATION: row.operation,
    }
    finalizers = list(metadata.get("finalizers") or ())
    if hook.runs_to_completion:
        finalizers.append(rules.FINALIZER)
    marked = {**metadata, "annotations": annotations}
    if finalizers:
        marked["finalizers"] = finalizers
    return {**hook.manifest, "metadata": marked}


def _secrets(rendered: Rendered) -> list[str]:
    """Every value of the release's Secrets: what a pod writes may quote them."""
    found: list[str] = []
    for item in (*rendered.resources, *rendered.hooks):
        if (item["apiVersion"], item["kind"]) == ("v1", "Secret"):
            found += [str(value) for value in (item.get("stringData") or {}).values()]
            for value in (item.get("data") or {}).values():
                with suppress(ValueError):
                    found.append(base64.b64decode(str(value)).decode(errors="replace"))
    return found
