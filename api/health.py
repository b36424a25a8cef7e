"""Is the process alive, and can it do its work: for whoever restarts it or sends it requests."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.endpoints import json_response
from api.operations import Operations
from emco.domain.kinds.tenancy import Project
from emco.store.store import Store

_OK = {"status": "ok"}
_SCHEMA = {"type": "object", "properties": {"status": {"type": "string"}}}


def health_routes(store: Store, operations: Operations) -> APIRouter:
    """`/healthz` and `/readyz`."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/healthz",
        summary="The process answers",
        response_model=None,
        responses={200: openapi.answer("Alive", _SCHEMA)},
    )
    async def healthz() -> Response:
        return json_response(_OK)

    @router.get(
        "/readyz",
        summary="Store and Temporal answer too",
        response_model=None,
        responses={200: openapi.answer("Ready", _SCHEMA), **openapi.problems(503)},
    )
    async def readyz() -> Response:
        await run_in_threadpool(store.list, Project, limit=1)
        await operations.check()
        return json_response(_OK)

    return router
