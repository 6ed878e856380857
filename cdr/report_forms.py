"""What a report is about: the span of days, by what, and which calls; read alike from a page and from REST."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError

from cdr.callevents import EndReason
from cdr.models import Direction
from cdr.reports import Grouping, Narrowing

MOST_DAYS = 366
PERIODS = {
    "today": "Today",
    "yesterday": "Yesterday",
    "7d": "Last 7 days",
    "28d": "Last 28 days",
    "month": "This month",
    "last-month": "Last month",
}
DEFAULT_PERIOD = "7d"
BY: dict[Grouping, str] = {
    "day": "Day",
    "hour": "Hour",
    "extension": "Extension",
    "trunk": "Trunk",
    "did": "DID/DDI",
    "end_reason": "End reason",
    "direction": "Direction",
}
SUBJECTS = ("extension", "trunk", "did", "end_reason")


@dataclass(frozen=True)
class Question:
    """A report asked for. `last` belongs to it."""

    by: Grouping
    first: date
    last: date
    zone: ZoneInfo
    direction: str = ""
    subject: str = ""
    value: str = ""

    @property
    def narrowing(self) -> Narrowing:
        return Narrowing(
            _midnight(self.first, self.zone),
            _midnight(self.last + timedelta(days=1), self.zone),
            self.direction,
            self.subject,
            "" if self.subject == "end_reason" and self.value == "None" else self.value,
        )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def days_of_period(period: str, today: date) -> tuple[date, date]:
    match period:
        case "today":
            return today, today
        case "yesterday":
            return today - timedelta(days=1), today - timedelta(days=1)
        case "28d":
            return today - timedelta(days=27), today
        case "month":
            return today.replace(day=1), today
        case "last-month":
            last = today.replace(day=1) - timedelta(days=1)
            return last.replace(day=1), last
    return today - timedelta(days=6), today


class ReportForm(forms.Form):
    """Unknown names are ignored. At most one of extension, trunk, DID and end reason: more is not counted."""

    by = forms.ChoiceField(required=False, choices=list(BY.items()))
    period = forms.ChoiceField(required=False, choices=list(PERIODS.items()))
    direction = forms.ChoiceField(required=False, choices=[("", "Any"), *Direction.choices])
    extension = forms.CharField(required=False, max_length=100)
    trunk = forms.CharField(required=False, max_length=100)
    did = forms.CharField(required=False, max_length=64, label="DID/DDI")
    end_reason = forms.ChoiceField(
        required=False,
        label="End reason",
        choices=[("", "Any"), *((reason.value, reason.value) for reason in EndReason)],
    )

    def __init__(self, data: Mapping[str, Any], *, zone: ZoneInfo, today: date) -> None:
        super().__init__(data)
        self.zone, self.today = zone, today
        for name, label in (("from", "First day"), ("to", "Last day")):  # `from` cannot be an attribute
            self.fields[name] = forms.DateField(
                required=False, label=label, input_formats=["%Y-%m-%d"],
                widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
                error_messages={"invalid": "Give a day as in 2023-03-22."},
            )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        given = [name for name in SUBJECTS if values.get(name)]
        if len(given) > 1:
            self.add_error(given[1], ValidationError("Choose one of extension, trunk, DID and end reason."))
        elif given and values.get("by") in SUBJECTS and values["by"] != given[0]:
            self.add_error(given[0], ValidationError("Calls are not counted by two of these at a time."))
        first, last = values.get("from"), values.get("to")
        if first and last and first > last:
            self.add_error("to", ValidationError("The last day must not come before the first."))
        for name in ("from", "to"):
            if values.get(name) and not 1970 <= values[name].year < 9000:
                self.add_error(name, ValidationError("Give a day as in 2023-03-22."))
        span = self._span(values)
        if not self.errors and (span[1] - span[0]).days >= MOST_DAYS:
            self.add_error("to", ValidationError(f"A report holds at most {MOST_DAYS} days."))
        return values

    def _span(self, values: Mapping[str, Any]) -> tuple[date, date]:
        first, last = values.get("from"), values.get("to")
        if first:
            return first, last or max(first, self.today)
        if last:
            return last - timedelta(days=6), last
        return days_of_period(values.get("period") or DEFAULT_PERIOD, self.today)

    def question(self) -> Question:
        """What was asked for; what is wrong stands in `errors` and narrows nothing."""
        values = getattr(self, "cleaned_data", {})
        first, last = self._span(values)
        if first > last or (last - first).days >= MOST_DAYS or not 1970 <= first.year <= last.year < 9000:
            first, last = days_of_period(DEFAULT_PERIOD, self.today)
        by = cast(Grouping, values.get("by") or "day")
        subject = next((name for name in SUBJECTS if values.get(name)), "")
        if by in SUBJECTS and subject not in ("", by):
            subject = ""
        return Question(by, first, last, self.zone, values.get("direction", ""), subject, values.get(subject, ""))
