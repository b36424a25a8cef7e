"""Records the golden objects of the health rules: `python -m tests.unit.domain.record_health [GROUP…]`.

Every case is applied to a real control plane of the sandbox and kept as the API server shows it once
it is what the case says. Kinds that nothing moves there get their status through the server's own
status subresource, so that it is at least valid; the CRDs of Istio and the Gateway API are taken from
their Go modules.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from emco.domain.health import assess
from emco.sandbox import toolchain
from emco.sandbox.clusters import Sandbox
from emco.settings import Settings
from tests.e2e.system import Kube

FOLDER = Path(__file__).with_name("health")
MODULES = {
    "istio.io/api@v1.31.1": "kubernetes/customresourcedefinitions.gen.yaml",
    "sigs.k8s.io/gateway-api@v1.6.3": "config/crd/standard/*.yaml",
}
WAIT_SECONDS = 40
NAMESPACE = "health"

Object = dict[str, Any]
Step = Callable[["Recorder", str], None]
"""What is done to the object at a path before it is looked at."""


@dataclass
class Case:
    """What is applied, what is done then, and what must be said of it."""

    name: str
    item: Object
    verdict: str
    reason: str = ""
    steps: tuple[Step, ...] = ()
    before: tuple[Object, ...] = ()
    at_once: bool = False
    """Look at what the server answers to the creation, before any controller has."""


@dataclass
class Recorder:
    """One cluster."""

    kube: Kube
    paths: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    def path(self, item: Object) -> str:
        """Where objects of its kind are served in the namespace."""
        api = item["apiVersion"]
        root = f"/apis/{api}" if "/" in api else f"/api/{api}"
        while (api, item["kind"]) not in self.paths:  # a new definition is served a moment later
            for served in (self.kube.get(root) or {}).get("resources", []):
                if "/" not in served["name"]:
                    place = (f"{root}/{{}}{served['name']}", bool(served["namespaced"]))
                    self.paths[api, served["kind"]] = place
        path, namespaced = self.paths[api, item["kind"]]
        return path.format(f"namespaces/{NAMESPACE}/" if namespaced else "")

    def create(self, item: Object) -> Object:
        """Create, and answer with the object."""
        made: Object = self.kube.post(self.path(item), item)
        return made

    def patch(self, path: str, body: Object) -> None:
        """Merge into the object, or into its status with `/status` behind the path."""
        kind = {"Content-Type": "application/merge-patch+json"}
        answer = self.kube.http.patch(path, json=body, headers=kind)
        assert answer.is_success, answer.text

    def until(self, path: str, holds: Callable[[Object], bool]) -> Object:
        """The object once something holds of it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds(live := self.kube.get(path)):
            assert time.monotonic() < deadline, (path, live, assess(live))
            time.sleep(0.1)
        found: Object = live
        return found

    def record(self, case: Case) -> Object:
        """The golden document of a case."""
        for other in case.before:
            self.create(other)
        made = self.create(case.item)
        path = f"{self.path(case.item)}/{case.item['metadata']['name']}"
        for step in case.steps:
            step(self, path)
        expected = (case.verdict, case.reason)
        live = made if case.at_once else self.until(path, lambda live: said(live) == expected)
        assert said(live) == expected, (case.name, said(live), live)
        live["metadata"].pop("managedFields", None)
        return {"case": case.name, "verdict": case.verdict, "reason": case.reason, "object": live}


def said(live: Object) -> tuple[str, str]:
    found = assess(live)
    return str(found.verdict), found.reason


# -- steps ------------------------------------------------------------------------------------------


def status(**status: Any) -> Step:
    """Write the status, as the controller of the kind would."""
    return lambda recorder, path: recorder.patch(f"{path}/status", {"status": status})


def change(body: Object) -> Step:
    return lambda recorder, path: recorder.patch(path, body)


def once_current(recorder: Recorder, path: str) -> None:
    recorder.until(path, lambda live: assess(live).is_ready)


def delete(recorder: Recorder, path: str) -> None:
    answer = recorder.kube.http.delete(path)
    assert answer.is_success, answer.text


def lose_volume(recorder: Recorder, path: str) -> None:
    volume = "/api/v1/persistentvolumes/lost"
    delete(recorder, volume)
    recorder.patch(volume, {"metadata": {"finalizers": None}})


