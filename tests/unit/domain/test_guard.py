"""The table of addresses: where a listener may be, whatever its name says."""

from ipaddress import ip_address

import pytest

from emco.domain.errors import Forbidden, Invalid
from emco.domain.guard import Allowance, Place, is_public, place_of, require_allowed

NOTHING = Allowance()

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "2606:2800:220:1:248:1893:25c8:1946",
    "2001:4860:4860::8888",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
]
NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"],
    "link-local": ["169.254.1.1", "fe80::1", "febf::1"],
    "metadata": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
                 "168.63.129.16"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:0"],
    "compatible": ["::127.0.0.1", "::10.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1"],
    "Teredo": ["2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "site-local": ["fec0::1"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.1",
                 "203.0.113.1", "2001:db8::1"],
}  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fine(address: str) -> None:
    assert is_public(ip_address(address))
    require_allowed(Place("https", "example.com", 443), [ip_address(address)], NOTHING)


@pytest.mark.parametrize(
    ("what", "address"), [(what, one) for what, found in NOT_PUBLIC.items() for one in found]
)
def test_no_other_address_is(what: str, address: str) -> None:
    assert not is_public(ip_address(address)), what
    with pytest.raises(Forbidden, match="EMCO_NOTICES_ALLOW"):
        require_allowed(Place("https", "example.com", 443), [ip_address(address)], NOTHING)


def test_one_bad_address_among_good_ones_is_enough() -> None:
    """Which one is connected to is chance, or an attacker's choice."""
    both = [ip_address("8.8.8.8"), ip_address("10.0.0.1")]
    with pytest.raises(Forbidden, match=r"10\.0\.0\.1"):
        require_allowed(Place("https", "example.com", 443), both, NOTHING)


@pytest.mark.parametrize(
    ("allow", "scheme", "host", "address", "is_allowed"),
    [
        ("10.0.0.0/8", "https", "h", "10.1.2.3", True),
        ("10.0.0.0/8", "http", "h", "10.1.2.3", True),
        ("10.0.0.0/8", "https", "h", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "https", "h", "11.0.0.1", True),
        ("10.0.0.0/8", "http", "h", "11.0.0.1", False),
        ("10.0.0.0/8", "https", "h", "192.168.0.1", False),
        ("10.1.2.3", "http", "h", "10.1.2.3", True),
        ("fd00::/8", "http", "h", "fd12::1", True),
        ("hooks.corp", "http", "hooks.corp", "192.168.0.1", True),
        ("hooks.corp", "http", "other.corp", "192.168.0.1", False),
        ("*.corp", "http", "hooks.corp", "192.168.0.1", True),
        ("*.corp", "http", "corp.evil", "192.168.0.1", False),
        (" 10.0.0.0/8 , *.corp ,", "http", "hooks.corp", "10.0.0.1", True),
        ("", "http", "h", "8.8.8.8", False),
    ],
)
def test_administrators_open_what_they_want(
    allow: str, scheme: str, host: str, address: str, is_allowed: bool
) -> None:
    place, allowance = Place(scheme, host, 80), Allowance.parse(allow)
    if is_allowed:
        require_allowed(place, [ip_address(address)], allowance)
    else:
        with pytest.raises(Forbidden):
            require_allowed(place, [ip_address(address)], allowance)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://@127.0.0.1/",
        "https://example.com/#part",
        "https://example.com:0x50/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\n",
        "https://éxample.com/",
        "https://[::1",
        "https://2130706433/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://%31%32%37.0.0.1/",
        "https://-example.com/",
        "https://example..com/",
    ],
)
def test_what_is_no_plain_url_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        place_of(url, NOTHING)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "http://8.8.8.8/",
        "https://[fe80::1%25eth0]/",
    ],
)
def test_what_can_be_told_without_resolving_is_told_at_once(url: str) -> None:
    with pytest.raises(Forbidden):
        place_of(url, NOTHING)


def test_a_url_leads_to_a_place() -> None:
    assert place_of("https://Example.com./x", NOTHING) == Place("https", "example.com", 443)
    assert place_of("https://example.com:8443", NOTHING).port == 8443
    assert place_of("https://a-b.1x.svc_1.c0m/", NOTHING).host == "a-b.1x.svc_1.c0m"
    assert place_of("https://xn--bcher-kva.example/", NOTHING).host == "xn--bcher-kva.example"
    assert place_of("http://h:80/", Allowance.parse("h")) == Place("http", "h", 80)
    with pytest.raises(Forbidden):
        place_of("http://h/", Allowance.parse("g"))
