"""What becomes of rendered objects: sorted as Helm sorts them, marked as ours, named by key."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from emco.domain.errors import Invalid
from emco.domain.plan.model import Manifest, Rendered
from emco.domain.status import ObjectKey

DEPLOYMENT_LABEL: Final = "emco.io/deployment"
APP_LABEL: Final = "emco.io/app"
CLOUD_LABEL: Final = "emco.io/logical-cloud"
PATH_ANNOTATION: Final = "emco.io/path"
HOOK_ANNOTATION: Final = "helm.sh/hook"
HOOK_WEIGHT_ANNOTATION: Final = "helm.sh/hook-weight"
RECREATE_ANNOTATION: Final = "emco.io/recreate"
POLICY_ANNOTATION: Final = "helm.sh/resource-policy"

# Helm's install order (https://helm.sh/docs/intro/using_helm/): what others need comes first.
_KIND_ORDER: Final = (
    "PriorityClass Namespace NetworkPolicy ResourceQuota LimitRange PodSecurityPolicy "
    "PodDisruptionBudget ServiceAccount Secret SecretList ConfigMap StorageClass PersistentVolume "
    "PersistentVolumeClaim CustomResourceDefinition ClusterRole ClusterRoleList ClusterRoleBinding "
    "ClusterRoleBindingList Role RoleList RoleBinding RoleBindingList Service DaemonSet Pod "
    "ReplicationController ReplicaSet Deployment HorizontalPodAutoscaler StatefulSet Job CronJob "
    "IngressClass Ingress APIService MutatingWebhookConfiguration ValidatingWebhookConfiguration"
).split()
_RANK: Final = {kind: rank for rank, kind in enumerate(_KIND_ORDER)}

_EARLY: Final = (
    "ValidatingWebhookConfiguration MutatingWebhookConfiguration APIService Ingress IngressClass Service"
).split()
_UNINSTALL_ORDER: Final = [*_EARLY, *(k for k in reversed(_KIND_ORDER) if k not in _EARLY)]
_UNINSTALL_RANK: Final = {kind: rank for rank, kind in enumerate(_UNINSTALL_ORDER)}


def sort(documents: Iterable[tuple[str, Any]]) -> Rendered:
    """Documents as (source file in the chart, object) sorted into CRDs, resources and hooks.

    Raises `Invalid` naming the file when a document is not a Kubernetes object, or when two
    documents are the same object.
    """
    crds: list[Manifest] = []
    resources: list[Manifest] = []
    hooks: list[Manifest] = []
    seen: dict[ObjectKey, str] = {}
    for source, document in documents:
        for item in _flatten(document, source):
            hook = HOOK_ANNOTATION in _annotations(item)
            key = key_of(item)
            if not hook and seen.setdefault(key, source) != source:
                raise Invalid(
                    "Error rendering the chart", f"{key} is in {seen[key]} and again in {source}"
                )
            is_crd = item["kind"] == "CustomResourceDefinition" and "/crds/" in f"/{source}"
            (hooks if hook else crds if is_crd else resources).append(item)
    return Rendered(crds=tuple(crds), resources=tuple(in_order(resources)), hooks=tuple(hooks))


def in_order(objects: Iterable[Manifest]) -> list[Manifest]:
    """Helm's install order; unknown kinds last, by kind; otherwise as they came."""
    unknown = len(_KIND_ORDER)
    return sorted(
        objects,
        key=lambda o: (_RANK.get(o["kind"], unknown), "" if o["kind"] in _RANK else o["kind"]),
    )


def out_of_order(objects: Iterable[ObjectKey]) -> list[ObjectKey]:
    """Helm's uninstall order: what others lean on goes last, and Services before their workloads."""
    unknown = len(_UNINSTALL_ORDER)
    last_first = [*objects][::-1]
    return sorted(last_first, key=lambda key: _UNINSTALL_RANK.get(key.kind, unknown))


