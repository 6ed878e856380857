"""The story of a call's recordings: what was decided, by whom, and what the switch made of it, second by second.

For every call, one that was never recorded too: then the story says why not.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db.models import Q, Window
from django.db.models.functions import RowNumber

from cdr.ladder import minutes
from cdr.models import CDR
from recordings.control import Operation
from recordings.models import Decision, Gap, Recording, Segment
from recordings.policy import MEDIA, Rule
from recordings.words import answer_words, decision_words

MOST_DECISIONS = 500  # of one call; a call in which more were made has its first ones told
Tone = Literal["", "on", "gap", "bad"]
_BY_HAND = {Rule.STARTED_BY_HAND: Operation.START, Rule.STOPPED_BY_HAND: Operation.STOP}
_SAID = frozenset(Operation)
_NOTHING_KEPT = (
    "No decision is kept: the call's switch told it only when it was over, or it is older than what decides here."
)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: `words` what and why, `more` what it led to. `second` counts from the call's start."""

    at: datetime
    second: float
    medium: str
    words: str
    more: str
    tone: Tone

    @property
    def clock(self) -> str:
        return minutes(int(self.second))


@dataclass(frozen=True, slots=True)
class InForce:
    """The switches at the last decision: whose, and how each stood."""

    whose: str
    words: str


@dataclass(frozen=True, slots=True)
class Story:
    summary: str
    lines: tuple[Line, ...]
    in_force: tuple[InForce, ...]
    was_recorded: bool
    has_video: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that is kept of one call's recordings."""

    decisions: Sequence[Decision]
    recordings: Sequence[Recording]
    segments: Sequence[Segment]
    gaps: Sequence[Gap]


def ledger_of(call: CDR) -> Ledger:
    """With what was decided in calls that were merged into this one."""
    ids = _ids(call)
    recordings = list(Recording.objects.filter(session_id__in=ids).order_by("id"))
    return Ledger(
        decisions=decisions_of(call),
        recordings=recordings,
        segments=list(Segment.objects.filter(recording__in=recordings).order_by("recording_id", "number")),
        gaps=list(Gap.objects.filter(recording__in=recordings).order_by("since", "id")),
    )


def decisions_of(call: CDR) -> list[Decision]:
    return decisions_of_calls([call])[call.pk]


def decisions_of_calls(calls: Sequence[CDR]) -> dict[int, list[Decision]]:
    """By the id of each call, with what was decided in calls that were merged into it."""
    rows = Decision.objects.filter(session_id__in={session_id for call in calls for session_id in _ids(call)})
    rows = rows.annotate(number=Window(RowNumber(), partition_by="session_id", order_by=["at", "id"]))
    rows = rows.filter(number__lte=MOST_DECISIONS)
    found: dict[str, list[Decision]] = defaultdict(list)
    for decision in rows.select_related("recording").order_by("at", "id"):
        found[decision.session_id].append(decision)
    return {
        call.pk: sorted((each for session_id in _ids(call) for each in found[session_id]), key=_place)[:MOST_DECISIONS]
        for call in calls
    }


def _place(decision: Decision) -> tuple[datetime, bool, int, int]:
    """Of one instant a person's word comes before what followed from it; ids of two processes may meet in one."""
    return decision.at, decision.rule not in _SAID, decision.command_id or 0, decision.pk


def announced_among(calls: Sequence[CDR]) -> set[int]:
    """The ids of the calls whose callers were told that they are recorded."""
    ids = {session_id for call in calls for session_id in _ids(call)}
    rows = Recording.objects.filter(Q(session_id__in=ids) | Q(switch_session_id__in=ids), announced=True)
    told = {session_id for pair in rows.values_list("session_id", "switch_session_id") for session_id in pair}
    return {call.pk for call in calls if not told.isdisjoint(_ids(call))}


def _ids(call: CDR) -> list[str]:
    return [call.session_id, *call.merged_sessions]


def second_of(call: CDR, at: datetime) -> float:
    return round(max((at - call.start_time).total_seconds(), 0.0), 3)


def story_of(call: CDR, ledger: Ledger) -> Story:
    lines = _told_together(call, ledger.decisions)
    lines += [line for gap in ledger.gaps if (line := _unasked(call, gap, ledger))]
    return Story(
        summary=_summary(call, ledger),
        lines=tuple(sorted(lines, key=lambda line: line.at)),
        in_force=_in_force(ledger.decisions),
        was_recorded=any(segment.started_at for segment in ledger.segments),
        has_video=any("video" in (each.medium for each in rows) for rows in (ledger.decisions, ledger.recordings)),
    )


# --- Lines -------------------------------------------------------------------------------------------------


