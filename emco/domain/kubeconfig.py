"""What is accepted as a kubeconfig: one file that works alone, on any machine, without running a program.

A kubeconfig is code in disguise: `exec` runs a command, a file path reads one. Neither may come
in over the network, so whatever reaches outside the file is refused and named here. Messages
quote field names and never values, because values are credentials.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from emco.domain.errors import Invalid

MAX_KUBECONFIG_BYTES: Final = 512 * 1024

_FLATTEN = "`kubectl config view --minify --flatten --raw` writes a file that stands alone"

_EMBED: Final[Mapping[str, str]] = {
    "certificate-authority": "embed the file's content as `certificate-authority-data`",
    "client-certificate": "embed the file's content as `client-certificate-data`",
    "client-key": "embed the file's content as `client-key-data`",
    "tokenFile": "put the token itself under `token`",
    "exec": "nothing is run here; use a `token` or client certificate of a service account",
    "auth-provider": "nothing is run here; use a `token` or client certificate of a service account",
}
_BASE64: Final = ("certificate-authority-data", "client-certificate-data", "client-key-data")


@dataclass(frozen=True)
class Kubeconfig:
    """What the current context points at; no credentials."""

    context: str
    cluster: str
    user: str
    server: str
    namespace: str


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases: they have no use in a kubeconfig and can blow a small file up."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (`*name`) are not allowed")
        return super().compose_node(parent, index)


def parse_kubeconfig(content: bytes) -> Kubeconfig:
    """Check a kubeconfig and say what its current context points at; `Invalid` names the field."""
    document = _load(content)
    contexts, clusters, users = (_entries(document, k) for k in ("context", "cluster", "user"))
    current = document.get("current-context")
    if not isinstance(current, str) or not current:
        raise _refusal("`current-context` is missing: it says which context to use")
    context = _named(contexts, current, "contexts", "current-context")
    cluster = _named(clusters, context.get("cluster"), "clusters", f"contexts[{current}].cluster")
    _named(users, context.get("user"), "users", f"contexts[{current}].user")
    for name, body in clusters.items():
        _check_part(body, f"clusters[{name}].cluster")
    for name, body in users.items():
        _check_part(body, f"users[{name}].user")
    return Kubeconfig(
        context=current,
        cluster=str(context["cluster"]),
        user=str(context["user"]),
        server=_server(cluster, f"clusters[{context['cluster']}].cluster"),
        namespace=str(context.get("namespace") or ""),
    )


def _load(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_KUBECONFIG_BYTES:
        raise _refusal(f"it is larger than {MAX_KUBECONFIG_BYTES // 1024} KiB")
    try:
        document = yaml.load(content, Loader=_PlainLoader)  # noqa: S506  a SafeLoader, narrowed
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise _refusal(f"it is not plain YAML{where}") from e
    if not isinstance(document, dict):
        raise _refusal("it is not a YAML mapping with `clusters`, `users`, `contexts`")
    return document


def _entries(document: Mapping[str, Any], noun: str) -> dict[str, dict[str, Any]]:
    """`{name: body}` of one of the three lists of `{name, <noun>: body}`."""
    items = document.get(f"{noun}s")
    if not isinstance(items, list) or not items:
        raise _refusal(f"`{noun}s` must be a list with at least one entry")
    found: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        body = item.get(noun) if isinstance(item, dict) else None
        if not isinstance(name, str) or not isinstance(body, dict):
            raise _refusal(f"`{noun}s[{index}]` must have a `name` and a mapping under `{noun}`")
        found[name] = body
    return found


def _named(
    entries: Mapping[str, dict[str, Any]], name: object, where: str, field: str
) -> dict[str, Any]:
    if not isinstance(name, str) or name not in entries:
        raise _refusal(f"`{field}` names nothing in `{where}`")
    return entries[name]


def _check_part(body: Mapping[str, Any], where: str) -> None:
    for field, remedy in _EMBED.items():
        if body.get(field) not in (None, "", {}):
            raise _refusal(f"`{where}.{field}` is refused: {remedy}; {_FLATTEN}")
    for field, value in _base64_fields(body):
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError) as e:
            raise _refusal(f"`{where}.{field}` is not base64") from e
    if bool(body.get("client-certificate-data")) != bool(body.get("client-key-data")):
        raise _refusal(f"`{where}` needs both `client-certificate-data` and `client-key-data`")


def _base64_fields(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((f, body[f]) for f in _BASE64 if body.get(f) not in (None, ""))


def _server(cluster: Mapping[str, Any], where: str) -> str:
    server = cluster.get("server")
    if isinstance(server, str):
        try:
            url = urlsplit(server)
            if url.scheme in ("http", "https") and url.hostname and url.port != 0:
                return server
        except ValueError:  # a bracket or a port that is none
            pass
    raise _refusal(f"`{where}.server` must be an http or https URL")


def _refusal(detail: str) -> Invalid:
    return Invalid("Invalid kubeconfig", detail)
