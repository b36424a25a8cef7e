"""The only file that knows pyhelm3: charts become Kubernetes objects, in `helm template`'s words.

pyhelm3 logs its command lines, so values go in on standard input and nothing secret is ever an
argument. Helm never sees a cluster here: rendering needs none, and applying is ours.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from pyhelm3 import Command
from pyhelm3 import errors as helm_errors

from emco.domain.errors import Invalid, Unavailable
from emco.domain.plan.model import Capabilities
from emco.domain.plan.values import hidden

_DOCUMENT: Final = re.compile(r"^---\s*$", re.MULTILINE)
_SOURCE: Final = re.compile(r"^# Source: (\S+)", re.MULTILINE)
MAX_MESSAGE: Final = 2000


class _Loader(yaml.CSafeLoader):
    """YAML as Go reads it for Kubernetes: no dates, no sexagesimal numbers, `=` is a string."""


def _go_scalars() -> None:
    kept = {
        first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] in ("null", "merge")]
        for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    _Loader.yaml_implicit_resolvers = kept
    for tag, rule, first in (
        ("bool", r"^(?:y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$", "yYnNtTfFoO"),
        ("int", r"^[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+)$", "-+0123456789"),
        ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$", "-+0123456789."),
    ):  # fmt: skip
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rule), list(first))


_go_scalars()
_Loader.bool_values = {**yaml.CSafeLoader.bool_values, "y": True, "n": False}


class _Helm(Command):  # type: ignore[misc]  # pyhelm3 ships no types
    """`helm template` with the capabilities of a cluster, which pyhelm3 does not offer."""

    async def render(
        self,
        release: str,
        chart: Path,
        values: dict[str, Any],
        *,
        namespace: str,
        capabilities: Capabilities,
        is_upgrade: bool,
    ) -> str:
        command = ["template", release, chart, "--include-crds", "--values", "-"]
        command += ["--namespace", namespace]
        if capabilities.kube_version:
            command += ["--kube-version", capabilities.kube_version]
        if capabilities.api_versions:
            command += ["--api-versions", ",".join(capabilities.api_versions)]
        if is_upgrade:
            command.append("--is-upgrade")
        output: bytes = await self.run(command, json.dumps(values).encode())
        return output.decode()


class Renderer:
    """Renders charts with one helm binary."""

    def __init__(self, executable: str) -> None:
        self._helm = _Helm(executable=executable)

    async def render(
        self,
        app: str,
        release: str,
        chart: Path,
        values: dict[str, Any],
        *,
        namespace: str,
        capabilities: Capabilities,
        is_upgrade: bool = False,
    ) -> list[tuple[str, Any]]:
        """The chart's documents as (source file, object), CRDs first, in Helm's order.

        Raises `Invalid` naming the app, and what helm says, when the chart does not render, its
        values do not fit its schema, or what comes out is not YAML.
        """
        try:
            text = await self._helm.render(
                release,
                chart,
                values,
                namespace=namespace,
                capabilities=capabilities,
                is_upgrade=is_upgrade,
            )
        except helm_errors.ConnectionError as error:
            raise Unavailable(
                f"helm could not render the app {app}", _said(error, chart, values)
            ) from None
        except helm_errors.Error as error:
            raise Invalid(
                f"The chart of the app {app} does not render with its values",
                _said(error, chart, values),
            ) from None
        return list(_documents(text, app))


def load_yaml(text: str | bytes, what: str) -> Any:
    """One YAML document as Kubernetes would read it; `Invalid` naming `what` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 — derived from the safe loader
    except yaml.YAMLError as error:
        raise Invalid(f"{what} is not YAML", _where(error)) from None


def load_documents(text: str | bytes, what: str) -> list[Any]:
    """All documents that are not empty; raises as `load_yaml` does."""
    try:
        loaded = yaml.load_all(text, Loader=_Loader)
        return [document for document in loaded if document is not None]
    except yaml.YAMLError as error:
        raise Invalid(f"{what} is not YAML", _where(error)) from None


def _documents(text: str, app: str) -> Iterator[tuple[str, Any]]:
    for part in _DOCUMENT.split(text):
        if (match := _SOURCE.search(part)) is not None or part.strip():
            source = match.group(1) if match else app
            document = load_yaml(part, f"What {source} of the app {app} renders")
            if document is not None:
                yield source, document


def _said(error: helm_errors.Error, chart: Path, values: dict[str, Any]) -> str:
    """What helm said, without scratch folders and without the values it may quote."""
    text = error.stderr.decode(errors="replace").strip().removeprefix("Error: ")
    defaults = chart / "values.yaml"
    own = load_yaml(defaults.read_text(), "values.yaml") if defaults.is_file() else {}
    return hidden(text.replace(f"{chart.parent}/", ""), [values, own])[:MAX_MESSAGE]


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)
