"""Calls in progress as the page and the API show them: who is where since when, and what is being recorded."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db.models import Count, Q

from accounts.access import Person
from accounts.numbers import numbers_of
from accounts.rest import encode_cursor
from accounts.roles import Permission
from cdr import calls
from cdr import selectors as cdr_selectors
from cdr.callevents import CallType, Medium, Party, PartyKind
from cdr.models import Direction, LiveSession
from cdr.records import direction_of
from cdr.session import Leg, Session
from recordings.books import Via
from recordings.control import Operation
from recordings.models import Decision, Gap, Recording
from recordings.policy import MEDIA, Rule, told
from recordings.selectors import own_number
from recordings.words import gap_badge, gap_words

PAGE = 50  # calls
MOST_COUNTED = 10_000
MOST_LEGS = 40  # shown of one call, the latest
MOST_STRETCHES = 60
State = Recording.State
Kind = Literal["ringing", "service", "queued", "talking", "held"]
_RULE_BADGES: Mapping[str, str] = {
    Rule.SWITCHES_OFF: "switched off",
    Rule.EXTERNAL_NUMBERS: "both external",
    Rule.NO_EXTENSION_YET: "no extension",
    Rule.STOPPED_BY_HAND: "stopped by hand",
    Rule.NO_VIDEO: "no video",
}
_OVER: tuple[Kind, ...] = ("held", "talking", "queued", "service", "ringing")  # the first of those that are so now


@dataclass(frozen=True, slots=True)
class Viewer:
    """What somebody sees of the calls, and may do in them. Equal viewers see the same."""

    sees_all: bool
    commands_all: bool
    number: str = ""  # the own extension
    since: datetime | None = None  # when it became the own one; calls from before are its former holder's

    @classmethod
    def of(cls, person: Person) -> "Viewer":
        sees_all = cdr_selectors.sees_all(person.may)
        commands_all = person.may(Permission.RECORDINGS_FULL)
        number = "" if sees_all and commands_all else own_number(person)
        held = (each for each in numbers_of(person) if each.until is None and each.number == number) if number else ()
        return cls(sees_all, commands_all, number, max((each.since for each in held if each.since), default=None))

    def may_command(self, call: "LiveCall") -> bool:
        return self.commands_all or (bool(self.number) and self.number in call.connected_extensions)


@dataclass(frozen=True, slots=True)
class MediumState:
    """What is recorded of one medium now. `asked`: what the switch has not answered yet; `problem`: what went wrong."""

    medium: Medium
    state: str  # of the recording, or "off" when there is none
    words: str
    short: str = ""  # the words for a narrow place
    recording_id: str = ""
    since: datetime | None = None
    asked: str = ""
    problem: str = ""

    @property
    def is_running(self) -> bool:
        return self.state in (State.STARTING, State.RECORDING)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What can be asked for now, the likeliest first."""
        if self.state == State.PAUSED:
            return (Operation.RESUME, Operation.STOP)
        return (Operation.PAUSE, Operation.STOP) if self.is_running else (Operation.START,)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the call so far; `until` is None while it lasts."""

    kind: Kind
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class LegNow:
    number: str
    name: str
    kind: str
    state: Literal["ringing", "talking", "held", "ended"]
    since: datetime


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call as it stands; nothing in it changes by the mere passing of time."""

    session_id: str
    direction: Direction
    caller: str
    caller_name: str
    callee: str
    callee_name: str
    reached: tuple[str, ...]  # who is in it instead of the number that was called
    reached_name: str
    started_at: datetime
    stretches: tuple[Stretch, ...]
    legs: tuple[LegNow, ...]
    media: tuple[MediumState, ...]
    connected_extensions: frozenset[str]
    is_answered: bool
    is_simulated: bool

    @property
    def can_be_commanded(self) -> bool:
        """Somebody is connected, or it is recorded while a transfer looks for the next party."""
        return self.is_answered or any(medium.recording_id for medium in self.media)

    @property
    def now(self) -> Stretch:
        return self.stretches[-1]


@dataclass(frozen=True, slots=True)
class Page:
    """Calls of one page, newest first, with the cursor of the next one, and the counts of all that the viewer sees."""

    calls: tuple[LiveCall, ...]
    next: str | None
    counts: "Counts"


@dataclass(frozen=True, slots=True)
class Counts:
    in_progress: int
    talking: int
    recording: int
    paused: int


def page_for(viewer: Viewer, *, search: str = "", after: str = "") -> Page:
    """Ten queries, however many calls there are."""
    rows = _visible(viewer)
    counts = _counts(viewer, rows)
    found = list(cdr_selectors.in_progress_after(_searched(rows, search), after)[: PAGE + 1])
    shown = found[:PAGE]
    following = encode_cursor(shown[-1].start_time, shown[-1].pk) if len(found) > PAGE else None
    return Page(_calls(shown), following, counts)


