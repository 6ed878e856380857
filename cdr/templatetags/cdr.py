"""How a call's facts look in a row: its direction, its status, where its menu leads."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cdr.models import CDR, CallStatus, Direction

register = template.Library()
_WAYS = {
    Direction.INBOUND: ("in", "Inbound"),
    Direction.OUTBOUND: ("out", "Outbound"),
    Direction.INBOUND_OUTBOUND: ("through", "Inbound to outbound"),
    Direction.INTERNAL: ("internal", "Internal"),
}
_MISSED = frozenset({Direction.INBOUND, Direction.INBOUND_OUTBOUND})
_STATES = {CallStatus.ANSWERED: "good", CallStatus.NOANSWER: "bad", CallStatus.FAILED: "bad"}


@dataclass(frozen=True)
class Way:
    symbol: str
    label: str
    state: str


@register.simple_tag
def way(call: CDR) -> Way:
    """The arrow of a call's direction; red for one that came in and met nobody."""
    symbol, words = _WAYS[Direction(call.direction)]
    missed = call.status != CallStatus.ANSWERED and call.direction in _MISSED
    return Way(symbol, f"{words}, missed" if missed else words, "missed" if missed else "")


@register.simple_tag
def call_status(call: CDR) -> SafeString:
    """Dot and word, with the SIP status where there is one. A call the caller gave up himself is no failure of ours."""
    status = CallStatus(call.status)
    outgoing = call.direction == Direction.OUTBOUND and status is CallStatus.NOANSWER
    code = format_html(" <small>{}</small>", call.status_code) if call.status_code else ""
    incomplete = SafeString(' <span class="badge" data-is="warn">incomplete</span>') if call.incomplete else ""
    state = "off" if outgoing else _STATES[status]
    return format_html('<span class="status" data-is="{}">{}{}</span>{}', state, status.label, code, incomplete)


@register.filter
def short_moment(moment: datetime) -> str:
    """10:28 today, Tue 17:31 before."""
    local = timezone.localtime(moment)
    return f"{local:%H:%M}" if local.date() == timezone.localdate() else f"{local:%a %H:%M}"


@register.simple_tag
def recordings_of(call: CDR) -> str:
    """The list of this call's recordings where there is one, else the call's own page."""
    try:
        return f"{reverse('recordings')}?{urlencode({'session_id': call.session_id})}"
    except NoReverseMatch:
        return reverse("cdr-detail", args=[call.session_id])


@register.simple_tag
def other_number(call: CDR) -> str:
    """A filter for all calls with the outer party; between extensions, with the callee."""
    inbound = call.direction in _MISSED
    return urlencode({"number": call.caller if inbound else call.callee})
