"""The OpenAPI document: what FastAPI finds in the signatures, plus the schemas and examples of the kinds."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from api.asking import AnswerBody, MigrateBody, ReplayBody, RollbackBody
from api.bodies import body_model
from api.problems import PROBLEM
from emco.domain.graph import DependencyGraph
from emco.domain.plan.report import PlanReport
from emco.domain.resource import Resource, all_kinds

Json = dict[str, Any]

REFS: Final = "#/components/schemas/{model}"


class Problem(BaseModel):
    """RFC 9457 problem details. `title` is EMCO's sentence where EMCO has one."""

    type: str = Field(examples=["urn:emco:problem:not-found"])
    title: str = Field(examples=["Project not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no projects/shop"])
    instance: str = Field(examples=["/v2/projects/shop"])


class Use(BaseModel):
    """One reference: the field that holds it and the resource at its other end."""

    field: str = Field(examples=["spec.app"])
    kind: str = Field(examples=["App"])
    path: str = Field(examples=["projects/shop/composite-apps/boutique/v1/apps/frontend"])


class Child(BaseModel):
    """A resource directly below another."""

    kind: str = Field(examples=["CompositeApp"])
    path: str = Field(examples=["projects/shop/composite-apps/boutique/v1"])


class ReferencesAnswer(BaseModel):
    """Who refers to a resource, what it refers to, and what is below it."""

    incoming: list[Use]
    outgoing: list[Use]
    children: list[Child]


class UnitExplained(BaseModel):
    """One app on one cluster."""

    app: str = Field(examples=["frontend"])
    cluster: str = Field(examples=["edge+c1"])
    phase: str = Field(examples=["Applied"])
    ready: int
    total: int
    since: str
    message: str
    waitingFor: list[str]  # noqa: N815  the JSON name
    nextTry: str  # noqa: N815  the JSON name
    until: str
    next: str


class Remnant(BaseModel):
    """What a terminate left on a cluster that was away."""

    cluster: str = Field(examples=["edge+c2"])
    app: str = Field(examples=["frontend"])
    objects: list[str]


class HookExplained(BaseModel):
    """The last run of one hook; `question` when only an answer lets it go on."""

    id: str = Field(examples=["3:pre-upgrade:0:Job/migrate:web@edge+c1"])
    event: str = Field(examples=["pre-upgrade"])
    kind: str = Field(examples=["Job"])
    name: str
    app: str
    cluster: str
    state: str = Field(examples=["Running"])
    attempt: int
    since: str
    message: str
    question: str


class Explanation(BaseModel):
    """What is going on in a deployment, unit by unit."""

    deployment: str = Field(examples=["shop/boutique/v1/prod"])
    state: str = Field(examples=["Instantiated"])
    progress: str = Field(examples=["Instantiating"])
    message: str
    operation: str
    verb: str
    revision: int
    queue: list[str]
    remnants: list[Remnant]
    hooks: list[HookExplained]
    units: list[UnitExplained]


class ListenerAnswer(BaseModel):
    """How a subscription's listener fares. `behind` counts all events of the log after its cursor."""

    standing: str = Field(examples=["listening", "retrying", "paused", "disabled"])
    cursor: int
    behind: int
    delivered: int
    deadLetters: int  # noqa: N815  the JSON name
    attempts: int
    failure: str
    retryAt: str  # noqa: N815  the JSON name


class TriedAnswer(BaseModel):
    """What came of a test event."""

    delivered: bool
    failure: str


_ANSWERS: Final = (
    Problem,
    ListenerAnswer,
    ReplayBody,
    TriedAnswer,
    ReferencesAnswer,
    Explanation,
    PlanReport,
    DependencyGraph,
    RollbackBody,
    MigrateBody,
    AnswerBody,
)


class Emco(FastAPI):
    """FastAPI with the kinds' schemas in its document."""

    def openapi(self) -> Json:
        """Built once, at the first request for it."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                summary=self.summary,
                description=self.description,
                routes=self.routes,
            )
            document.setdefault("components", {})["schemas"] = _schemas()
            self.openapi_schema = document
        return self.openapi_schema


def _schemas() -> Json:
    models: list[type[BaseModel]] = [*map(body_model, all_kinds()), *_ANSWERS]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, ref_template=REFS
    )
    schemas: Json = dict(sorted(definitions["$defs"].items()))
    return schemas


def ref(model: type[BaseModel]) -> Json:
    """A pointer to the schema of a model of this document."""
    return {"$ref": REFS.format(model=model.__name__)}


def body_schema(kind: type[Resource]) -> Json:
    """A pointer to the schema of a kind's whole body."""
    return ref(body_model(kind))


def request_body(kind: type[Resource]) -> Json:
    """The `requestBody` of POST and PUT: JSON, or a form with the JSON and a file."""
    content: Json = {
        "application/json": {"schema": body_schema(kind), "example": example(kind)},
    }
    if part := kind.wire.file:
        raw: Json = {"type": "string", "format": "binary"}
        form = {
            "type": "object",
            "properties": {
                "metadata": body_schema(kind),
                part: {"type": "array", "items": raw} if kind.wire.repeated else raw,
            },
            "required": ["metadata", *([part] if kind.wire.file_required else [])],
        }
        encoding = {
            "metadata": {"contentType": "application/json"},
            part: {"contentType": "application/octet-stream"},
        }
        content = {"multipart/form-data": {"schema": form, "encoding": encoding}, **content}
    return {"requestBody": {"required": True, "content": content}}


def json_body(model: type[BaseModel]) -> Json:
    """The `requestBody` of a verb that needs one."""
    content = {"application/json": {"schema": ref(model)}}
    return {"requestBody": {"required": True, "content": content}}


def example(kind: type[Resource]) -> Json:
    """A body that is valid, made of the examples of the fields."""
    spec = _example_of(kind)
    if kind.wire.bare:
        return spec
    metadata = {"name": kind.plural.rstrip("s") + "-1", "description": ""}
    return {"metadata": metadata, **({"spec": spec} if spec else {})}


def _example_of(model: type[BaseModel]) -> Json:
    found: Json = {}
    for name, field in model.model_fields.items():
        if field.examples or field.is_required():
            found[field.alias or name] = _example_value(field)
    return found


def _example_value(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else []


def problems(*codes: int) -> Mapping[int | str, Json]:
    """`responses` for FastAPI: the errors an operation is known for, and any other as a problem."""
    content = {
        PROBLEM: {"schema": ref(Problem)},
        "text/plain": {"schema": {"type": "string"}},
    }
    return {
        **{code: {"description": _MEANINGS[code], "content": content} for code in codes},
        "default": {"description": "Anything else that went wrong", "content": content},
    }


def answer(description: str, schema: Json | None = None, **content: Json) -> Json:
    """One success response: JSON of `schema`, and other media types by keyword."""
    types: Iterable[tuple[str, Json]] = content.items()
    if schema is not None:
        types = [("application/json", schema), *types]
    return {"description": description, "content": {k: {"schema": v} for k, v in types}}


_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request breaks a rule; `detail` names the field",
    403: "Refused",
    404: "Not found",
    406: "Nothing we have is acceptable to the client",
    410: "It was there once; `detail` says what still is",
    409: "The state of other things does not allow it; `detail` names them",
    412: "`If-Match` names another generation",
    413: "Too large",
    422: "Could not be read: JSON, form or archive",
    503: "Something needed does not answer; try again",
}