def _calls(rows: Sequence[LiveSession]) -> tuple[LiveCall, ...]:
    simulators = cdr_selectors.simulators()
    simulated = {row.pk for row in rows if row.switch_id in simulators}
    sessions = calls.sessions_now([row.pk for row in rows])
    states = states_of(sessions)
    return tuple(
        _call(session, states[session.session_id], is_simulated=session.session_id in simulated) for session in sessions
    )


def _visible(viewer: Viewer) -> Any:
    rows = calls.sessions_in_progress()
    if viewer.sees_all:
        return rows
    if not viewer.number:
        return rows.none()
    own = rows.filter(extensions__contains=[viewer.number])
    return own.filter(start_time__gte=viewer.since) if viewer.since else own


def _searched(rows: Any, search: str) -> Any:
    """A session id, an extension, or the beginning of a number."""
    text = search.strip()
    if not text or "\0" in text:
        return rows
    found = Q(session_id=text) | Q(caller__startswith=text) | Q(callee__startswith=text)
    return rows.filter(found | Q(extensions__contains=[text]))


def _counts(viewer: Viewer, rows: Any) -> Counts:
    """Of all the viewer's calls, up to MOST_COUNTED."""
    some = rows.order_by()[:MOST_COUNTED].aggregate(all=Count("pk"), talking=Count("answered_time"))
    recordings = Recording.objects.filter(ended_at=None, state__in=(State.RECORDING, State.PAUSED))
    if not viewer.sees_all:
        recordings = recordings.filter(session_id__in=rows.order_by().values("session_id"))
    of_call: dict[str, set[str]] = defaultdict(set)
    for session_id, state in recordings.order_by().values_list("session_id", "state")[:MOST_COUNTED]:
        of_call[session_id].add(state)
    paused = sum(State.PAUSED in states for states in of_call.values())
    return Counts(some["all"], some["talking"], len(of_call) - paused, paused)


# --- What is recorded --------------------------------------------------------------------------------------


def states_of(sessions: Sequence[Session]) -> dict[str, tuple[MediumState, ...]]:
    """For each call its media, in four queries. Video only where there is any."""
    ids = [session.session_id for session in sessions]
    recordings = _current_recordings(ids)
    rows = list(recordings.values())
    gaps = {(gap.recording_id, gap.medium): gap for gap in Gap.objects.filter(recording__in=rows, until=None)}
    commanded = Decision.objects.filter(recording__in=rows).exclude(command="")
    last = {row.recording_id: row for row in commanded.order_by("recording_id", "-command_id").distinct("recording_id")}
    rules = _rules(ids)
    found: dict[str, tuple[MediumState, ...]] = {}
    for session in sessions:
        media = []
        for medium in MEDIA:
            recording = recordings.get((session.session_id, medium))
            rule = rules.get((session.session_id, medium))
            if recording:
                gap = gaps.get((recording.pk, medium))
                media.append(_recorded(medium, recording, gap, last.get(recording.pk), rule))
            elif medium == "audio" or medium in session.media:
                media.append(MediumState(medium, "off", _rule_words(medium, rule), _RULE_BADGES.get(_rule(rule), "")))
        found[session.session_id] = tuple(media)
    return found


def _current_recordings(session_ids: Sequence[str]) -> dict[tuple[str, str], Recording]:
    rows = Recording.objects.filter(session_id__in=session_ids, ended_at=None).order_by("id")
    found: dict[tuple[str, str], Recording] = {}
    for row in rows:  # the call's own goes before what was recorded in a call that was merged into it
        if row.session_id == row.switch_session_id or (row.session_id, row.medium) not in found:
            found[row.session_id, row.medium] = row
    return found


def _rules(session_ids: Sequence[str]) -> dict[tuple[str, str], Decision]:
    """What the policy said last of each call and medium."""
    rows = Decision.objects.filter(session_id__in=session_ids, via=Via.POLICY, rule__in=list(Rule))
    latest = rows.order_by("session_id", "medium", "-at", "-id").distinct("session_id", "medium")
    return {(row.session_id, row.medium): row for row in latest}


def _rule(decision: Decision | None) -> str:
    return decision.rule if decision else ""


def _rule_words(medium: Medium, rule: Decision | None) -> str:
    return told(medium, Rule(rule.rule), rule.extension) if rule else "Nobody has answered yet."


