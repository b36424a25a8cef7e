"""Errors as answers: every `EmcoError` becomes an RFC 9457 problem document, everything else a bare 500.

A client that accepts only `text/plain` (EMCO's errors were lines of text) gets the title as the
first line and the detail below it.
"""

import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.accept import acceptable
from emco.domain.errors import EmcoError, Invalid

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(EmcoError)
    async def known(request: Request, error: EmcoError) -> Response:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("request.failed", path=request.url.path, title=error.title)
        return problem(request, error.status, error.title, error.detail, kind=_kind(error))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        detail = ""
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(_allowed(request)))
            detail = f"{request.url.path} answers {headers['Allow']}"
        elif error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"nothing is served at {request.url.path}; /docs lists what is"
        title = HTTPStatus(error.status_code).phrase
        return problem(request, error.status_code, title, detail, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> Response:
        lines = [f"{e['loc'][1]}: {e['msg']}" for e in error.errors()]
        names = ", ".join(dict.fromkeys(str(e["loc"][1]) for e in error.errors()))
        return await known(request, Invalid(f"Invalid query {names}", "\n".join(lines)))


def unexpected(request: Request, error: Exception) -> Response:
    """The answer to a bug: logged with its trace, told without it."""
    log.error("request.crashed", method=request.method, path=request.url.path, exc_info=error)
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The server encountered an internal error and was unable to complete your request.",
        "the log of the API process has the details",
    )


def problem(
    request: Request,
    status: int,
    title: str,
    detail: str = "",
    *,
    kind: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    """One error answer, in the form the client accepts."""
    best = acceptable(request.headers.get("accept"), (PROBLEM, "application/json", "text/plain"))
    if best == "text/plain":
        text = "\n".join(filter(None, (title, detail))) + "\n"
        return Response(text, status, headers, media_type="text/plain; charset=utf-8")
    body: dict[str, Any] = {
        "type": f"urn:emco:problem:{kind}" if kind else "about:blank",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": request.url.path,
    }
    return Response(json.dumps(body), status, headers, media_type=PROBLEM)


def _kind(error: EmcoError) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def _allowed(request: Request) -> Iterable[str]:
    """The methods served at this path. Routers nest, so the document is asked and not the routes."""
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            yield from (method.upper() for method in operations)