def use_once(recorder: Recorder, path: str) -> None:
    """Bind a claim to the volume and give it up again."""
    item = claim("once", volumeName=path.rpartition("/")[2])
    recorder.create(item)
    once_current(recorder, f"{recorder.path(item)}/once")
    delete(recorder, f"{recorder.path(item)}/once")


# -- objects ----------------------------------------------------------------------------------------


def thing(api: str, kind: str, name: str, spec: Any = None, **more: Any) -> Object:
    item = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}
    return item if spec is None else {**item, "spec": spec}


def template(name: str, *, restart: str = "", **annotations: str) -> Object:
    """A pod template that behaves as `sandbox.emco.io/…` says."""
    marks = {f"sandbox.emco.io/{key.replace('_', '-')}": v for key, v in annotations.items()}
    spec: Object = {"containers": [{"name": "main", "image": "example.com/main:1"}]}
    if restart:
        spec["restartPolicy"] = restart
    return {"metadata": {"labels": {"app": name}, "annotations": marks}, "spec": spec}


def workload(kind: str, name: str, pods: Mapping[str, str] | None = None, **spec: Any) -> Object:
    labels = {"app": name}
    selector: Any = labels if kind == "ReplicationController" else {"matchLabels": labels}
    api = "v1" if kind == "ReplicationController" else "apps/v1"
    return thing(
        api, kind, name, {"selector": selector, "template": template(name, **(pods or {})), **spec}
    )


def job(name: str, pods: Mapping[str, str] | None = None, **spec: Any) -> Object:
    made = template(name, restart="Never", **(pods or {}))
    return thing("batch/v1", "Job", name, {"template": made, **spec})


def pod(name: str, pods: Mapping[str, str] | None = None, **spec: Any) -> Object:
    made = template(name, restart="Never", **(pods or {}))
    item = thing("v1", "Pod", name, {**made["spec"], **spec})
    item["metadata"].update(made["metadata"])
    return item


def claim(name: str, **spec: Any) -> Object:
    return thing("v1", "PersistentVolumeClaim", name, {**_storage("requests"), **spec})


def volume(name: str, policy: str = "Retain") -> Object:
    path = {"hostPath": {"path": f"/{name}"}, "persistentVolumeReclaimPolicy": policy}
    return thing("v1", "PersistentVolume", name, {**_storage(""), **path})


def _storage(where: str) -> Object:
    size = {"storage": "1Mi"}
    amount: Object = {"resources": {where: size}} if where else {"capacity": size}
    return {"accessModes": ["ReadWriteOnce"], "storageClassName": "", **amount}


