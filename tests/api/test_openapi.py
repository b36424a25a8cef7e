"""The OpenAPI document keeps its promises: complete, with valid examples, and what it says is so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from pydantic import BaseModel
from schemathesis import checks

from api.app import create_app
from api.bodies import body_model
from api.openapi import example
from emco.domain.resource import Resource, all_kinds
from emco.settings import Settings
from tests.api.conftest import Api
from tests.api.world import WORLD

ROUTES = Path(__file__).with_name("routes.txt")
NAMES = {parameter: name for item in WORLD for parameter, name in item.names.items()}
"""Names that exist, so that generated requests reach more than a 404."""


BEYOND_SCHEMA = [
    # A name must be the URL's, a chart a chart, a cursor one of ours: no schema says that.
    checks.positive_data_acceptance,
    # Null is nothing, and keys match in any case, as in EMCO's decoder.
    checks.negative_data_rejection,
]


def document() -> dict[str, Any]:
    """Nothing is asked of store and operations to describe the API."""
    nobody: Any = None
    return create_app(nobody, nobody, Settings(), listeners=nobody).openapi()


DOCUMENT = document()
schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.config.phases.coverage.enabled = False  # 7,000 requests, nearly the same for every kind


@schema.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Half of the generated names become names that exist."""
    return {
        key: NAMES[key] if key in NAMES and len(str(value)) % 2 else value
        for key, value in (path_parameters or {}).items()
    }


@pytest.fixture
def stocked(api: Api, full: Path) -> Api:
    """With one resource of every kind."""
    api.load(full)
    return api


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections are kept: thousands of requests are made."""
    with requests.Session() as session:
        yield session


@schema.parametrize()
@hypothesis.settings(
    derandomize=True,
    database=None,
    max_examples=5,
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_every_answer_is_as_documented(
    case: schemathesis.Case[Any], stocked: Api, full: Path, port: int, session: requests.Session
) -> None:
    answer = case.call_and_validate(
        base_url=f"http://127.0.0.1:{port}", session=session, excluded_checks=BEYOND_SCHEMA
    )
    if answer.status_code < 300 and case.method != "GET":
        stocked.load(full)


def test_routes_are_those_that_were_reviewed() -> None:
    """A changed list is a changed promise: read the difference, then rewrite the file."""
    lines = [
        f"{method.upper():6} {path}"
        for path, operations in sorted(DOCUMENT["paths"].items())
        for method in sorted(operations)
    ]
    assert ROUTES.read_text().splitlines() == lines


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda k: k.kind)
def test_the_example_of_a_kind_is_valid(kind: type[Resource]) -> None:
    model: type[BaseModel] = body_model(kind)
    model.model_validate(example(kind))


def test_every_operation_has_an_id_a_summary_and_a_tag() -> None:
    operations = [o for path in DOCUMENT["paths"].values() for o in path.values()]
    assert len({o["operationId"] for o in operations}) == len(operations)
    assert all(o["summary"] and o["tags"] for o in operations)


def test_the_docs_page_and_the_document_are_served(client: httpx.Client) -> None:
    assert "swagger" in client.get("/docs").text.lower()
    assert client.get("/openapi.json").json()["info"]["title"] == "emco"
