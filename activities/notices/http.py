"""The way out to listeners: the address that was checked is the one that is connected to, and nothing is followed.

The name stays what it is for TLS and in the Host header, so certificates are checked as usual.
"""

import asyncio
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from emco.domain.errors import EmcoError
from emco.domain.guard import Allowance, Place, place_of, require_allowed
from emco.domain.notices import Http, Undelivered

USER_AGENT: Final = "emco"


class GuardedHttp(Http):
    """Posts within a time limit; no proxy, no redirect, no cookie, and answers are not read.

    One serves every listener. Made inside a running loop.
    """

    def __init__(self, allowance: Allowance, timeout: float) -> None:
        self._allowance, self._timeout = allowance, timeout
        self._sessions = {scheme: self._session(scheme) for scheme in ("https", "http")}

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        resolver = _Checked(self._allowance, scheme)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, use_dns_cache=False, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"User-Agent": USER_AGENT},
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """See `Http.post`."""
        try:
            session = self._sessions[place_of(url, self._allowance).scheme]
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                _judge(answer)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _undelivered(error) from None
        except EmcoError as error:
            raise Undelivered(str(error)) from None


class _Checked(AbstractResolver):
    """Resolves a name once, and hands out no address that must not be connected to."""

    def __init__(self, allowance: Allowance, scheme: str) -> None:
        self._allowance, self._scheme = allowance, scheme

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        except (socket.gaierror, UnicodeError):
            raise _Refused(f"{host} has no address") from None
        addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        try:
            require_allowed(Place(self._scheme, host, port), addresses, self._allowance)
        except EmcoError as error:
            raise _Refused(str(error)) from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=entry[0],
                proto=entry[2],
                flags=socket.AI_NUMERICHOST,
            )
            for address, entry in zip(addresses, found, strict=True)
        ]

    async def close(self) -> None:
        """Nothing is held."""


class _Refused(OSError):
    """Why an address is not connected to, as it is told."""


def _undelivered(error: BaseException) -> Undelivered:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _Refused):
            return Undelivered(str(cause))
        cause = cause.__cause__
    return Undelivered(f"{type(error).__name__}: {error}")


def _judge(answer: aiohttp.ClientResponse) -> None:
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    told = f"it answered {answer.status}"
    if answer.status < HTTPStatus.BAD_REQUEST:
        told += ", and redirects are not followed"
    raise Undelivered(
        told,
        retry_after=_retry_after(answer.headers.get("retry-after", "")),
        for_good=answer.status == HTTPStatus.GONE,
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
