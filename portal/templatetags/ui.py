"""What every page writes the same way: icons, moments in the reader's zone, durations."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
NONE = "–"


@register.simple_tag
def icon(name: str, label: str = "", kind: str = "", state: str = "") -> SafeString:
    """A symbol of the sprite; with a label it is an image to a screen reader. `kind` adds a class, `state` data-is."""
    role = format_html(' role="img" aria-label="{}"', label) if label else SafeString(' aria-hidden="true"')
    return format_html(
        '<svg class="icon{}"{}{}><use href="{}#{}"/></svg>',
        f" {kind}" if kind else "",
        format_html(' data-is="{}"', state) if state else "",
        role,
        static("icons/icons.svg"),
        name,
    )


@register.filter
def clock(moment: datetime | None) -> SafeString | str:
    """10:20:51, with the moment in UTC on hover; a missing one is a dash."""
    return _time(moment, "%H:%M:%S") if moment else NONE


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """Wed 22 Mar 2023, 10:20:51, with UTC on hover."""
    if value is None:
        return NONE
    local = timezone.localtime(value)
    return _time(value, f"%a {local.day} %b %Y, %H:%M:%S")


def _time(value: datetime, shape: str) -> SafeString:
    utc = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        utc.isoformat().replace("+00:00", "Z"),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        timezone.localtime(value).strftime(shape),
    )


@register.filter
def duration(seconds: Any) -> str:
    """0:38, 9:28, 1:02:10."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@register.filter
def spoken(seconds: Any) -> str:
    """8 min 8 s, for sentences."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if rest else ""]
    return " ".join(part for part in parts[:2] if part) if hours else " ".join(filter(None, parts)) or "0 s"
