"""Which addresses a webhook may reach."""

from ipaddress import ip_network

import pytest

from events.addresses import may_reach

INNER = [
    "0.0.0.0",  # noqa: S104
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "127.1",
    "2130706433",
    "0x7f000001",
]


@pytest.mark.parametrize("address", INNER)
def test_inner_address_is_refused(address: str) -> None:
    assert not may_reach(address, [])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::1"])
def test_public_address_is_reachable(address: str) -> None:
    assert may_reach(address, [])


def test_operator_may_allow_a_network() -> None:
    allowed = [ip_network("127.0.0.0/8"), ip_network("fd00::/8")]
    assert [may_reach(text, allowed) for text in ("127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "10.0.0.1", "::1")] == [
        True, True, True, False, False,
    ]  # fmt: skip
