"""How a recording's facts look: its state in words, its parts for the player."""

import json
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from recordings.models import Recording, Segment
from recordings.words import end_words

register = template.Library()
_STATES = {
    Recording.State.READY: "good",
    Recording.State.FAILED: "bad",
    Recording.State.PROCESSING: "warn",
    Recording.State.RECORDING: "good",
}


@register.filter
def as_json(value: Any) -> str:
    """For a data attribute; the template escapes it."""
    return json.dumps(value, separators=(",", ":"))


@register.filter
def percent(value: float) -> str:
    """A place in a drawing, whatever language numbers are written in."""
    return f"{value:g}%"


@register.filter
def why_ended(segment: Segment) -> str:
    return end_words(segment)


@register.filter
def whole(value: float) -> int:
    return int(value)


@register.simple_tag
def recording_state(recording: Recording) -> SafeString:
    state = Recording.State(recording.state)
    return format_html('<span class="status" data-is="{}">{}</span>', _STATES.get(state, "off"), state.label)
