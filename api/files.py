"""What an uploaded file must be, by kind; a kind that is not listed here may bring any bytes."""

from collections.abc import Callable, Mapping
from typing import Final

from api.archives import check_chart, check_profile
from api.objects import check_documents, check_object
from emco.domain import bundle
from emco.domain.errors import Invalid, Unprocessable
from emco.domain.kinds.apps import App, AppProfile
from emco.domain.kinds.fleet import Cluster
from emco.domain.kinds.generic import Customization, GenericResource
from emco.domain.kubeconfig import parse_kubeconfig
from emco.domain.resource import Address, Resource
from emco.settings import Settings


def _chart(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    check_chart(content, at.name, settings)


def _profile(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    check_profile(content, spec.app if isinstance(spec, AppProfile) else at.name, settings)


def _kubeconfig(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    parse_kubeconfig(content)


def _object(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    if content.strip() or spec.needs_file:  # clients send an empty file for want of one
        check_object(content, "the file", settings)


def _bundle(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    if not isinstance(spec, Customization):
        return
    files = bundle.unpack(content)
    options = {**spec.options("configmap"), **spec.options("secret")}
    if unknown := sorted(set(options) - set(files)):
        raise Invalid(
            "Invalid Input:",
            f"dataKeyOptions: there is no file '{unknown[0]}' among the files that were sent",
        )
    if spec.patch_type == "merge":
        for name in sorted(files):
            if name not in options or options[name].is_patch:
                check_documents(files[name], f"the file {name}", settings)


_CHECKS: Final[Mapping[type[Resource], Callable[[bytes, Address, Resource, Settings], None]]] = {
    App: _chart,
    AppProfile: _profile,
    Cluster: _kubeconfig,
    GenericResource: _object,
    Customization: _bundle,
}


def check_file(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    """Refuse a file that is not what its kind needs."""
    if check := _CHECKS.get(type(spec)):
        check(content, at, spec, settings)


def check_presence(content: bytes | None, spec: Resource) -> None:
    """Refuse a new resource without the file it cannot do without."""
    if content is not None or not spec.needs_file:
        return
    raise Unprocessable(
        "Unable to process file",
        f"send multipart/form-data with the parts `metadata` (JSON) and `{spec.wire.file}` (a file)",
    )
