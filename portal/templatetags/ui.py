"""What every page writes the same way: icons, moments in the reader's zone, durations."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from django import template
from django.template.context import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from cdr.ladder import minutes
from portal.phone import written

register = template.Library()
NONE = "–"
_JSON_LINE = re.compile(
    r'(?P<indent> *)(?:(?P<key>"(?:[^"\\]|\\.)*"): )?(?P<value>"(?:[^"\\]|\\.)*"|[^\s",]+)(?P<comma>,?)'
)


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


@register.simple_tag(takes_context=True)
def column(context: Context, name: str) -> SafeString:
    """Marks a cell as one of a column that the person may put away; the page's `shown`, if any, says which are not."""
    shown = context.get("shown")
    hidden = "" if shown is None or name in shown else " hidden"
    return format_html(' data-column="{}"{}', name, SafeString(hidden))


@register.simple_tag(takes_context=True)
def number(context: Context, text: str) -> SafeString:
    """A telephone number as the reader wants it, with what the switch wrote on hover; a missing one is a dash."""
    shell = context.get("shell") or {}
    shown = written(text, shell.get("numbers", ""), shell.get("region", ""))
    if shown == text:
        return format_html("{}", text or NONE)
    return format_html('<span title="{}">{}</span>', text, shown)


@register.filter
def clock(moment: datetime | None) -> SafeString | str:
    """10:20:51, with UTC on hover; a missing one is a dash. In the hour that comes twice, with the zone."""
    return _time(moment, "%H:%M:%S") if moment else NONE


@register.filter
def clock_text(moment: datetime) -> str:
    """10:20:51 alone, for drawings."""
    local = timezone.localtime(moment)
    return local.strftime(f"%H:%M:%S{_which(local)}")


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """Wed 22 Mar 2023, 10:20:51, with UTC on hover."""
    if value is None:
        return NONE
    local = timezone.localtime(value)
    return _time(value, f"%a {local.day} %b %Y, %H:%M:%S")


def _which(local: datetime) -> str:
    """In the hour that the clocks go through twice, which of the two it is."""
    is_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return " %Z" if is_twice else ""


def _time(value: datetime, shape: str) -> SafeString:
    utc, local = value.astimezone(UTC), timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        utc.isoformat().replace("+00:00", "Z"),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        local.strftime(f"{shape}{_which(local)}"),
    )


@register.filter
def duration(seconds: int | None) -> str:
    """0:38, 9:28, 1:02:10."""
    return NONE if seconds is None else minutes(seconds)


@register.filter
def day(value: date) -> SafeString:
    """Today, Yesterday or the weekday, and the date."""
    names = {0: "Today", 1: "Yesterday"}
    weekday = f"{value:%A}"
    name = names.get((timezone.localdate() - value).days)
    date_words = f"{value.day} {value:%B %Y}"
    if name:
        return format_html("{}<small>{} {}</small>", name, weekday, date_words)
    return format_html("{}<small>{}</small>", weekday, date_words)


@register.filter
def plain(value: object) -> str:
    """A value of the audit trail in words: a list by commas, yes or no, a dash for what is empty."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(each)}" for name, each in value.items()) or NONE
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or NONE
    return NONE if value is None or value == "" else str(value)


@register.filter
def money(amount: Decimal | None) -> str:
    """An amount with at least two decimals and no more than it has: 0.024, 1.50."""
    if amount is None:
        return NONE
    whole, _, fraction = f"{amount:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


@register.filter
def json_colours(text: str) -> SafeString:
    """Indented JSON with its keys and values told apart; every piece is escaped."""
    return format_html_join("\n", "{}", ((_coloured(line),) for line in text.split("\n")))


def _coloured(line: str) -> SafeString | str:
    found = _JSON_LINE.fullmatch(line)
    if not found:
        return line
    key = format_html('<span class="k">{}</span>: ', found["key"]) if found["key"] else ""
    kind = "v" if found["value"].startswith('"') else "n"
    if found["value"] in ("[", "{", "[]", "{}"):
        return format_html("{}{}{}{}", found["indent"], key, found["value"], found["comma"])
    return format_html('{}{}<span class="{}">{}</span>{}', found["indent"], key, kind, found["value"], found["comma"])


@register.filter
def group(number: int) -> str:
    """1,830."""
    return f"{number:,}"
