"""Which values a field takes: plain validators that pages, API and verbs share. Each returns what is kept."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet

Cleaner = Callable[[Any], Any]

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_FEATURE_CODE = re.compile(r"[*#]{1,3}[0-9]{0,4}", re.ASCII)
_RESERVED_HOSTS = frozenset({"www", "api", "system", "public", "localhost"})
# Letters that turn the direction of what follows, so that a name reads as another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
CURRENCIES = tuple(  # ISO 4217, what is legal tender somewhere
    """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP
    CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD
    MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB
    RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD
    UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG""".split()  # noqa: SIM905 - a hundred and fifty quotation marks read worse
)


def clean_fields(given: Mapping[str, Any], cleaners: Mapping[str, Cleaner]) -> dict[str, Any]:
    """Every given field through its cleaner. All faults are told at once, by field; an unknown field is a fault."""
    cleaned: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for name, value in given.items():
        if name not in cleaners:
            faults[name] = ["There is no such field, or it cannot be changed."]
            continue
        try:
            cleaned[name] = cleaners[name](value)
        except ValidationError as error:
            faults[name] = error.messages
    if faults:
        raise ValidationError(faults)
    return cleaned


def text(max_length: int, *, blank: bool = False) -> Cleaner:
    """One line in any script: no control characters, none that turn the direction, NFC."""

    def clean(value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("This must be a text.")
        if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} or letter in _TURNING for letter in value):
            raise ValidationError("Leave out control characters and line breaks.")
        kept = unicodedata.normalize("NFC", value).strip()
        if not kept and not blank:
            raise ValidationError("Fill this in.")
        if len(kept) > max_length:
            raise ValidationError(f"Use at most {max_length} characters.")
        return kept

    return clean


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValidationError("This must be true or false.")
    return value


def whole(low: int, high: int) -> Cleaner:
    def clean(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValidationError(f"This must be a whole number from {low} to {high}.")
        return value

    return clean


def choice(*allowed: str) -> Cleaner:
    def clean(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValidationError(f"Choose one of: {', '.join(allowed)}.")
        return value

    return clean


def id_of(written: str) -> int | None:
    """An id as the outside writes it; None for what cannot be one."""
    if not (written.isascii() and written.isdigit()) or len(written) > 19:
        return None
    return int(written) if int(written) < 2**63 else None


def row_of(rows: Callable[[], "QuerySet[Any]"], word: str) -> Cleaner:
    """The row with this id, given as text or as the row itself; empty is none."""

    def clean(value: Any) -> Any:
        if value is None or value == "":
            return None
        found = None
        if isinstance(value, Model):
            found = rows().filter(pk=value.pk).first()
        elif isinstance(value, str) and (row_id := id_of(value)) is not None:
            found = rows().filter(pk=row_id).first()
        if found is None:
            raise ValidationError(f"There is no such {word}.")
        return found

    return clean


def host_label(value: Any) -> str:
    label = str(text(63)(value)).lower()
    if not _LABEL.fullmatch(label):
        raise ValidationError("Use letters a to z, digits and inner hyphens: it becomes the first part of an address.")
    if label in _RESERVED_HOSTS:
        raise ValidationError("This name is reserved.")
    return label


def sip_domain(value: Any) -> str:
    """As it stands in a SIP address, in lower case and in the spelling that goes over the wire (RFC 5890)."""
    written = str(text(253)(value)).lower().rstrip(".")
    try:
        domain = written.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValidationError("Write a domain such as sip.example.com.") from error
    if len(domain) > 253 or not all(len(part) <= 63 and _LABEL.fullmatch(part) for part in domain.split(".")):
        raise ValidationError("Write a domain such as sip.example.com.")
    return domain


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    return tuple(sorted(name for name in available_timezones() if "/" in name or name == "UTC"))


def time_zone(value: Any) -> str:
    if not isinstance(value, str) or value not in time_zones():
        raise ValidationError("Choose a time zone such as Europe/Berlin.")
    return value


def currency(value: Any) -> str:
    if not isinstance(value, str) or value.upper() not in CURRENCIES:
        raise ValidationError("Choose a currency such as EUR.")
    return value.upper()


def plain_number(written: str) -> str:
    """A telephone number as it is compared: without a leading + and without what people put between digits."""
    return re.sub(r"[ \u00a0().\-/]", "", written).removeprefix("+")


def feature_code(value: Any) -> str:
    if not isinstance(value, str) or not _FEATURE_CODE.fullmatch(value) or not 2 <= len(value) <= 7:
        raise ValidationError("Use 2 to 7 signs: one to three of * and #, then up to four digits, such as *48.")
    return value


def did(value: Any) -> str:
    number = plain_number(text(64)(value))
    if not (number.isascii() and number.isdigit() and len(number) <= 32):
        raise ValidationError("Write a number of up to 32 digits, with or without a leading +.")
    return number
