"""Which numbers a launched call may dial: a pure rule, the same for a program and for the button on a page."""

import re
from collections.abc import Collection

from cdr.rating import EMERGENCY_NUMBERS
from pbx.routes import Refusal

_NUMBER = re.compile(r"\+?[0-9*#]{1,32}", re.ASCII)
_MALFORMED = Refusal("malformed_number", "A number has 1 to 32 digits, * or #, with or without a leading +.")
_EMERGENCY = Refusal("forbidden_number", "Emergency numbers are dialled by a person on a phone, never by a program.")
_FEATURE = Refusal("forbidden_number", "This is a code of the switch, not a number to call.")
_BLOCKED = Refusal("forbidden_number", "Numbers that begin so may not be called from here.")


def refusal_of(number: str, *, is_extension: bool, forbidden_prefixes: Collection[str] = ()) -> Refusal | None:
    """Why it is not dialled; None when it may be. An extension of the tenant may be called whatever it looks like."""
    if not _NUMBER.fullmatch(number):
        return _MALFORMED
    if is_extension:
        return None
    if number[0] in "*#":
        return _FEATURE
    plain = _plain(number)
    if number in EMERGENCY_NUMBERS or plain in EMERGENCY_NUMBERS:
        return _EMERGENCY
    if any(plain.startswith(_plain(prefix)) for prefix in forbidden_prefixes):
        return _BLOCKED
    return None


def _plain(number: str) -> str:
    """Without what says "international": +881 and 00881 are one beginning."""
    return number.removeprefix("+").removeprefix("00") or number
