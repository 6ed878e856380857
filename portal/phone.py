"""How a telephone number is written for its reader: as the switch wrote it, in E.164, or as it is dialled at home."""

import re
from functools import lru_cache
from typing import Literal

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat

Form = Literal["", "e164", "national"]
FORMS: tuple[Form, ...] = ("e164", "national")
REGIONS = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
_NUMBER = re.compile(r"\+?[0-9]{7,15}")


@lru_cache(maxsize=8192)
def written(number: str, form: Form, region: str) -> str:
    """What is no valid number of the region or the world, such as an extension or a name, stays as it is."""
    if not form or not _NUMBER.fullmatch(number):
        return number
    found = _read(number, region)
    if found is None:
        return number
    if form == "national" and phonenumbers.region_code_for_number(found) == region:
        return phonenumbers.format_number(found, PhoneNumberFormat.NATIONAL)
    if form == "national":
        return phonenumbers.format_number(found, PhoneNumberFormat.INTERNATIONAL)
    return phonenumbers.format_number(found, PhoneNumberFormat.E164)


def _read(number: str, region: str) -> PhoneNumber | None:
    """Switches leave the plus away: where national numbers begin with 0, one that does not is taken for E.164 first."""
    international = f"+{number.lstrip('+')}"
    if number.startswith("+"):
        return _valid(international, region)
    metadata = PhoneMetadata.metadata_for_region(region, None) if region else None
    begins_with_0 = metadata is not None and metadata.national_prefix == "0"
    tries = (international, number) if begins_with_0 and not number.startswith("0") else (number, international)
    return next((found for each in tries if (found := _valid(each, region))), None)


def _valid(number: str, region: str) -> PhoneNumber | None:
    try:
        found = phonenumbers.parse(number, region or None)
    except phonenumbers.NumberParseException:
        return None
    return found if phonenumbers.is_valid_number(found) else None
