"""Whose address counts for guesses: that of who speaks, as far as a trusted proxy tells it."""

from ipaddress import ip_network
from typing import Any

import pytest

from accounts.lockout import address_behind


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.4", "", "10.0.0.4"),
        ("10.0.0.4", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.4", "192.0.2.7, 10.0.0.5", "192.0.2.7"),
        ("10.0.0.4", "203.0.113.9, 192.0.2.7", "192.0.2.7"),  # what the sender wrote himself
        ("10.0.0.4", "10.0.0.71", "10.0.0.71"),  # a phone in the proxy's own network
        ("10.0.0.4", "10.0.0.71, 10.0.0.5", "10.0.0.71"),
        ("10.0.0.4", "nonsense, 10.0.0.71", "10.0.0.71"),
        ("10.0.0.4", "nonsense", "10.0.0.4"),
        ("192.0.2.7", "10.0.0.71", "192.0.2.7"),  # no proxy of ours says so
    ],
)
def test_address_behind_trusted_proxies(settings: Any, peer: str, forwarded: str, expected: str) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    assert address_behind(peer, forwarded) == expected


def test_without_trusted_proxies_only_the_peer_counts(settings: Any) -> None:
    settings.TRUSTED_PROXIES = []
    assert address_behind("10.0.0.4", "192.0.2.7") == "10.0.0.4"


@pytest.mark.parametrize(("phone", "expected"), [("10.0.0.71", "10.0.0.71"), ("192.0.2.7", "192.0.2.7")])
def test_proxy_named_by_its_address_hides_no_phone(settings: Any, phone: str, expected: str) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.4")]
    assert address_behind("10.0.0.4", f"198.51.100.1, {phone}") == expected
