"""One resource of every kind, in the order in which they can be created."""

import json
from dataclasses import dataclass
from typing import Any

from httpx import Client, Response

from emco.domain.kinds import all as _every_kind  # noqa: F401  defines the kinds
from emco.domain.resource import Address, kind_named
from tests.api.builders import CHART, KUBECONFIG, PROFILE, named

APP = "/v2/projects/shop/composite-apps/boutique/v1"
DEPLOYMENT = f"{APP}/deployment-intent-groups/prod"
GENERIC = f"{DEPLOYMENT}/generic-k8s-intents"
CLOUD = "/v2/projects/shop/logical-clouds/edge-cloud"
PROVIDER = "/v2/cluster-providers/edge"
CLUSTER = f"{PROVIDER}/clusters/c1"


@dataclass(frozen=True)
class Item:
    """A resource to create: where it is listed, its own path, its body and file."""

    kind: str
    collection: str
    path: str
    body: dict[str, Any]
    file: bytes | None = None
    files: tuple[tuple[str, bytes], ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """Its names by path parameter."""
        kind = kind_named(self.kind)
        return Address(self.kind, self.path.removeprefix("/v2/")).params(kind)

    def post(self, client: Client, **changes: Any) -> Response:
        """Create it; `changes` replace members of the body."""
        return self.send(client, "POST", self.collection, {**self.body, **changes})

    def put(self, client: Client, **changes: Any) -> Response:
        """Replace it."""
        return self.send(client, "PUT", self.path, {**self.body, **changes})

    def send(self, client: Client, method: str, path: str, body: Any) -> Response:
        """JSON, or a form when there is a file or there are several."""
        form = {"metadata": json.dumps(body)}
        if self.files:
            parts = [("files", file) for file in self.files]
            return client.request(method, path, data=form, files=parts)
        if self.file is None:
            return client.request(method, path, json=body)
        return client.request(method, path, data=form, files={"file": ("filename", self.file)})


def item(kind: str, collection: str, name: str, file: bytes | None = None, /, **spec: Any) -> Item:
    return Item(kind, collection, f"{collection}/{name}", named(name, **spec), file)


WORLD = (
    item("ClusterProvider", "/v2/cluster-providers", "edge"),
    item(
        "ClusterSyncObject",
        f"{PROVIDER}/cluster-sync-objects",
        "git",
        kv=[{"gitType": "github"}, {"branch": "main"}],
    ),
    item("Cluster", f"{PROVIDER}/clusters", "c1", KUBECONFIG),
    Item("ClusterLabel", f"{CLUSTER}/labels", f"{CLUSTER}/labels/east", {"clusterLabel": "east"}),
    item("ClusterKv", f"{CLUSTER}/kv-pairs", "facts", kv=[{"zone": "a"}, {"rack": "7"}]),
    item("Controller", "/v2/controllers", "gac", host="gac", port=9033, type="action", priority=1),
    item("DtcController", "/v2/dtc-controllers", "its", host="its", port=9040),
    item("ClmController", "/v2/clm-controllers", "istio", host="istio", port=9041),
    item("Project", "/v2/projects", "shop"),
    item("LogicalCloud", "/v2/projects/shop/logical-clouds", "edge-cloud", level="0"),
    item(
        "ClusterReference",
        f"{CLOUD}/cluster-references",
        "ref1",
        clusterProvider="edge",
        cluster="c1",
    ),
    item(
        "UserPermission",
        f"{CLOUD}/user-permissions",
        "perm1",
        namespace="",
        apiGroups=["", "apps"],
        resources=["pods"],
        verbs=["get"],
    ),
    item("LogicalCloudKv", f"{CLOUD}/kv-pairs", "kv1", kv=[{"a": "b"}]),
    item("LogicalCloud", "/v2/projects/shop/logical-clouds", "standard", namespace="std"),
    item(
        "ClusterQuota",
        "/v2/projects/shop/logical-clouds/standard/cluster-quotas",
        "quota1",
        **{"limits.cpu": "4", "pods": "10"},
    ),
    Item(
        "CompositeApp",
        "/v2/projects/shop/composite-apps",
        APP,
        named("boutique", compositeAppVersion="v1"),
    ),
    item("App", f"{APP}/apps", "web", CHART),
    item("App", f"{APP}/apps", "db", CHART),
    item("AppDependency", f"{APP}/apps/web/dependency", "dep1", app="db", opStatus="Ready", wait=2),
    item("CompositeProfile", f"{APP}/composite-profiles", "production"),
    item(
        "AppProfile",
        f"{APP}/composite-profiles/production/profiles",
        "web-profile",
        PROFILE,
        app="web",
    ),
    item(
        "Deployment",
        f"{APP}/deployment-intent-groups",
        "prod",
        compositeProfile="production",
        version="r1",
        logicalCloud="edge-cloud",
        overrideValues=[{"app": "web", "values": {"image.tag": "1.2"}}],
    ),
    item("GenericPlacementIntent", f"{DEPLOYMENT}/generic-placement-intents", "placement"),
    item(
        "AppPlacement",
        f"{DEPLOYMENT}/generic-placement-intents/placement/app-intents",
        "web-placement",
        app="web",
        intent={
            "allOf": [
                {"clusterProvider": "edge", "cluster": "c1"},
                {"anyOf": [{"clusterProvider": "edge", "clusterLabel": "east"}]},
            ],
            "anyOf": [],
        },
    ),
    item(
        "GroupIntent",
        f"{DEPLOYMENT}/intents",
        "group1",
        intent={"genericPlacementIntent": "placement", "gac": "customisation"},
    ),
    item("GenericK8sIntent", GENERIC, "customisation"),
    item(
        "GenericResource",
        f"{GENERIC}/customisation/resources",
        "settings",
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n",
        app="web",
        newObject="true",
        resourceGVK={"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"},
    ),
    Item(
        "Customization",
        f"{GENERIC}/customisation/resources/settings/customizations",
        f"{GENERIC}/customisation/resources/settings/customizations/east",
        named(
            "east",
            clusterSpecific="true",
            clusterInfo={
                "scope": "name",
                "clusterProvider": "edge",
                "cluster": "c1",
                "clusterLabel": "",
                "mode": "allow",
            },
            patchType="json",
            patchJson=[{"op": "add", "path": "/data/zone", "value": "east"}],
            configMapOptions={
                "dataKeyOptions": [{"fileName": "a.json", "keyName": "a", "mergePatch": "false"}]
            },
        ),
        files=(("a.json", b"{}"), ("b.txt", b"b")),
    ),
    item(
        "StatusSubscription",
        "/v2/projects/shop/status-subscriptions",
        "pager",
        deployments=["boutique/*/prod"],
        sink={
            "type": "log",
            "url": "",
            "secretUrl": "",
            "signingSecrets": [],
            "headers": {},
            "batch": 1,
        },
    ),
)

BY_KIND = {i.kind: i for i in reversed(WORLD)}
"""The first of each kind."""


def build(client: Client) -> None:
    """Create everything."""
    for one in WORLD:
        answer = one.post(client)
        assert answer.status_code == 201, (one.path, answer.text)
