"""Which numbers a launched call may dial: a pure rule, the same for a program and for the button on a page."""

import re
from collections.abc import Collection

from cdr.rating import EMERGENCY_NUMBERS
from pbx.routes import Refusal

_NUMBER = re.compile(r"\+?[0-9*#]{1,32}", re.ASCII)
_SHORT = re.compile(r"[0-9]{1,6}", re.ASCII)
_MALFORMED = Refusal("malformed_number", "A number has 1 to 32 digits, with or without a leading +.")
_EMERGENCY = Refusal("forbidden_number", "Emergency numbers are dialled by a person on a phone, never by a program.")
_FEATURE = Refusal("forbidden_number", "This is a code of the switch, not a number to call.")
_BLOCKED = Refusal("forbidden_number", "Numbers that begin so may not be called from here.")


def refusal_of(number: str, *, is_extension: bool, forbidden_prefixes: Collection[str] = ()) -> Refusal | None:
    """Why it is not dialled; None when it may be.

    That the tenant has such an extension excuses no more than a short number from the forbidden prefixes: its
    administrator makes extensions as he likes, and what the switch does with their numbers is not known here.
    """
    if not _NUMBER.fullmatch(number):
        return _MALFORMED
    if "*" in number or "#" in number:
        return _FEATURE
    if _is_emergency(number.removeprefix("+")):
        return _EMERGENCY
    if is_extension and _SHORT.fullmatch(number):
        return None
    plain = _plain(number)
    if any(plain.startswith(_plain(prefix)) for prefix in forbidden_prefixes):
        return _BLOCKED
    return None


def _is_emergency(digits: str) -> bool:
    """Also behind a 0 or 00 for the line to the outside; 000 is one itself."""
    spellings = {digits, digits.removeprefix("0"), digits.removeprefix("00"), digits.lstrip("0")}
    return not spellings.isdisjoint(EMERGENCY_NUMBERS)


def _plain(number: str) -> str:
    """Without what says "international": +881 and 00881 are one beginning."""
    return number.removeprefix("+").removeprefix("00") or number