def key_of(item: Mapping[str, Any]) -> ObjectKey:
    """The identity of one object. Its namespace stays empty when the chart left it out."""
    metadata = item["metadata"]
    return ObjectKey(
        api_version=item["apiVersion"],
        kind=item["kind"],
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
    )


def mark(rendered: Rendered, *, deployment: str, app: str) -> Rendered:
    """The same objects carrying our labels, on pod templates too, and the full path in an annotation.

    The labels never change over a deployment's revisions. CRDs stay unmarked: they are shared by
    the whole cluster and outlive every release.
    """
    labels = {DEPLOYMENT_LABEL: short_hash(deployment), APP_LABEL: label_value(app)}
    return rendered.model_copy(
        update={
            "resources": tuple(_marked(o, labels, deployment) for o in rendered.resources),
            "hooks": tuple(_marked(o, labels, deployment) for o in rendered.hooks),
        }
    )


def short_hash(path: str) -> str:
    """A label value that stands for a path of any length."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def selector(owner: str) -> str:
    """The label selector for everything of a deployment."""
    return f"{DEPLOYMENT_LABEL}={short_hash(owner)}"


def label_value(name: str) -> str:
    """`name` itself where it is a legal label value (at most 63 characters), else shortened."""
    return name if len(name) <= 63 else f"{name[:46]}-{short_hash(name)}"


def is_kept(item: Mapping[str, Any]) -> bool:
    """True for objects that their chart asks to leave behind."""
    return str(_annotations(item).get(POLICY_ANNOTATION, "")).strip().lower() == "keep"


def may_recreate(item: Mapping[str, Any]) -> bool:
    """True for objects that may be deleted and created again when they cannot be changed in place."""
    return str(_annotations(item).get(RECREATE_ANNOTATION, "")).strip().lower() == "true"


def without_secrets(item: Manifest) -> Manifest:
    """The object as it may be shown: a Secret keeps its keys and loses its values."""
    if (item["apiVersion"], item["kind"]) != ("v1", "Secret"):
        return item
    hidden = {
        field: dict.fromkeys(item[field], "(hidden)")
        for field in ("data", "stringData")
        if isinstance(item.get(field), dict)
    }
    return {**item, **hidden}


def _flatten(document: Any, source: str) -> Iterable[Manifest]:
    if document is None:
        return
    if not isinstance(document, dict):
        raise Invalid(
            "Error rendering the chart", f"{source}: a {type(document).__name__}, not an object"
        )
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flatten(item, source)
        return
    metadata = document.get("metadata")
    for field, present in (
        ("apiVersion", document.get("apiVersion")),
        ("kind", document.get("kind")),
        ("metadata.name", isinstance(metadata, dict) and metadata.get("name")),
    ):
        if not isinstance(present, str) or not present:
            raise Invalid(
                "Error rendering the chart", f"{source}: {field} is missing or not a string"
            )
    yield document


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item["metadata"].get("annotations") or {}


def _marked(item: Manifest, labels: Mapping[str, str], deployment: str) -> Manifest:
    copy = _with_labels(item, labels)
    annotations = {**_annotations(item), PATH_ANNOTATION: deployment}
    copy["metadata"] = {**copy["metadata"], "annotations": annotations}
    spec = item.get("spec")
    if isinstance(spec, dict) and re.fullmatch(r"(apps|batch)/.*|v1", item["apiVersion"]):
        copy["spec"] = _with_marked_template(spec, labels)
    return copy


def _with_marked_template(spec: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    spec = dict(spec)
    for field in ("template", "jobTemplate"):
        if isinstance(template := spec.get(field), dict):
            template = _with_labels(template, labels)
            if isinstance(inner := template.get("spec"), dict):
                template["spec"] = _with_marked_template(inner, labels)
            spec[field] = template
    return spec


def _with_labels(item: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = item.get("metadata") or {}
    return {
        **item,
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}},
    }
