"""What an uploaded file must be, by kind; a kind that is not listed here may bring any bytes."""

from collections.abc import Callable, Mapping
from typing import Final

from api.archives import check_chart, check_profile
from emco.domain.errors import Unprocessable
from emco.domain.kinds.apps import App, AppProfile
from emco.domain.kinds.fleet import Cluster
from emco.domain.kubeconfig import parse_kubeconfig
from emco.domain.resource import Address, Resource
from emco.settings import Settings


def _chart(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    check_chart(content, at.name, settings)


def _profile(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    check_profile(content, spec.app if isinstance(spec, AppProfile) else at.name, settings)


def _kubeconfig(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    parse_kubeconfig(content)


_CHECKS: Final[Mapping[type[Resource], Callable[[bytes, Address, Resource, Settings], None]]] = {
    App: _chart,
    AppProfile: _profile,
    Cluster: _kubeconfig,
}


def check_file(content: bytes, at: Address, spec: Resource, settings: Settings) -> None:
    """Refuse a file that is not what its kind needs."""
    if check := _CHECKS.get(type(spec)):
        check(content, at, spec, settings)


def check_presence(content: bytes | None, spec: Resource) -> None:
    """Refuse a new resource without the file it cannot do without."""
    part = spec.wire.file
    if content is not None or part is None or not spec.wire.file_required:
        return
    if isinstance(spec, Cluster) and spec.git_ops is not None:
        return  # a GitOps cluster is reached through its repository
    raise Unprocessable(
        "Unable to process file",
        f"send multipart/form-data with the parts `metadata` (JSON) and `{part}` (a file)",
    )
