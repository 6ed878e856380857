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
        ("0112", "forbidden_number"),
        ("00112", "forbidden_number"),
        ("+0112", "forbidden_number"),
        ("0000", "forbidden_number"),
        ("00000", "forbidden_number"),
        ("0", ""),
        ("0301120", ""),
        ("112#", "forbidden_number"),
        ("+*72", "forbidden_number"),
        ("5551000*1", "forbidden_number"),
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


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("102", ""),
        ("190055", ""),  # short: the company's own
        ("1900555", "forbidden_number"),
        ("+1900", "forbidden_number"),
        ("0088116000000", "forbidden_number"),
        ("0088216000000", ""),  # no rule of the operator's speaks of it
        ("112", "forbidden_number"),
        ("911", "forbidden_number"),
        ("0112", "forbidden_number"),
        ("*72", "forbidden_number"),
        ("112#", "forbidden_number"),
    ],
)
def test_extension_is_held_to_the_rules_but_for_prefixes_of_short_ones(number: str, code: str) -> None:
    refusal = refusal_of(number, is_extension=True, forbidden_prefixes=["1900", "+881"])
    assert (refusal.code if refusal else "") == code
