"""How a call in progress is drawn: one row for the page and for the socket, the same for all who see and may the same.

What the passing of time changes (timers, the length of a bar) is marked with its moments, so that the browser moves it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from cdr.ladder import minutes, percent
from cdr.models import Direction
from recordings.control import Operation
from recordings.live import Counts, Kind, LiveCall, MediumState, Page, Stretch, Viewer
from recordings.models import Recording

State = Recording.State
ARROWS = {
    Direction.INBOUND: ("in", "Inbound"),
    Direction.OUTBOUND: ("out", "Outbound"),
    Direction.INBOUND_OUTBOUND: ("through", "Inbound to outbound"),
    Direction.INTERNAL: ("internal", "Internal"),
}
# For each kind of stretch: the status's colour and word, and whether it is timed.
STATUSES: dict[Kind, tuple[str, str, bool]] = {
    "ringing": ("warn", "Ringing", False),
    "service": ("queued", "In a menu", True),
    "queued": ("queued", "Waiting", True),
    "talking": ("good", "Talking", False),
    "held": ("held", "Held", True),
}
_ASKED = {"start": "Starting…", "stop": "Stopping…", "pause": "Pausing…", "resume": "Resuming…"}
_LABELS = {"start": "Start", "stop": "Stop", "pause": "Pause", "resume": "Resume"}
_ICONS = {"start": "reel", "stop": "stop", "pause": "pause", "resume": "mic"}
_SAID = {
    State.STARTING: "Starting…",
    State.RECORDING: "Recording",
    State.PAUSED: "Paused",
    State.STOPPED: "Stopped",
    State.FAILED: "Failed",
}
_LEG_STATES = {"ringing": "rings", "talking": "connected", "held": "held", "ended": "left"}


@dataclass(frozen=True, slots=True)
class Timer:
    """A length that grows: its text now, and the moment since which it does, for the browser."""

    text: str
    since: str


@dataclass(frozen=True, slots=True)
class Bar:
    kind: Kind
    x: str
    width: str
    since: str
    until: str  # empty while it lasts


@dataclass(frozen=True, slots=True)
class MediumCell:
    medium: str
    word: str
    badge: str  # "on", "paused", "bad" or nothing
    short: str
    title: str
    timer: Timer | None
    problem: str


@dataclass(frozen=True, slots=True)
class Button:
    operation: str
    label: str
    icon: str


def key_of(call: LiveCall) -> str:
    """A name for the row that is safe in an id and an address."""
    return hashlib.sha256(call.session_id.encode()).hexdigest()[:16]


def row(call: LiveCall, viewer: Viewer, now: datetime) -> SafeString:
    icon, direction = ARROWS[call.direction]
    colour, word, is_timed = STATUSES[call.now.kind]
    buttons = buttons_of(call) if viewer.may_command(call) and call.can_be_commanded else []
    context = {
        "call": call,
        "key": key_of(call),
        "icon": icon,
        "direction": direction,
        "elapsed": _timer(call.started_at, now),
        "bars": _bars(call.stretches, call.started_at, now),
        "status": {"colour": colour, "word": word, "timer": _timer(call.now.since, now) if is_timed else None},
        "legs": [(leg, _LEG_STATES[leg.state], _timer(leg.since, now)) for leg in call.legs],
        "media": [_cell(medium, now) for medium in call.media],
        "is_waiting": any(medium.asked for medium in call.media),
        "first": buttons[0] if buttons else None,
        "others": buttons[1:],
    }
    return SafeString(render_to_string("recordings/live_row.html", context).strip())


def counts(found: Counts) -> SafeString:
    return SafeString(render_to_string("recordings/live_counts.html", {"counts": found}).strip())


def foot(page: Page, *, search: str, after: str) -> SafeString:
    """What stands below the rows: the other pages, or that there is nothing."""
    kept = {"search": search} if search else {}
    context = {
        "shown": len(page.calls),
        "total": 0 if search else page.counts.in_progress,
        "search": search,
        "clear": address({}),
        "newest": address(kept) if after else "",
        "next": address(kept | {"after": page.next}) if page.next else "",
    }
    return SafeString(render_to_string("recordings/live_foot.html", context).strip())


def address(query: Mapping[str, str], below: str = "") -> str:
    return reverse("live-calls") + below + (f"?{urlencode(query)}" if query else "")


def buttons_of(call: LiveCall) -> list[Button]:
    """For both media together, as a feature code does; with video, for each by itself too."""
    if len(call.media) == 1:
        return [_button(operation, "") for operation in call.media[0].operations]
    offered = [operation for medium in call.media for operation in medium.operations]
    order = (Operation.PAUSE, Operation.RESUME, Operation.START, Operation.STOP)
    together = [_button(operation, "") for operation in order if operation in offered]
    single = [_button(operation, medium.medium) for medium in call.media for operation in medium.operations]
    return [*together, *single]


def _button(operation: Operation, medium: str) -> Button:
    words = f"{operation}-{medium}-recording" if medium else f"{operation}-recording"
    return Button(words, f"{_LABELS[operation]} {medium}".strip(), _ICONS[operation])


def _cell(medium: MediumState, now: datetime) -> MediumCell:
    is_timed = medium.state == State.PAUSED and not medium.asked and medium.since is not None
    timer = _timer(medium.since, now) if is_timed and medium.since else None
    badge = {State.RECORDING: "on", State.PAUSED: "paused", State.FAILED: "bad"}
    title = f"{medium.words} The switch has not answered yet." if medium.asked else medium.words
    return MediumCell(
        medium.medium,
        _ASKED.get(medium.asked) or _SAID.get(State(medium.state), "") if medium.state != "off" else "Not recorded",
        badge.get(State(medium.state), "") if medium.state != "off" else "",
        medium.short if medium.state in ("off", State.STOPPED) else "",
        title,
        timer,
        medium.problem,
    )


def _timer(since: datetime, now: datetime) -> Timer:
    return Timer(minutes(max(int((now - since).total_seconds()), 0)), _epoch(since))


def _epoch(moment: datetime) -> str:
    return f"{moment.timestamp():.3f}"


def _bars(stretches: Sequence[Stretch], start: datetime, now: datetime) -> list[Bar]:
    """On the call's own length so far."""
    seconds = max((now - start).total_seconds(), 1.0)
    bars = []
    for stretch in stretches:
        begin = max((stretch.since - start).total_seconds(), 0.0)
        end = (stretch.until - start).total_seconds() if stretch.until else seconds
        x, width = begin / seconds * 100, max(end - begin, 0.0) / seconds * 100
        until = _epoch(stretch.until) if stretch.until else ""
        bars.append(Bar(stretch.kind, percent(min(x, 100.0)), percent(width), _epoch(stretch.since), until))
    return bars
