"""Numbers as their reader wants them."""

import pytest

from portal.phone import REGIONS, Form, written


@pytest.mark.parametrize(
    ("number", "form", "region", "shown"),
    [
        ("12025550174", "", "DE", "12025550174"),
        ("12025550174", "e164", "DE", "+12025550174"),
        ("12025550174", "e164", "", "+12025550174"),
        ("03012345678", "e164", "DE", "+493012345678"),
        ("03012345678", "e164", "", "03012345678"),
        ("0049301234567", "e164", "DE", "+49301234567"),
        ("2025550174", "e164", "US", "+12025550174"),
        ("493012345678", "national", "DE", "030 12345678"),
        ("+442079460018", "national", "DE", "+44 20 7946 0018"),
        ("442079460018", "national", "GB", "020 7946 0018"),
        ("12025550174", "national", "US", "(202) 555-0174"),
        ("101", "e164", "DE", "101"),
        ("5000", "national", "DE", "5000"),
        ("anonymous", "e164", "DE", "anonymous"),
        ("", "e164", "DE", ""),
        ("0000000000000", "e164", "DE", "0000000000000"),
        ("٣٣٣٣٣٣٣٣٣", "e164", "DE", "٣٣٣٣٣٣٣٣٣"),
        ("<b>1234567</b>", "e164", "DE", "<b>1234567</b>"),
    ],
)
def test_number_is_written(number: str, form: Form, region: str, shown: str) -> None:
    assert written(number, form, region) == shown


def test_every_region_can_be_chosen() -> None:
    assert {"DE", "US", "GB", "CN"} <= set(REGIONS)
    assert [written("101", "national", region) for region in REGIONS] == ["101"] * len(REGIONS)
