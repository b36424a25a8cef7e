"""The only file that talks to Kubernetes: one client per member cluster, and errors in our words.

Everything is read and written as plain JSON. Writes are server-side applies under the field
manager `emco`, never forced: a field that somebody else owns is a conflict that names it.
"""

import asyncio
import base64
import json
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

import aiohttp
import yaml
from kubernetes.aio import client as k8s

from activities.failures import Unexplained
from emco.domain.errors import (
    AlreadyExists,
    Conflict,
    EmcoError,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from emco.domain.kubeconfig import parse_kubeconfig
from emco.domain.plan import diff
from emco.domain.plan.model import Capabilities, Manifest
from emco.domain.plan.ownership import FIELD_MANAGER
from emco.domain.status import ObjectKey

CONNECTIONS_PER_CLUSTER: Final = 16
REQUEST_SECONDS: Final = 30
CONNECT_SECONDS: Final = 5
WATCH_SECONDS: Final = 300
PROBE_SECONDS: Final = 2.0
MAX_LOG_BYTES: Final = 4096
LOG_SECONDS: Final = 3.0
"""A log comes from the pod's node: one that is gone would hold up everybody."""
_IMMUTABLE: Final = re.compile(
    r"immutable|may not change once set|updates to statefulset spec|cannot change roleRef"
)

_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class NotReady(EmcoError):
    """The cluster answers but is not there yet: a namespace still terminating, a kind still unknown."""

    status = 503
    retryable = True


class FieldConflict(Conflict):
    """Somebody else owns fields of the object."""


class Immutable(Invalid):
    """Fields of the object cannot be changed once it is there."""

    def __init__(self, fields: Sequence[str], where: str) -> None:
        super().__init__(
            f"The field {', '.join(fields)} cannot be changed {where}",
            'set the annotation emco.io/recreate: "true" on the object to have it deleted and '
            "created again, or keep the field as it is",
        )
        self.fields, self.where = tuple(fields), where

    def named(self, item: Manifest, live: Manifest) -> "Immutable":
        """The same, more exactly: of a StatefulSet the server only says that it is the spec."""
        if self.fields != ("spec",):
            return self
        return Immutable(diff.asked_of(item, live, below="spec") or self.fields, self.where)


class Gone(EmcoError):
    """A watch's resource version is too old; list again."""

    status = 410


@dataclass(frozen=True)
class ApiResource:
    """Where objects of one kind are served."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def typed(self) -> dict[str, str]:
        """What an object of this kind says it is; items of lists and bare metadata do not say it."""
        return {"apiVersion": self.api_version, "kind": self.kind}

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of a list, or of one object."""
        root = (
            f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        )
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True)
class WatchEvent:
    """One change: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    item: Manifest


class _How(TypedDict, total=False):
    """What a request may carry besides its path."""

    query: Mapping[str, str]
    body: Any
    accept: str
    content_type: str
    subject: ObjectKey


class Cluster:
    """A connection to one member cluster. Use as an async context manager, or `close` it."""

    def __init__(self, name: str, api: k8s.ApiClient) -> None:
        self.name = name
        self._api = api
        self._resources: dict[tuple[str, str], ApiResource] = {}
        self._discovering = asyncio.Lock()

    @classmethod
    async def connect(cls, name: str, kubeconfig: bytes) -> Self:
        """A client for the current context. Opens no connection yet.

        The client library wants the client's certificate as files: they live in a private folder
        for as long as it takes to load them. Raises `Invalid` when the kubeconfig cannot be used.
        """
        try:
            context = parse_kubeconfig(kubeconfig)
            document = yaml.safe_load(kubeconfig)
            user = _named(document["users"], context.user)["user"]
            cluster = _named(document["clusters"], context.cluster)["cluster"]
            with tempfile.TemporaryDirectory(prefix="emco-") as private:
                return cls(name, k8s.ApiClient(_configuration(cluster, user, Path(private))))
        except (ssl.SSLError, ValueError, TypeError, KeyError) as error:
            raise Invalid(
                f"The kubeconfig of the cluster {name} cannot be used",
                f"{type(error).__name__}: register the cluster again with a kubeconfig that works",
            ) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    # -- what the cluster is --------------------------------------------------------------------

    async def probe(self) -> None:
        """Return if the cluster answers within `PROBE_SECONDS`; `Unavailable` else."""
        async with self._request("GET", "/version", seconds=PROBE_SECONDS):
            return

    async def allowed(self, verb: str, resource: ApiResource | None, namespace: str) -> bool:
        """Whether our credentials may do that; None stands for every resource."""
        group = resource.api_version.rpartition("/")[0] if resource else "*"
        attributes = {
            "namespace": namespace if resource is None or resource.namespaced else "",
            "verb": verb,
            "group": group,
            "resource": resource.plural if resource else "*",
        }
        review = await self._json(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        return bool(review["status"]["allowed"])

    async def capabilities(self) -> Capabilities:
        """Kubernetes version and every served `group/version` and `group/version/Kind`."""
        version = await self._json("GET", "/version")
        await self._discover()
        served = sorted({r.api_version for r in self._resources.values()})
        kinds = sorted(f"{r.api_version}/{r.kind}" for r in self._resources.values())
        return Capabilities(kube_version=str(version["gitVersion"]), api_versions=(*served, *kinds))

    async def resource(self, api_version: str, kind: str) -> ApiResource:
        """Where a kind is served. Unknown kinds are looked up once more, then `NotReady`."""
        for attempt in range(2):
            if not self._resources or attempt:
                await self._discover()
            if (found := self._resources.get((api_version, kind))) is not None:
                return found
        raise NotReady(
            f"The cluster {self.name} does not serve {api_version} {kind}",
            "install the custom resource definition it belongs to, or remove the object",
        )

    async def serves(self, api_version: str, kind: str) -> bool:
        """True when a kind can be used now; asks the cluster anew when it could not before."""
        try:
            await self.resource(api_version, kind)
        except NotReady:
            return False
        return True

    async def namespaced_kinds(self) -> list[ApiResource]:
        """Every namespaced kind that can be listed and deleted."""
        await self._discover()
        return [
            r for r in self._resources.values() if r.namespaced and {"list", "delete"} <= r.verbs
        ]

    async def _discover(self) -> None:
        async with self._discovering:
            found: dict[tuple[str, str], ApiResource] = {}
            for root in ("/api", "/apis"):
                listing = await self._json("GET", root, accept=_DISCOVERY)
                for group in listing["items"]:
                    group_name = group["metadata"].get("name", "")
                    for version in group["versions"]:
                        prefix = f"{group_name}/" if group_name else ""
                        api_version = prefix + version["version"]
                        for r in version.get("resources", []):
                            kind = r["responseKind"]["kind"]
                            found[api_version, kind] = ApiResource(
                                api_version,
                                kind,
                                r["resource"],
                                r["scope"] == "Namespaced",
                                frozenset(r["verbs"]),
                            )
            self._resources = found

    # -- objects --------------------------------------------------------------------------------

    async def locate(self, key: ObjectKey, namespace: str) -> tuple[ApiResource, ObjectKey]:
        """The key with its namespace filled in: `namespace` where the chart left it out."""
        resource = await self.resource(key.api_version, key.kind)
        where = (key.namespace or namespace) if resource.namespaced else ""
        return resource, key.model_copy(update={"namespace": where})

    async def get(self, key: ObjectKey, *, metadata_only: bool = False) -> Manifest | None:
        """One object, or None. With `metadata_only` just its metadata."""
        resource = await self.resource(key.api_version, key.kind)
        try:
            return await self._json(
                "GET",
                resource.path(key.namespace, key.name),
                accept=_METADATA_ONLY if metadata_only else "application/json",
            )
        except NotFound:
            return None

    async def apply(
        self,
        key: ObjectKey,
        item: Manifest,
        *,
        dry_run: bool = False,
        strict: bool = False,
        force: bool = False,
    ) -> Manifest:
        """Server-side apply; the live object. A second call with the same object changes nothing.

        A dry run answers with what would be there. `strict` refuses fields given twice. `force`
        takes fields back from whoever owns them; without it they are a `FieldConflict`.
        Raises `Immutable` for fields that cannot be changed.
        """
        resource = await self.resource(key.api_version, key.kind)
        if resource.namespaced:
            item = {**item, "metadata": {**item["metadata"], "namespace": key.namespace}}
        return await self._json(
            "PATCH",
            resource.path(key.namespace, key.name),
            # Unknown fields are refused by the apply itself: it merges by schema.
            query={
                "fieldManager": FIELD_MANAGER,
                **({"dryRun": "All"} if dry_run else {}),
                **({"fieldValidation": "Strict"} if strict else {}),
                **({"force": "true"} if force else {}),
            },
            body=item,
            content_type="application/apply-patch+yaml",
            subject=key,
        )

    async def create(self, key: ObjectKey, item: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create; `Conflict` when it is there already. A dry run validates strictly."""
        resource = await self.resource(key.api_version, key.kind)
        return await self._json(
            "POST",
            resource.path(key.namespace),
            query={
                "fieldManager": FIELD_MANAGER,
                **({"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {}),
            },
            body=item,
            subject=key,
        )

    async def delete(self, key: ObjectKey, *, uid: str, background: bool = False) -> None:
        """Delete exactly the object with that uid. Gone already is success.

        Its dependents go first; with `background` it goes at once and they follow.
        """
        resource = await self.resource(key.api_version, key.kind)
        try:
            await self._json(
                "DELETE",
                resource.path(key.namespace, key.name),
                body={
                    "propagationPolicy": "Background" if background else "Foreground",
                    "preconditions": {"uid": uid},
                },
                subject=key,
            )
        except (NotFound, Conflict):
            # Conflict: another object has taken the name since; that one is not ours to delete.
            return

    async def let_go(self, key: ObjectKey, *, uid: str, finalizer: str) -> None:
        """Take a finalizer of ours off the object with that uid. Off or gone already is success."""
        resource = await self.resource(key.api_version, key.kind)
        while (live := await self.get(key, metadata_only=True)) is not None:
            metadata = live["metadata"]
            if metadata["uid"] != uid or finalizer not in (metadata.get("finalizers") or ()):
                return
            kept = [one for one in metadata["finalizers"] if one != finalizer]
            version = metadata["resourceVersion"]
            try:
                await self._json(
                    "PATCH",
                    resource.path(key.namespace, key.name),
                    query={"fieldManager": FIELD_MANAGER},
                    body={"metadata": {"finalizers": kept, "resourceVersion": version}},
                    content_type="application/merge-patch+json",
                    subject=key,
                )
            except NotFound:
                return
            except Conflict:
                continue  # it was changed meanwhile: look again

    async def last_lines(self, namespace: str, pod: str, lines: int) -> str:
        """The end of a pod's log, or nothing where the cluster does not give it."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = {"tailLines": str(lines), "limitBytes": str(MAX_LOG_BYTES)}
        try:
            async with self._request(
                "GET", path, query=query, accept="*/*", seconds=LOG_SECONDS
            ) as response:
                return (await response.read()).decode(errors="replace").strip()
        except EmcoError:
            return ""

    async def list_metadata(
        self, resource: ApiResource, namespace: str, *, selector: str = "", limit: int = 0
    ) -> list[Manifest]:
        """The metadata of all objects of one kind in a namespace; at most `limit` when given."""
        query = {"labelSelector": selector} if selector else {}
        if limit:
            query["limit"] = str(limit)
        listing = await self._json(
            "GET", resource.path(namespace), query=query, accept=_METADATA_LIST
        )
        return list(listing.get("items") or [])

    async def list_objects(
        self,
        resource: ApiResource,
        namespace: str,
        *,
        selector: str = "",
        field: str = "",
        metadata_only: bool = False,
    ) -> tuple[list[Manifest], str]:
        """All objects of one kind in a namespace, and the resource version to watch from.

        An empty namespace means all of them.
        """
        listing = await self._json(
            "GET",
            resource.path(namespace),
            query=_selection(selector, field),
            accept=_METADATA_LIST if metadata_only else "application/json",
        )
        items = [{**item, **resource.typed} for item in listing.get("items") or []]
        return items, str(listing["metadata"]["resourceVersion"])

    async def watch(
        self,
        resource: ApiResource,
        namespace: str,
        version: str,
        *,
        selector: str = "",
        field: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Changes after `version`, until the server ends the stream. `Gone` when it is too old."""
        query = {
            **_selection(selector, field),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        path = resource.path(namespace)
        accept = _METADATA_ONLY if metadata_only else "application/json"
        async with self._request("GET", path, query=query, accept=accept, seconds=None) as response:
            while line := await response.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Gone("The watch must start over")
                    raise Unavailable(
                        f"The cluster {self.name} ended a watch", event["object"].get("message", "")
                    )
                yield WatchEvent(event["type"], {**event["object"], **resource.typed})

    async def until_gone(self, key: ObjectKey, uid: str) -> None:
        """Return when the object with that uid is gone, however long that takes."""
        while (live := await self.get(key, metadata_only=True)) is not None:
            if live["metadata"]["uid"] != uid:
                return
            with suppress(Gone):
                await self._until_deleted(key, uid)

    async def _until_deleted(self, key: ObjectKey, uid: str) -> None:
        """Return when it is gone, or when the watch for it ends."""
        resource = await self.resource(key.api_version, key.kind)
        field = f"metadata.name={key.name}"
        items, version = await self.list_objects(resource, key.namespace, field=field)
        if not any(item["metadata"]["uid"] == uid for item in items):
            return
        async for event in self.watch(resource, key.namespace, version, field=field):
            if event.type == "DELETED" and event.item["metadata"]["uid"] == uid:
                return

    # -- HTTP -----------------------------------------------------------------------------------

    async def _json(self, method: str, path: str, **how: Unpack[_How]) -> Manifest:
        async with self._request(method, path, **how) as response:
            answer: Manifest = json.loads(await response.read())
            return answer

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        accept: str = "application/json",
        content_type: str = "application/json",
        seconds: float | None = REQUEST_SECONDS,
        subject: ObjectKey | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        try:
            answer = await self._api.call_api(*request, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            try:
                if response.status >= 300:
                    raise self._refusal(response.status, await response.read(), subject)
                yield response
            finally:
                response.close() if seconds is None else response.release()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"The cluster {self.name} does not answer",
                f"{type(error).__name__}; is it running and reachable from here?",
            ) from None

    def _refusal(self, code: int, body: bytes, subject: ObjectKey | None) -> EmcoError:
        try:
            status = json.loads(body)
        except ValueError:
            status = {}
        text = status.get("message") or f"HTTP {code}"
        if subject is not None and (subject.api_version, subject.kind) == ("v1", "Secret"):
            text = f"HTTP {code}; what the server says of a Secret may quote it and is not shown"
        where = f"on {self.name}" + (f", {subject}" if subject else "")
        causes = (status.get("details") or {}).get("causes") or []
        if code == 404:
            return NotFound(f"Not found {where}", text)
        if code == 409 and (
            fields := [c for c in causes if c.get("reason") == "FieldManagerConflict"]
        ):
            owned = "; ".join(f"{c.get('field')}: {c.get('message')}" for c in fields)
            return FieldConflict(
                f"Somebody else owns fields {where}",
                f"{owned}. Drop the field from the chart, or let its owner give it up",
            )
        if code == 409 and status.get("reason") == "AlreadyExists":
            return AlreadyExists(f"Already there {where}", text)
        if code == 409:
            return Conflict(f"Conflict {where}", text)
        if code in (401, 403):
            if any(c.get("reason") == "NamespaceTerminating" for c in causes):
                return NotReady(f"The namespace is still being deleted {where}", text)
            return Forbidden(f"Not allowed {where}", text)
        if code == 500 and not status.get("reason"):
            return Unexplained(f"The API server fails {where}", text)
        if code in (408, 429) or code >= 500:
            return Unavailable(f"The cluster {self.name} is too busy or broken", text)
        if fixed := [c.get("field", "") for c in causes if _IMMUTABLE.search(c.get("message", ""))]:
            return Immutable(sorted(set(fixed)), where)
        return Invalid(f"The API server refuses the object {where}", text)


def _configuration(
    cluster: Mapping[str, Any], user: Mapping[str, Any], private: Path
) -> k8s.Configuration:
    configuration = k8s.Configuration(host=cluster["server"])
    configuration.connection_pool_maxsize = CONNECTIONS_PER_CLUSTER
    # Reading ~/.netrc and the proxy variables anew for every request costs as much as the request.
    configuration.client_session_kwargs = {"trust_env": False}
    # Retries are the workflow's, where people can see them; zero means without end to the library.
    configuration.retries = None
    configuration.verify_ssl = not cluster.get("insecure-skip-tls-verify", False)
    configuration.tls_server_name = cluster.get("tls-server-name")
    configuration.proxy = cluster.get("proxy-url")
    if authority := cluster.get("certificate-authority-data"):
        configuration.ca_cert_data = base64.b64decode(authority).decode()
    if token := user.get("token"):
        configuration.api_key["BearerToken"] = f"Bearer {token}"
    if certificate := user.get("client-certificate-data"):
        configuration.cert_file, configuration.key_file = str(private / "crt"), str(private / "key")
        (private / "crt").write_bytes(base64.b64decode(certificate))
        (private / "key").write_bytes(base64.b64decode(user["client-key-data"]))
    return configuration


def _named(entries: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _selection(selector: str, field: str) -> dict[str, str]:
    found = {"labelSelector": selector, "fieldSelector": field}
    return {key: value for key, value in found.items() if value}


class Clusters:
    """The clients of all member clusters, made when first used and remade when a kubeconfig changes."""

    def __init__(self, kubeconfig: Callable[[str], tuple[str, bytes]]) -> None:
        """`kubeconfig` gives (digest, content) for a `provider+cluster`; it may block."""
        self._kubeconfig = kubeconfig
        self._open: dict[str, tuple[str, Cluster]] = {}
        self._checked: dict[str, float] = {}
        self._connecting = asyncio.Lock()

    async def get(self, name: str) -> Cluster:
        """The client of one cluster. `NotFound` when it is not registered."""
        if time.monotonic() - self._checked.get(name, float("-inf")) < RECHECK_SECONDS:
            return self._open[name][1]
        async with self._connecting:
            digest, content = await asyncio.to_thread(self._kubeconfig, name)
            known = self._open.get(name)
            if known is None or known[0] != digest:
                self._open[name] = digest, await Cluster.connect(name, content)
            self._checked[name] = time.monotonic()
            return self._open[name][1]

    async def close(self) -> None:
        """Close every client."""
        for _, cluster in self._open.values():
            await cluster.close()
        self._open.clear()
        self._checked.clear()


RECHECK_SECONDS: Final = 5.0
"""How long a changed kubeconfig may go unnoticed."""
