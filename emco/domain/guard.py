"""Where listeners may be: public addresses over https, and what an administrator allows beside that.

A URL comes from whoever may write a subscription, so it must not reach what only this machine
reaches: itself, its network, the metadata service of its cloud. Names say nothing about that, so
it is the resolved address that counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Self
from urllib.parse import urlsplit

from emco.domain.errors import Forbidden, Invalid

Ip = IPv4Address | IPv6Address

_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_LOCAL_ALL_THE_SAME: Final = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))
"""Metadata services of clouds, at addresses that look public to some versions of Python."""

# A last label that is a number makes an address of it to some and a name to others (127.1, 0x7f000001).
_NAME: Final = re.compile(
    r"([a-z0-9_]([-a-z0-9_]*[a-z0-9_])?\.)*(?!0x[0-9a-f]*$)[a-z_]([-a-z0-9_]*[a-z0-9_])?"
)

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Place:
    """Where a URL leads, before its host is resolved."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class Allowance:
    """What an administrator allows although it is not public."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From comma-separated networks, addresses and host patterns."""
        networks, hosts = [], []
        for part in filter(None, (p.strip().lower() for p in text.split(","))):
            try:
                networks.append(ip_network(part, strict=False))
            except ValueError:
                hosts.append(part)
        return cls(tuple(networks), tuple(hosts))

    def names(self, host: str) -> bool:
        """Whether the host is allowed wherever it is."""
        return any(fnmatchcase(host, pattern) for pattern in self.hosts)

    def covers(self, address: Ip) -> bool:
        """Whether the address is in an allowed network, as it is or as what it stands for."""
        return any(one in network for one in _meanings(address) for network in self.networks)


def place_of(url: str, allowance: Allowance) -> Place:
    """Where a URL leads; `Invalid` or `Forbidden` where that can be told without resolving it."""
    if not url.isascii() or any(c <= " " or c in "\\\x7f" for c in url):
        raise Invalid("Invalid URL", "a URL is printable ASCII without blanks and backslashes")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise Invalid("Invalid URL", str(error)) from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise Invalid("Invalid URL", "write https://host/path")
    if literal(host) is None and not _NAME.fullmatch(host):
        raise Invalid("Invalid URL", f"'{host}' is neither a name nor an address as it is written")
    if "@" in parts.netloc:
        raise Invalid("Invalid URL", "no credentials in it: use a header, whose value is sealed")
    if parts.fragment:
        raise Invalid("Invalid URL", "no fragment in it: it would not be sent")
    place = Place(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])
    if (address := literal(host)) is not None:
        require_allowed(place, [address], allowance)
    elif place.scheme == "http" and not (allowance.networks or allowance.names(host)):
        raise _not_encrypted(place)
    return place


def require_allowed(place: Place, addresses: Sequence[Ip], allowance: Allowance) -> None:
    """Raise `Forbidden` unless every address that a host has may be connected to."""
    if allowance.names(place.host):
        return
    for address in addresses:
        if allowance.covers(address):
            continue
        if not is_public(address):
            raise Forbidden(
                "A listener must not be there",
                f"{place.host} is at {address}, which is not public; an administrator can allow it "
                "in EMCO_NOTICES_ALLOW",
            )
        if place.scheme == "http":
            raise _not_encrypted(place)


def is_public(address: Ip) -> bool:
    """Whether the address, and every other that it stands for, is out on the internet."""
    return all(
        one.is_global
        and not one.is_multicast
        and not one.is_reserved
        and not getattr(one, "is_site_local", False)
        and not any(one in network for network in _LOCAL_ALL_THE_SAME)
        for one in _meanings(address)
    )


def _meanings(address: Ip) -> list[Ip]:
    """The address, and the IPv4 addresses that it carries in one of IPv6's ways.

    A mapped or translated address is nothing but the one it carries.
    """
    if isinstance(address, IPv4Address):
        return [address]
    carried = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None or address in _NAT64:
        return [carried]
    found: list[Ip] = [address]
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if address in _COMPATIBLE:
        found.append(carried)
    return found


def literal(host: str) -> Ip | None:
    """The address that a host is written as; None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _not_encrypted(place: Place) -> Forbidden:
    return Forbidden(
        "A listener is told over https only",
        f"{place.host} would be told in the clear; an administrator can allow it in "
        "EMCO_NOTICES_ALLOW",
    )
