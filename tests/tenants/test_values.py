"""What a field takes and how it is kept."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from tenants import values


@pytest.mark.parametrize(
    ("clean", "given", "kept"),
    [
        (values.text(10), "  Zoe\u0308 ", "Zoë"),
        (values.text(10, blank=True), "", ""),
        (values.text(10), "می‌خواهم", "می‌خواهم"),  # a zero width non-joiner is part of the word
        (values.host_label, "Acme-2", "acme-2"),
        (values.host_label, "a", "a"),
        (values.sip_domain, "SIP.Example.com.", "sip.example.com"),
        (values.sip_domain, "bücher.example", "xn--bcher-kva.example"),
        (values.sip_domain, "10.0.0.1", "10.0.0.1"),
        (values.sip_domain, "pbx", "pbx"),
        (values.time_zone, "Europe/Berlin", "Europe/Berlin"),
        (values.currency, "chf", "CHF"),
        (values.did, "+49 (30) 1-2/3.4", "49301234"),
        (values.flag, False, False),
        (values.whole(1, 365), 365, 365),
    ],
)
def test_kept(clean: values.Cleaner, given: object, kept: object) -> None:
    assert clean(given) == kept


WRONG: list[tuple[values.Cleaner, list[Any]]] = [
    (values.text(5), ["", " ", "x" * 6, "a\0", "a\x1b", "a\x85", "a\u2029", "\u202e", "\ud800", None, 5, b"a"]),
    (values.host_label, ["", "-a", "a-", "a.b", "a_b", "ä", "www", "PUBLIC", "a" * 64, "a b", None]),
    (values.sip_domain, ["", ".", "a..b", "-a.b", "a b", "a@b", "sip:a", "a/b", "a" * 64 + ".b", "a." * 130, "*.b"]),
    (values.time_zone, ["", "CET+1", "Europe", "../../etc/passwd", None, "Etc/../UTC"]),
    (values.currency, ["", "EU", "EURO", "€", "XXX", None]),
    (values.did, ["", "+", "abc", "٣٤", "1" * 33, "12#", None, 49]),
    (values.flag, [0, 1, "true", None]),
    (values.whole(1, 365), [0, 366, -1, 1.0, "1", True, None]),
]


@pytest.mark.parametrize(("clean", "given"), [(clean, given) for clean, wrong in WRONG for given in wrong])
def test_refused(clean: values.Cleaner, given: Any) -> None:
    with pytest.raises(ValidationError):
        clean(given)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("0", 0), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("", None), ("-1", None), ("٣", None),
     ("1e3", None), ("9" * 5000, None)],
)  # fmt: skip
def test_id_of(written: str, expected: int | None) -> None:
    assert values.id_of(written) == expected
