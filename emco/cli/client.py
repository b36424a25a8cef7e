"""The one way from the `emco` command to the API: HTTP requests, and errors that say what to do next."""

import getpass
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx

from emco.cli.failures import Code, Failure, Refused
from emco.domain.history import WHO_HEADER
from emco.settings import Settings

PREFIX: Final = "/v2/"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

Json = dict[str, Any]
FilePart = tuple[str, tuple[str, bytes, str]]


class Api:
    """Paths are relative to `/v2/`; every answer that is not 2xx is raised as `Refused`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise _not_a_url(url) from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise _not_a_url(url)
        self._http = httpx.Client(
            base_url=self.url,
            timeout=httpx.Timeout(120, connect=5),
            trust_env=parsed.host not in LOOPBACK,  # a proxy does not reach our own machine
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, *, query: str = "", accept: str = JSON) -> httpx.Response:
        """Read `path`; `query` is sent as it is."""
        return self._send("GET", path, query=query, headers={"Accept": accept})

    def read(self, path: str, *, query: str = "") -> Any:
        """The JSON at `path`."""
        return self.parsed(self.get(path, query=query))

    def parsed(self, response: httpx.Response) -> Any:
        """The JSON of an answer; a `Failure` when it has none, since then it is somebody else's."""
        try:
            return response.json()
        except ValueError as error:
            raise Failure(
                f"What answers at {self.url} is not emco's API",
                f"{response.url.path} gave {response.headers.get('Content-Type') or 'no type'}\n"
                "Is EMCO_URL the address of the API?",
            ) from error

    def write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        files: Sequence[FilePart] = (),
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """POST or PUT `body`: as JSON, or with files as EMCO's form (`metadata`, then the files)."""
        if not files:
            return self._send(method, path, query=query, headers=headers, json=body)
        return self._send(
            method,
            path,
            query=query,
            headers=headers,
            data={"metadata": json.dumps(body)},
            files=list(files),
        )

    def post(self, path: str, *, body: Any = None, query: str = "") -> httpx.Response:
        """POST as the verbs want it: most without a body. Says who asks."""
        return self._send("POST", path, query=query, json=body, headers={WHO_HEADER: _user()})

    def stream(self, path: str, *, query: str = "", last: str = "") -> Iterator[tuple[str, str]]:
        """Server-sent events as (id, data), either of which may be empty; ends when it is cut off."""
        url = PREFIX + quote(path.strip("/"), safe="/~") + (f"?{query}" if query else "")
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        silence = httpx.Timeout(60, connect=5)  # the API says every 15 s that it is still there
        try:
            with self._http.stream("GET", url, headers=headers, timeout=silence) as response:
                if not response.is_success:
                    response.read()
                    raise Refused(response)
                fields: dict[str, str] = {}
                for line in response.iter_lines():
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    elif fields:
                        yield fields.get("id", ""), fields.get("data", "")
                        fields = {}
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def delete(self, path: str, *, query: str = "") -> httpx.Response:
        """DELETE `path`."""
        return self._send("DELETE", path, query=query)

    def _send(self, method: str, path: str, *, query: str = "", **more: Any) -> httpx.Response:
        url = PREFIX + quote(path.strip("/"), safe="/~") + (f"?{query}" if query else "")
        try:
            response = self._http.request(method, url, **more)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise Refused(response)
        return response

    def _unreachable(self, error: httpx.TransportError) -> Failure:
        reason = str(error) or type(error).__name__
        return Failure(
            f"The API does not answer at {self.url}",
            f"{reason}\nIs `emco up` running? Another address is set with EMCO_URL=http://HOST:PORT",
            code=Code.UNREACHABLE,
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        return ""


def _not_a_url(url: str) -> Failure:
    return Failure(
        f"EMCO_URL is not an address: {url!r}",
        "write it as http://HOST:PORT",
        code=Code.USAGE,
    )


@contextmanager
def connected() -> Iterator[Api]:
    """The API that the settings name."""
    api = Api(Settings().url)
    try:
        yield api
    finally:
        api.close()
