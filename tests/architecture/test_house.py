"""The house is still the house: layers hold, names are ours, each client library has one importer."""

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import emco.domain.kinds.all
from emco.domain import contracts
from emco.domain.resource import all_kinds
from emco.main import SANDBOX, WORKFLOWS

ROOT = Path(__file__).resolve().parents[2]
OURS = ("emco", "workflows", "activities", "api")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def sources() -> Iterator[Path]:
    for package in OURS:
        yield from (ROOT / package).rglob("*.py")


@pytest.mark.parametrize(
    ("library", "importer"),
    [("pyhelm3", "activities/helm.py"), ("kubernetes", "activities/clusters.py")],
)
def test_one_file_knows_each_client_library(library: str, importer: str) -> None:
    importers = [
        str(path.relative_to(ROOT))
        for path in sources()
        if any(name.split(".")[0] == library for name in imports_of(path))
    ]
    assert importers == [importer]


def test_nobody_else_ships_our_package_names() -> None:
    owners = importlib.metadata.packages_distributions()
    strangers = {name: set(owners.get(name, [])) - {"emco"} for name in OURS}
    assert not any(strangers.values()), strangers


def test_every_module_says_why_it_exists() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_messages_have_no_dynamic_defaults() -> None:
    """A clock or a random number in a default would run unguarded inside workflows."""
    allowed = {dict, tuple, list}
    for message in contracts.Message.__subclasses__():
        for name, field in message.model_fields.items():
            assert field.default_factory is None or field.default_factory in allowed, (
                message,
                name,
            )


def test_every_workflow_activity_and_update_has_an_explicit_name() -> None:
    for group in contracts.Group.__subclasses__():
        for name, method in vars(group).items():
            if not name.startswith("_"):
                definition = getattr(method, "__temporal_activity_definition")
                assert definition.name == f"{group.__name__.lower()}.{name}"
    for workflow in WORKFLOWS:
        assert SANDBOX.prepare_workflow is not None
        definition = getattr(workflow, "__temporal_workflow_definition")
        assert f"{definition.name}Workflow" == workflow.__name__


def test_the_catalogue_of_kinds_is_what_it_was() -> None:
    """A new kind is meant to be seen in review: add its line here."""
    assert emco.domain.kinds.all is not None
    catalogue = sorted(f"{kind.kind} {kind.template()}" for kind in all_kinds())
    assert catalogue == (Path(__file__).with_name("kinds.txt").read_text().splitlines())


def test_importing_the_command_is_cheap() -> None:
    """`emco --help` must not load clients of clusters or databases."""
    script = "import sys, emco.cli.app; print([m for m in ('kubernetes', 'sqlalchemy', 'fastapi') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
