"""The filters of the recordings' list, for the page's address and for REST, and the reason somebody listens for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from cdr.forms import CDRFilterForm, CDRFilters
from recordings.models import MEDIUM_CHOICES, Recording

REASON_LENGTH = 300
_OF_THE_CALL = frozenset({"direction", "trunk", "did", "status", "end_reason", "min_talk", "max_talk"})
_OWN = frozenset({"medium", "state", "min_duration", "max_duration"})


@dataclass(frozen=True)
class RecordingFilters:
    """What the list is narrowed to: `shared` stands on the recording too, `call` only on the call's record."""

    shared: CDRFilters = field(default_factory=CDRFilters)
    call: CDRFilters = field(default_factory=CDRFilters)
    medium: str = ""
    state: str = ""
    min_duration: int | None = None  # seconds
    max_duration: int | None = None


class RecordingFilterForm(CDRFilterForm):
    """The filters of calls, less whether they were recorded, and those that only a recording has."""

    recorded = None  # type: ignore[assignment]
    medium = forms.ChoiceField(required=False, choices=[("", "Any"), *MEDIUM_CHOICES])
    state = forms.ChoiceField(required=False, choices=[("", "Any"), *Recording.State.choices])
    min_duration = forms.IntegerField(required=False, min_value=0, max_value=10_000_000, label="Duration at least")
    max_duration = forms.IntegerField(required=False, min_value=0, max_value=10_000_000, label="Duration at most")

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        low, high = values.get("min_duration"), values.get("max_duration")
        if low is not None and high is not None and low > high:
            self.add_error("max_duration", ValidationError("The most must not be below the least.", code="reversed"))
        return values

    def recording_filters(self) -> RecordingFilters:
        """What was given and is right; what is wrong stands in `errors` and narrows nothing."""
        values = {name: value for name, value in getattr(self, "cleaned_data", {}).items() if value not in ("", None)}
        since, until = values.pop("from", None), values.pop("to", None)
        own = _only(values, _OWN)
        call = _only(values, _OF_THE_CALL)
        shared = {name: value for name, value in values.items() if name not in own and name not in call}
        return RecordingFilters(CDRFilters(since=since, until=until, **shared), CDRFilters(**call), **own)


def _only(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


class ReasonForm(forms.Form):
    """Why somebody listens, where the tenant asks for it."""

    reason = forms.CharField(max_length=REASON_LENGTH, label="Why do you listen to this recording?")
