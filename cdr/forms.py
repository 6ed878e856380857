"""The filters of the CDR list, read the same way from a page's address and from the REST API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from cdr.callevents import EndReason
from cdr.models import CallStatus, Direction

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNIX = re.compile(r"\d{1,11}(\.\d{1,9})?")
_FILLING = re.compile(r"[\s()/-]")
_NUMBER = re.compile(r"[\d\s()/*+-]+")
YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class CDRFilters:
    """What a list is narrowed to; None or empty narrows nothing. `since` belongs to the span, `until` does not."""

    since: datetime | None = None
    until: datetime | None = None
    number: str = ""
    caller: str = ""
    callee: str = ""
    direction: str = ""
    extension: str = ""
    trunk: str = ""
    did: str = ""
    session_id: str = ""
    status: str = ""
    end_reason: str = ""
    min_talk: int | None = None
    max_talk: int | None = None
    recorded: bool | None = None
    search: str = ""


class MomentField(forms.Field):
    """RFC 3339 or Unix seconds; without an offset in the reader's zone; as `ends`, a day alone is included."""

    def __init__(self, *, ends: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.ends = ends
        self.zone: tzinfo = UTC

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            return self._moment(text)
        except (ValueError, OverflowError) as error:
            raise ValidationError(
                "Give a date, a time as in 2023-03-22T10:20:51Z, or Unix seconds.", code="bad_time"
            ) from error

    def _moment(self, text: str) -> datetime:
        if _UNIX.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        if _DATE.fullmatch(text):
            day = datetime.fromisoformat(text) + (timedelta(days=1) if self.ends else timedelta())
            return datetime.combine(day, time(), self.zone).astimezone(UTC)
        # A plus sign that was not encoded arrives as a space.
        found = datetime.fromisoformat(re.sub(r" (?=\d{2}:?\d{2}$)", "+", text) if text.count(":") > 1 else text)
        return (found if found.tzinfo else found.replace(tzinfo=self.zone)).astimezone(UTC)


def number_in(text: str) -> str:
    """A number without what people put between its digits; a SIP name keeps its hyphens."""
    return _FILLING.sub("", text) if _NUMBER.fullmatch(text) else text.strip()


class NumberField(forms.CharField):
    """A number as people write it; `*` stands for any digits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=64, **options)

    def to_python(self, value: Any) -> Any:
        return number_in(super().to_python(value) or "")


class YesNoField(forms.Field):
    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return None
        if text.lower() not in YES_NO:
            raise ValidationError("Say true or false.", code="bad_choice")
        return YES_NO[text.lower()]


def _text(**options: Any) -> forms.CharField:
    return forms.CharField(required=False, **options)


class CDRFilterForm(forms.Form):
    """Unknown names are ignored, as a page's own names (cursors, columns) stand in the same address."""

    direction = forms.ChoiceField(required=False, choices=[("", "Any"), *Direction.choices])
    status = forms.ChoiceField(required=False, choices=[("", "Any"), *CallStatus.choices])
    number = NumberField(required=False, label="Number", help_text="Caller or callee; * stands for any digits.")
    caller = NumberField(required=False)
    callee = NumberField(required=False)
    extension = NumberField(required=False)
    did = NumberField(required=False, label="DID/DDI")
    trunk = _text(max_length=100)
    session_id = _text(max_length=128, label="Session id")
    end_reason = forms.ChoiceField(
        required=False,
        label="End reason",
        choices=[("", "Any"), *((reason.value, reason.value) for reason in EndReason)],
    )
    min_talk = forms.IntegerField(required=False, min_value=0, max_value=10_000_000, label="Talking Time at least")
    max_talk = forms.IntegerField(required=False, min_value=0, max_value=10_000_000, label="Talking Time at most")
    recorded = YesNoField(required=False)
    search = _text(max_length=100)

    def __init__(self, data: Mapping[str, Any], *, zone: tzinfo) -> None:
        super().__init__(data)
        for name, ends in (("from", False), ("to", True)):  # `from` cannot be an attribute
            field = MomentField(ends=ends, required=False)
            field.zone = zone
            self.fields[name] = field

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        since, until = values.get("from"), values.get("to")
        if since and until and since >= until:
            self.add_error("to", ValidationError("The end must come after the beginning.", code="reversed"))
        low, high = values.get("min_talk"), values.get("max_talk")
        if low is not None and high is not None and low > high:
            self.add_error("max_talk", ValidationError("The most must not be below the least.", code="reversed"))
        return values

    def filters(self) -> CDRFilters:
        """What was given and is right; what is wrong stands in `errors` and narrows nothing."""
        values = {name: value for name, value in getattr(self, "cleaned_data", {}).items() if value not in ("", None)}
        since, until = values.pop("from", None), values.pop("to", None)
        return CDRFilters(since=since, until=until, **values)
