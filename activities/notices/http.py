"""One listener's way out: the address that was checked is the one that is connected to, and nothing is followed.

The name stays what it is for TLS and in the Host header, so certificates are checked as usual.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, Self

import httpx

from emco.domain.errors import EmcoError
from emco.domain.guard import Allowance, Ip, Place, place_of, require_allowed
from emco.domain.notices import Http, Undelivered

USER_AGENT: Final = "emco"


class GuardedHttp(Http):
    """Posts within a time limit; no proxy, no redirect, and answers are not read."""

    def __init__(self, allowance: Allowance, timeout: float) -> None:
        self._timeout = timeout
        # One client per listener: connections are kept for an address, whatever name led there.
        self._client = httpx.AsyncClient(
            transport=_Guarded(allowance),
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": USER_AGENT},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """See `Http.post`."""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", url, content=body, headers=dict(headers)) as answer,
            ):
                _judge(answer)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout:g} s") from None
        except httpx.HTTPError as error:
            raise Undelivered(f"{type(error).__name__}: {_cause(error)}") from None
        except EmcoError as error:
            raise Undelivered(str(error)) from None


class _Guarded(httpx.AsyncBaseTransport):
    """Resolves, checks, and connects to what was checked."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._inner = httpx.AsyncHTTPTransport(verify=_trusted(), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        place = place_of(str(request.url), self._allowance)
        addresses = await _resolve(place)
        require_allowed(place, addresses, self._allowance)
        request.extensions = {**request.extensions, "sni_hostname": place.host}
        request.url = request.url.copy_with(host=str(addresses[0]))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _trusted() -> ssl.SSLContext:
    """One for all: reading the certificates costs more than most requests."""
    return httpx.create_ssl_context(trust_env=False)


async def _resolve(place: Place) -> list[Ip]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise Undelivered(f"{place.host} has no address") from None
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _judge(answer: httpx.Response) -> None:
    status = answer.status_code
    if answer.is_success:
        return
    told = f"it answered {status}"
    if answer.is_redirect:
        told += ", and redirects are not followed"
    raise Undelivered(
        told,
        retry_after=_retry_after(answer.headers.get("retry-after", "")),
        for_good=status == HTTPStatus.GONE,
    )


def _retry_after(header: str) -> float:
    """Seconds, from either form of the header; 0 when it says nothing."""
    if header.isdecimal():
        return float(header[:9])
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