def _recorded(
    medium: Medium, recording: Recording, gap: Gap | None, last: Decision | None, rule: Decision | None
) -> MediumState:
    words, short, since = _rule_words(medium, rule), _RULE_BADGES.get(_rule(rule), ""), recording.started_at
    outcome = last.outcome if last else Decision.Outcome.NONE
    asked = last.command.removesuffix("_recording") if last and outcome == Decision.Outcome.PENDING else ""
    # A pause is in the ledger from when it was asked for; the switch records until it says that it does not.
    state = State.RECORDING if (recording.state, asked) == (State.PAUSED, Operation.PAUSE) else recording.state
    if gap is not None and state in (State.PAUSED, State.STOPPED):
        gap.recording = recording
        short = gap_badge(gap.reason).removeprefix("stopped").lstrip(", ")  # the state says that it is
        words, since = f"{gap_words(gap)}.", gap.since
    is_refused = outcome in (Decision.Outcome.FAILED, Decision.Outcome.EXPIRED)
    is_well = state == State.RECORDING and not is_refused
    problem = "" if is_well else recording.problem
    return MediumState(medium, state, words, short, str(recording.pk), since, asked, problem)


# --- Who is where ------------------------------------------------------------------------------------------


def _call(session: Session, media: tuple[MediumState, ...], *, is_simulated: bool) -> LiveCall:
    legs = sorted(session.legs.values(), key=lambda leg: leg.start_time)
    connected = session.connected_parties()
    callee = session.started.callee
    others = [leg.callee for leg in legs if leg.is_connected and leg.callee.kind is not PartyKind.SERVICE]
    reached = [party for party in others if party.number != callee.number]
    return LiveCall(
        session_id=session.session_id,
        direction=direction_of(session),
        caller=session.caller.number,
        caller_name=session.caller.display_name,
        callee=callee.number,
        callee_name=callee.display_name,
        reached=tuple(party.number for party in reached),
        reached_name=reached[0].display_name if len(reached) == 1 else "",
        started_at=session.started.at,
        stretches=_stretches(session, legs),
        legs=tuple(_leg(leg) for leg in legs[-MOST_LEGS:]),
        media=media,
        connected_extensions=_extensions(connected),
        is_answered=bool(connected),
        is_simulated=is_simulated,
    )


def _extensions(parties: Iterable[Party]) -> frozenset[str]:
    return frozenset(party.number for party in parties if party.kind is PartyKind.EXTENSION)


def _leg(leg: Leg) -> LegNow:
    number, name, kind = leg.callee.number, leg.callee.display_name, str(leg.callee.kind)
    if leg.ended_time is not None:
        return LegNow(number, name, kind, "ended", leg.ended_time)
    if leg.answered_time is None:
        return LegNow(number, name, kind, "ringing", leg.ring_time or leg.start_time)
    if leg.held and leg.held[-1][1] is None:
        return LegNow(number, name, kind, "held", leg.held[-1][0])
    return LegNow(number, name, kind, "talking", leg.answered_time)


def _stretches(session: Session, legs: Sequence[Leg]) -> tuple[Stretch, ...]:
    """One after the other from the call's start on: what was the case, the likeliest to matter first."""
    changes: dict[datetime, Counter[Kind]] = defaultdict(Counter)
    changes[session.started.at]["ringing"] += 0
    for leg in legs:
        _note_leg(changes, leg)
    for since, until in session.caller_held:
        _note(changes, "held", since, until)
    going_on: Counter[Kind] = Counter()
    found: list[Stretch] = []
    for moment in sorted(changes):
        going_on.update(changes[moment])
        kind: Kind = next((each for each in _OVER if going_on[each] > 0), "ringing")
        if found and found[-1].kind == kind:
            continue
        if found:
            found[-1] = Stretch(found[-1].kind, found[-1].since, moment)
        found.append(Stretch(kind, moment, None))
    return tuple(found[-MOST_STRETCHES:])


def _note_leg(changes: Mapping[datetime, "Counter[Kind]"], leg: Leg) -> None:
    if leg.answered_time is None:
        if leg.ended_time is None:
            _note(changes, "ringing", leg.ring_time or leg.start_time, None)
        return
    _note(changes, "ringing", leg.ring_time or leg.start_time, leg.answered_time)
    if leg.callee.kind is PartyKind.SERVICE:
        kind: Kind = "queued" if leg.call_type is CallType.QUEUE else "service"
        _note(changes, kind, leg.answered_time, leg.ended_time)
        return
    _note(changes, "talking", leg.answered_time, leg.ended_time)
    for since, until in leg.held:
        _note(changes, "held", since, until)


def _note(changes: Mapping[datetime, "Counter[Kind]"], kind: Kind, since: datetime, until: datetime | None) -> None:
    changes[since][kind] += 1
    if until is not None:
        changes[until][kind] -= 1