def definition(kind: str, plural: str, group: str = "example.com") -> Object:
    names = {"kind": kind, "plural": plural, "singular": plural[:-1], "listKind": "WidgetList"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return thing(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        f"{plural}.{group}",
        {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    )


def widget(name: str, rule: str = "") -> Object:
    item = thing("example.com/v1", "Widget", name, {"size": 1})
    if rule:
        item["metadata"]["annotations"] = {"emco.io/health": rule}
    return item


def condition(type_: str, value: str, reason: str = "", message: str = "", **more: Any) -> Object:
    when = {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"type": type_, "status": value, "reason": reason or type_, "message": message, **when, **more}  # fmt: skip


def scaler(name: str, target: str, api: str = "autoscaling/v2", **spec: Any) -> Object:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return thing(
        api,
        "HorizontalPodAutoscaler",
        name,
        {"scaleTargetRef": reference, "maxReplicas": 3, **spec},
    )


NEVER = {"ready": "never"}
GATEWAY, MESH = "gateway.networking.k8s.io/v1", "networking.istio.io/v1"
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}  # fmt: skip
LISTENER = {"name": "http", "port": 80, "protocol": "HTTP"}
PARENT = {"parentRef": {"name": "edge"}, "controllerName": "example.com/gateways"}
FINDING = {
    "type": {"code": "IST0101", "name": "ReferencedResourceNotFound"},
    "level": "ERROR",
    "documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
}


def gateway(name: str) -> Object:
    return thing(GATEWAY, "Gateway", name, {"gatewayClassName": "none", "listeners": [LISTENER]})


def route(name: str) -> Object:
    return thing(GATEWAY, "HTTPRoute", name, {"parentRefs": [{"name": "edge"}]})


def parents(accepted: str, reason: str, resolved: str = "True") -> Step:
    found = [condition("Accepted", accepted, reason), condition("ResolvedRefs", resolved)]
    return status(parents=[{**PARENT, "conditions": found}])


def virtual_service(name: str) -> Object:
    routes = [{"route": [{"destination": {"host": "web"}}]}]
    return thing(MESH, "VirtualService", name, {"hosts": ["web"], "http": routes})


CASES: dict[str, list[Case]] = {
    "workloads": [
        Case("a new deployment", workload("Deployment", "d-new"), "InProgress", "NotObserved", at_once=True),
        Case("a deployment that is up", workload("Deployment", "d-up", replicas=2), "Current"),
        Case("a deployment of none", workload("Deployment", "d-none", replicas=0), "Current"),
        Case("a deployment whose pods are not ready", workload("Deployment", "d-late", NEVER), "InProgress", "NotAvailable"),
        Case("a deployment that is rolled out", workload("Deployment", "d-roll", replicas=2), "InProgress", "Updating",
             (once_current, change({"spec": {"template": template("d-roll", **NEVER)}}))),
        Case("a deployment that took too long", workload("Deployment", "d-dead", NEVER, progressDeadlineSeconds=1),
             "Failed", "ProgressDeadlineExceeded"),
        Case("a deployment that is paused", workload("Deployment", "d-wait", paused=True), "Current", "Paused"),
        Case("a deployment that is deleted", {**workload("Deployment", "d-gone"),
             "metadata": {"name": "d-gone", "finalizers": ["example.com/hold"]}}, "Terminating", "Deleting", (delete,)),
        Case("a replica set that is up", workload("ReplicaSet", "r-up"), "Current"),
        Case("a replica set whose pods are not ready", workload("ReplicaSet", "r-late", NEVER), "InProgress", "NotAvailable"),
        Case("a replication controller that is up", workload("ReplicationController", "rc-up"), "Current"),
        Case("a new stateful set", workload("StatefulSet", "s-new", serviceName="s"), "InProgress", "NotObserved", at_once=True),
        Case("a stateful set that is up", workload("StatefulSet", "s-up", serviceName="s", replicas=2), "Current"),
        Case("a stateful set whose pods are not ready", workload("StatefulSet", "s-late", NEVER, serviceName="s"),
             "InProgress", "NotReady"),
        Case("a stateful set of which only the last is updated", workload("StatefulSet", "s-part", serviceName="s", replicas=2,
             updateStrategy={"rollingUpdate": {"partition": 1}}), "Current", "",
             (once_current, change({"spec": {"template": template("s-part", completes="false")}}), once_current)),
        Case("a daemon set that is up", workload("DaemonSet", "n-up"), "Current"),
        Case("a daemon set whose pods are not ready", workload("DaemonSet", "n-late", NEVER), "InProgress", "NotReady"),
        Case("a job that runs", job("j-run", {"runs_for": "600s"}), "InProgress", "Running"),
        Case("a job that is done", job("j-done"), "Current"),
        Case("a job that failed", job("j-fail", {"exit_code": "3"}, backoffLimit=0), "Failed", "BackoffLimitExceeded"),
        Case("a job that is suspended", job("j-wait", suspend=True), "Current"),
        Case("a cron job", thing("batch/v1", "CronJob", "cron", {"schedule": "0 0 1 1 *",
             "jobTemplate": {"spec": {"template": template("cron", restart="Never")}}}), "Current"),
        Case("a pod that is ready", pod("p-up", {"runs_for": "600s"}), "Current"),
        Case("a pod that is done", pod("p-done", {"completes": "true"}), "Current"),
        Case("a pod that failed", pod("p-fail", {"exit_code": "3"}), "Failed", "PodFailed"),
        Case("a pod without its image", pod("p-image", {"waiting": "ImagePullBackOff"}), "InProgress", "ImagePullBackOff"),
        Case("a pod that no node takes", pod("p-lost", nodeSelector={"no": "where"}), "InProgress", "Unschedulable"),
    ],
    "platform": [
        Case("a claim without a volume", claim("pvc-wait", storageClassName="none"), "InProgress", "Pending"),
        Case("a claim that is bound", claim("pvc-up", volumeName="bound"), "Current", before=(volume("bound"),)),
        Case("a claim whose volume is gone", claim("pvc-lost", volumeName="lost"), "Failed", "Lost",
             (once_current, lose_volume), (volume("lost"),)),
        Case("a new volume", volume("pv-new"), "InProgress", "Pending", at_once=True),
        Case("a volume nobody claims", volume("pv-free"), "Current"),
        Case("a volume that could not be cleared", volume("pv-fail", "Delete"), "Failed", "Failed", (use_once,)),
        Case("a service inside the cluster", thing("v1", "Service", "s-in", {"ports": [{"port": 80}]}), "Current"),
        Case("a load balancer without an address", thing("v1", "Service", "s-out", {"type": "LoadBalancer", "ports": [{"port": 80}]}),
             "InProgress", "NoAddress"),
        Case("a load balancer with an address", thing("v1", "Service", "s-lb", {"type": "LoadBalancer", "ports": [{"port": 80}]}),
             "Current", "", (status(**ADDRESS),)),
        Case("an ingress without an address", thing("networking.k8s.io/v1", "Ingress", "i-wait", {"defaultBackend":
             {"service": {"name": "web", "port": {"number": 80}}}}), "InProgress", "NoAddress"),
        Case("an ingress with an address", thing("networking.k8s.io/v1", "Ingress", "i-up", {"defaultBackend":
             {"service": {"name": "web", "port": {"number": 80}}}}), "Current", "", (status(**ADDRESS),)),
        Case("a namespace", thing("v1", "Namespace", "some-namespace"), "Current"),
        Case("a budget that is met", thing("policy/v1", "PodDisruptionBudget", "b-up", {"minAvailable": 1,
             "selector": {"matchLabels": {"app": "b-up"}}}), "Current", "", (), (workload("Deployment", "b-up"),)),
        Case("a budget that is not met", thing("policy/v1", "PodDisruptionBudget", "b-late", {"minAvailable": 1,
             "selector": {"matchLabels": {"app": "b-late"}}}), "InProgress", "BudgetNotMet", (), (workload("Deployment", "b-late", NEVER),)),
        Case("a new budget", thing("policy/v1", "PodDisruptionBudget", "b-new", {"minAvailable": 1,
             "selector": {"matchLabels": {"app": "b-new"}}}), "InProgress", "NotObserved", at_once=True),
        Case("a scaler without metrics", scaler("h-blind", "h-blind", metrics=[CPU]), "InProgress", "FailedGetResourceMetric",
             (), (workload("Deployment", "h-blind"),)),
        Case("a scaler without a target", scaler("h-lost", "nothing"), "InProgress", "FailedGetScale"),
        Case("a scaler whose target is scaled to none", scaler("h-off", "h-off"), "Current", "",
             (lambda r, p: (r.until(p, lambda live: "conditions" in live.get("status", {})), None)[1],),
             (workload("Deployment", "h-off", replicas=0),)),
        Case("a new scaler", scaler("h-new", "h-new"), "InProgress", "NotObserved", at_once=True),
        Case("a definition", definition("Widget", "widgets"), "Current"),
        Case("a new definition", definition("Gadget", "gadgets"), "InProgress", "Installing", at_once=True),
        Case("a definition whose names are taken", definition("Gizmo", "gizmos"), "Failed", "ListKindConflict"),
        Case("an API served by nobody", thing("apiregistration.k8s.io/v1", "APIService", "v1.nobody.example.com",
             {"group": "nobody.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
              "insecureSkipTLSVerify": True, "service": {"name": "nobody", "namespace": NAMESPACE}}),
             "InProgress", "ServiceNotFound"),
        Case("an API served by the server itself", thing("apiregistration.k8s.io/v1", "APIService", "v1.local.example.com",
             {"group": "local.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100}), "Current"),
    ],
    "gateway": [
        Case("a class nobody implements", thing(GATEWAY, "GatewayClass", "c-new", {"controllerName": "example.com/none"}),
             "InProgress", "Pending"),
        Case("a class that is accepted", thing(GATEWAY, "GatewayClass", "c-up", {"controllerName": "example.com/none"}),
             "Current", "", (status(conditions=[condition("Accepted", "True")]),)),
        Case("a gateway nobody looks at", gateway("g-new"), "InProgress", "Pending"),
        Case("a gateway without an address yet", gateway("g-wait"), "InProgress", "AddressNotAssigned",
             (status(conditions=[condition("Accepted", "True"), condition("Programmed", "False", "AddressNotAssigned")]),)),
        Case("a gateway that works", gateway("g-up"), "Current", "",
             (status(conditions=[condition("Accepted", "True"), condition("Programmed", "True")]),)),
        Case("a gateway that was changed since", gateway("g-old"), "InProgress", "NotObserved",
             (status(conditions=[condition("Accepted", "True", observedGeneration=1)]),
              change({"spec": {"listeners": [{**LISTENER, "port": 81}]}}))),
        Case("a route nobody looks at", route("r-new"), "InProgress", "NotObserved"),
        Case("a route that is taken", route("r-up"), "Current", "", (parents("True", "Accepted"),)),
        Case("a route that is refused", route("r-no"), "InProgress", "NotAllowedByListeners",
             (parents("False", "NotAllowedByListeners"),)),
        Case("a route to nowhere", route("r-lost"), "InProgress", "ResolvedRefs", (parents("True", "Accepted", "False"),)),
    ],
    "istio": [
        Case("a virtual service", virtual_service("v-plain"), "Current"),
        Case("a virtual service with an error", virtual_service("v-bad"), "InProgress", "IST0101",
             (status(validationMessages=[FINDING]),)),
        Case("a virtual service with a warning", virtual_service("v-warn"), "Current", "",
             (status(validationMessages=[{**FINDING, "level": "WARNING"}]),)),
        Case("a virtual service that is on its way to the proxies", virtual_service("v-late"), "InProgress", "Pushing",
             (status(conditions=[condition("Reconciled", "False", "Pushing", "1/2 proxies up to date")]),)),
        Case("a virtual service that was changed since", virtual_service("v-old"), "InProgress", "NotObserved",
             (status(observedGeneration="1"), change({"spec": {"hosts": ["web", "shop"]}}))),
    ],
    "others": [
        Case("something without a status", widget("w-plain"), "Current", before=(definition("Widget", "widgets"),)),
        Case("something that is not ready", widget("w-late"), "InProgress", "Busy",
             (status(conditions=[condition("Ready", "False", "Busy")]),)),
        Case("something that is not available", widget("w-off"), "InProgress", "Off",
             (status(conditions=[condition("Available", "False", "Off")]),)),
        Case("something that is reconciled", widget("w-move"), "InProgress", "Moving",
             (status(conditions=[condition("Reconciling", "True", "Moving")]),)),
        Case("something that is stalled", widget("w-stuck"), "Failed", "Broken",
             (status(conditions=[condition("Stalled", "True", "Broken")]),)),
        Case("something that was not looked at yet", widget("w-old"), "InProgress", "NotObserved",
             (status(observedGeneration=1), change({"spec": {"size": 2}}))),
        Case("something whose own rule says yes", widget("w-yes", "self.status.phase == 'Up'"), "Current", "", (status(phase="Up"),)),
        Case("something whose own rule says no", widget("w-no", "self.status.phase == 'Up'"), "InProgress", "RuleSaysNo",
             (status(phase="Down"),)),
        Case("something whose own rule waits for a field", widget("w-field", "self.status.phase == 'Up'"), "InProgress", "NotThereYet"),
        Case("something whose own rule gives it up", widget("w-fail", "'Failed: ' + self.status.phase"), "Failed", "Rule",
             (status(phase="Down"),)),
    ],
}  # fmt: skip


def definitions() -> list[Object]:
    """The CRDs of Istio and of the Gateway API, out of Go's module cache."""
    found: list[Object] = []
    for module, files in MODULES.items():
        answer = subprocess.run(
            ["go", "mod", "download", "-json", module], capture_output=True, check=True, cwd="/"
        )
        for path in sorted(Path(json.loads(answer.stdout)["Dir"]).glob(files)):
            documents = yaml.safe_load_all(path.read_text())
            found += [d for d in documents if d and d["kind"] == "CustomResourceDefinition"]
    return found


def main(groups: list[str]) -> None:
    """Record the named groups, or all."""
    tools = toolchain.find(Settings(), print)
    for group in groups or CASES:
        with tempfile.TemporaryDirectory() as folder:
            sandbox = Sandbox(Path(folder), owner=os.getpid())
            (info,) = sandbox.create(["golden"], tools)
            recorder = Recorder(Kube(info))
            recorder.create(thing("v1", "Namespace", NAMESPACE))
            if group in ("gateway", "istio"):
                for item in definitions():
                    made = recorder.create(item)
                    path = f"{recorder.path(item)}/{made['metadata']['name']}"
                    recorder.until(path, lambda live: assess(live).is_ready)
            documents = []
            for case in CASES[group]:
                documents.append(recorder.record(case))
                print(f"{group}: {case.name}")
            text = yaml.safe_dump_all(documents, sort_keys=False, width=120)
            (FOLDER / f"{group}.yaml").write_text(text)
            sandbox.delete(["golden"])


if __name__ == "__main__":
    main(sys.argv[1:])
