"""Whom an address is counted with; the limits themselves are tested through the door (`test_consumers.py`)."""

import pytest

from events.presence import neighbourhood_of


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("a socket", "a socket"),
    ],
)
def test_neighbourhood(address: str, counted_as: str) -> None:
    assert neighbourhood_of(address) == counted_as
