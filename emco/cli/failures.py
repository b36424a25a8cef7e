"""How a command ends when it does not succeed, and with which exit code. The codes are documented."""

from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final

import httpx


class Code(IntEnum):
    """Exit codes of the `emco` command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    TIMEOUT = 6


EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict with what is there, "
    "5 API or Temporal not reachable, 6 timeout."
)


class Failure(Exception):
    """What went wrong: one sentence, the place and the next step below it, and the exit code."""

    def __init__(self, title: str, detail: str = "", *, code: Code = Code.FAILED) -> None:
        super().__init__(title, detail)
        self.title = title
        self.detail = detail
        self.code = code


class Refused(Failure):
    """The API answered with an error: its problem document, or whatever stood in its place."""

    _CODES: Final = {
        HTTPStatus.NOT_FOUND: Code.NOT_FOUND,
        HTTPStatus.CONFLICT: Code.CONFLICT,
        HTTPStatus.PRECONDITION_FAILED: Code.CONFLICT,
        HTTPStatus.BAD_GATEWAY: Code.UNREACHABLE,
        HTTPStatus.SERVICE_UNAVAILABLE: Code.UNREACHABLE,
        HTTPStatus.GATEWAY_TIMEOUT: Code.UNREACHABLE,
    }

    def __init__(self, response: httpx.Response) -> None:
        problem = _problem(response)
        self.status = response.status_code
        self.kind = str(problem.get("type", "")).rpartition(":")[2]
        super().__init__(
            str(problem.get("title") or f"{self.status} {response.reason_phrase}"),
            str(problem.get("detail") or ""),
            code=self._CODES.get(HTTPStatus(self.status), Code.FAILED),
        )


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {"detail": response.text.strip()[:1000]}
    return problem if isinstance(problem, dict) else {"detail": str(problem)[:1000]}
