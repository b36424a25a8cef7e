"""What the API's tests upload: archives, kubeconfigs, bodies of every kind."""

import io
import tarfile
from collections.abc import Mapping
from typing import Any

CHART_YAML = b"apiVersion: v2\nname: web\nversion: 0.1.0\n"
MANIFEST_YAML = b"version: v1\ntype:\n  values: override_values.yaml\n"

KUBECONFIG = b"""\
apiVersion: v1
kind: Config
current-context: main
contexts: [{name: main, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: very-secret-token}}]
"""


def tgz(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar; names that end in a slash are folders."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


CHART = tgz({"./": b"", "./web/": b"", "./web/Chart.yaml": CHART_YAML})
PROFILE = tgz({"manifest.yaml": MANIFEST_YAML, "override_values.yaml": b"replicas: 2\n"})


def named(name: str, **spec: Any) -> dict[str, Any]:
    """`{"metadata": {"name": …}, "spec": …}`."""
    return {"metadata": {"name": name}, **({"spec": spec} if spec else {})}
