"""Which kubeconfigs are accepted, and how each refusal names the field."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from emco.domain.errors import Invalid
from emco.domain.kubeconfig import MAX_KUBECONFIG_BYTES, parse_kubeconfig

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()


def config() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": PEM},
            }
        ],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
    }


def user(body: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda c: c["users"][0].update(user=body)


def cluster(body: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda c: c["clusters"][0].update(cluster={"server": "https://a", **body})


def test_a_kubeconfig_that_stands_alone_is_understood() -> None:
    found = parse_kubeconfig(yaml.safe_dump(config()).encode())
    assert (found.context, found.cluster, found.user) == ("main", "c", "u")
    assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "n")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (user({"exec": {"command": "aws"}}), "users[u].user.exec"),
        (user({"auth-provider": {"name": "gcp"}}), "users[u].user.auth-provider"),
        (user({"client-certificate": "/a.crt"}), "client-certificate-data"),
        (user({"client-key": "/a.key"}), "client-key-data"),
        (user({"tokenFile": "/var/run/token"}), "users[u].user.tokenFile"),
        (user({"client-certificate-data": PEM}), "client-key-data"),
        (user({"client-certificate-data": "?", "client-key-data": PEM}), "is not base64"),
        (cluster({"certificate-authority": "/ca.crt"}), "certificate-authority-data"),
        (cluster({"server": "ftp://a"}), "clusters[c].cluster.server"),
        (cluster({"server": "https://"}), "clusters[c].cluster.server"),
        (cluster({"server": "https://[::1"}), "clusters[c].cluster.server"),
        (cluster({"server": 5}), "clusters[c].cluster.server"),
        (lambda c: c.pop("current-context"), "current-context"),
        (lambda c: c.update({"current-context": "other"}), "names nothing in `contexts`"),
        (lambda c: c.update(users=[]), "`users`"),
        (lambda c: c.update(clusters="x"), "`clusters`"),
        (lambda c: c.update(contexts=[{"name": "main"}]), "`contexts[0]`"),
        (lambda c: c["contexts"][0]["context"].update(user="z"), "contexts[main].user"),
    ],
)
def test_a_refusal_names_the_field(spoil: Callable[[dict[str, Any]], None], named: str) -> None:
    broken = config()
    spoil(broken)
    with pytest.raises(Invalid) as refusal:
        parse_kubeconfig(yaml.safe_dump(broken).encode())
    assert named in refusal.value.detail


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02",
        b"\xff\xfe garbage",
        b"just words",
        b"- a\n- list",
        b"a: [unclosed",
        b"a: &x [1]\nb: *x",
        b"a: !!python/object/apply:os.system ['id']",
        b"a: 1\n---\nb: 2",
        b"[" * 5000,
        b"a" * (MAX_KUBECONFIG_BYTES + 1),
    ],
)
def test_garbage_is_refused_as_invalid(content: bytes) -> None:
    with pytest.raises(Invalid):
        parse_kubeconfig(content)


def test_a_refusal_never_quotes_a_credential() -> None:
    broken = config()
    broken["users"][0]["user"] = {"client-key-data": "hunter2?", "client-certificate-data": PEM}
    with pytest.raises(Invalid) as refusal:
        parse_kubeconfig(yaml.safe_dump(broken).encode())
    assert "hunter2" not in str(refusal.value)
