"""What really happened to objects on a cluster, in the order in which the cluster stored it.

Resource versions are one count for all kinds of a cluster, so that the events of several watches
can be put in order afterwards.
"""

import json
import threading
from contextlib import suppress
from typing import Any

import httpx

from emco.domain.plan import hooks
from tests.e2e.system import Kube

WATCHED = (
    ("api/v1", "configmaps"),
    ("api/v1", "secrets"),
    ("api/v1", "serviceaccounts"),
    ("api/v1", "services"),
    ("api/v1", "pods"),
    ("apis/apps/v1", "deployments"),
    ("apis/batch/v1", "jobs"),
)
LOOK_SECONDS = 1.0
OWN = ("kube-root-ca.crt", "default")


class Recorder:
    """Watches one namespace of one cluster, or all that begin so, until it is left.

    Namespaces need not be there yet.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self._seen: list[tuple[int, str]] = []
        self._ended: set[str] = set()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Recorder":
        for api, plural in WATCHED:
            self._follow(f"/{api}/{plural}")
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self._follow(crds, suffix=f".{self._namespace}.example.com")
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    @property
    def events(self) -> list[str]:
        """`created Job x`, `succeeded Job x`, `deleted Job x` and so on, in order."""
        with self._lock:
            return [event for _, event in sorted(self._seen)]

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._seen.clear()

    def _follow(self, path: str, *, suffix: str = "") -> None:
        listing = self._kube.get(path)
        version = listing["metadata"]["resourceVersion"]
        timeout = httpx.Timeout(10, read=LOOK_SECONDS)

        def read() -> None:
            last = version
            with httpx.Client(
                base_url=self._kube.info.server,
                verify=self._kube.context,
                timeout=timeout,
                trust_env=False,
            ) as client:
                while not self._is_over.is_set():
                    query = {"watch": "true", "resourceVersion": last}
                    with (
                        suppress(httpx.ReadTimeout),
                        client.stream("GET", path, params=query) as stream,
                    ):
                        for line in stream.iter_lines():
                            event = json.loads(line)
                            metadata = event["object"]["metadata"]
                            last = metadata["resourceVersion"]
                            if metadata["name"].endswith(suffix):
                                self._note(event["type"], event["object"])

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _note(self, kind_of_event: str, item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        if not metadata.get("namespace", self._namespace).startswith(self._namespace):
            return
        if metadata.get("ownerReferences") or metadata["name"].startswith(("sh.helm", *OWN)):
            return
        called = f"{item['kind']} {metadata['name'].removesuffix('.example.com')}"
        version = int(metadata["resourceVersion"])
        with self._lock:
            if kind_of_event == "ADDED":
                self._seen.append((version, f"created {called}"))
            if kind_of_event == "DELETED":
                self._seen.append((version, f"deleted {called}"))
            end = hooks.end_of(item) if item["kind"] in ("Job", "Pod") else None
            if end is not None and metadata["uid"] not in self._ended:
                self._ended.add(metadata["uid"])
                how = "succeeded" if end.is_success else "failed"
                self._seen.append((version, f"{how} {called}"))