def _told_together(call: CDR, decisions: Iterable[Decision]) -> list[Line]:
    """A decision and the commands that carry it out are rows of their own; here they are one line."""
    groups: list[list[Decision]] = []
    last: dict[str, list[Decision]] = {}
    for decision in decisions:
        group = last.get(decision.medium)
        if group is not None and _belongs(decision, group[0]):
            group.append(decision)
            continue
        last[decision.medium] = [decision]
        groups.append(last[decision.medium])
    return [_line(call, group) for group in groups]


def _belongs(decision: Decision, first: Decision) -> bool:
    """To what came before it: the same decision, or the policy's note of what a person has just asked for."""
    if (decision.rule, decision.at, decision.via) == (first.rule, first.at, first.via):
        return True
    is_close = decision.at - first.at < timedelta(seconds=1)
    return is_close and decision.rule in _BY_HAND and _BY_HAND[Rule(decision.rule)] == first.rule


def _line(call: CDR, group: Sequence[Decision]) -> Line:
    first = group[0]
    more = " ".join(filter(None, map(answer_words, group)))
    return Line(first.at, second_of(call, first.at), first.medium, decision_words(first), more, _tone(group))


def _tone(group: Sequence[Decision]) -> Tone:
    if any(each.outcome in (Decision.Outcome.FAILED, Decision.Outcome.EXPIRED) for each in group):
        return "bad"
    if group[0].record:
        return "on"
    return "gap" if any(each.command for each in group) else ""


def _unasked(call: CDR, gap: Gap, ledger: Ledger) -> Line | None:
    """A gap that no answer of the switch explains: it stopped by itself."""
    if gap.reason != Gap.Reason.FAILED or any(each.answered_at == gap.since for each in ledger.decisions):
        return None
    ended = (each for each in ledger.segments if each.recording_id == gap.recording_id and each.ended_at == gap.since)
    problem = next((segment.problem for segment in ended if segment.problem), "").rstrip(".")
    words = f"The switch failed to record: {problem}." if problem else "The switch stopped recording by itself."
    return Line(gap.since, second_of(call, gap.since), gap.medium, words, _missed(gap), "bad")


def _missed(gap: Gap) -> str:
    return f"{minutes(round((gap.until - gap.since).total_seconds()))} of the call are missing." if gap.until else ""


# --- Summary -----------------------------------------------------------------------------------------------


def _summary(call: CDR, ledger: Ledger) -> str:
    told = [_summary_of(medium, ledger) for medium in MEDIA]
    if found := " ".join(filter(None, told)):
        return found
    if not ledger.decisions:
        return _NOTHING_KEPT if call.answered_time else "Not recorded: nobody answered."
    return "Nothing of this call was recorded."


def _summary_of(medium: str, ledger: Ledger) -> str:
    own = {recording.pk for recording in ledger.recordings if recording.medium == medium}
    ran = [
        (each, each.started_at, each.ended_at)
        for each in ledger.segments
        if each.recording_id in own and each.started_at and each.ended_at
    ]
    if not ran:
        return ""
    gaps = [gap for gap in ledger.gaps if gap.recording_id in own and gap.medium == medium]
    recorded = timedelta()
    for segment, since, until in ran:
        recorded += _recorded(since, until, (gap for gap in gaps if gap.recording_id == segment.recording_id))
    segments = f" in {len(ran)} segments" if len(ran) > 1 else ""
    missing = sum(((gap.until - gap.since) for gap in gaps if gap.until), timedelta())
    gone = f"; {_length(missing)} {'is' if len(gaps) == 1 else 'are'} missing" if missing else ""
    return f"{medium.capitalize()} was recorded for {_length(recorded)}{segments}{gone}."


def _recorded(since: datetime, until: datetime, gaps: Iterable[Gap]) -> timedelta:
    """A segment's length without the pauses that lie in it."""
    length = until - since
    for gap in gaps:
        begin, end = max(gap.since, since), min(gap.until or until, until)
        length -= max(end - begin, timedelta())
    return length


def _length(span: timedelta) -> str:
    return minutes(round(span.total_seconds()))


def _in_force(decisions: Sequence[Decision]) -> tuple[InForce, ...]:
    settings = next((each.settings for each in reversed(decisions) if "tenant" in each.settings), None)
    if settings is None:
        return ()
    users: Mapping[str, Mapping[str, Any]] = settings["users"]
    external = _on(settings["record_external_calls"])
    return (
        *(
            InForce(
                f"Extension {number}",
                f"Record Audio Calls {_on(own['audio'])}, Record Video Calls {_on(own['video'])}",
            )
            for number, own in sorted(users.items())
        ),
        InForce("Company", f"audio {_on(settings['tenant']['audio'])}, video {_on(settings['tenant']['video'])}"),
        InForce("System", f"Record the call between external numbers {external}"),
    )


def _on(flag: object) -> str:
    return "on" if flag else "off"
