"""Which numbers a launched call may dial, as a table."""

import pytest

from pbx.dialable import refusal_of


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("5551000", ""),
        ("+4930123456", ""),
        ("102", ""),
        ("1" * 32, ""),
        ("1" * 33, "malformed_number"),
        ("", "malformed_number"),
        ("+", "malformed_number"),
        ("5551000 ", "malformed_number"),
        ("sip:5551000@evil.test", "malformed_number"),
        ("5551000&PJSIP/1", "malformed_number"),
        ("٥٥٥", "malformed_number"),
        ("555\n1", "malformed_number"),
        ("112", "forbidden_number"),
        ("+911", "forbidden_number"),
        ("000", "forbidden_number"),
        ("1120", ""),
        ("*72", "forbidden_number"),
        ("#31#5551000", "forbidden_number"),
        ("1900555", "forbidden_number"),
        ("+1900555", "forbidden_number"),
        ("001900555", "forbidden_number"),
        ("+88112345", "forbidden_number"),
        ("88212345", ""),
    ],
)
def test_outside_number(number: str, code: str) -> None:
    refusal = refusal_of(number, is_extension=False, forbidden_prefixes=["1900", "+881"])
    assert (refusal.code if refusal else "") == code


@pytest.mark.parametrize("number", ["112", "*72", "1900"])
def test_extension_may_be_called_whatever_it_looks_like(number: str) -> None:
    assert refusal_of(number, is_extension=True, forbidden_prefixes=["1900"]) is None
