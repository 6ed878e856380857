"""What became of a recording, in words for people."""

from collections.abc import Mapping
from typing import cast

from cdr.callevents import Medium
from recordings.books import Cause, Via
from recordings.control import Operation
from recordings.models import Decision, Gap, Segment
from recordings.policy import Rule, told

_HOW: Mapping[str, str] = {
    Via.FEATURE_CODE: "by feature code",
    Via.REST: "over the REST API",
    Via.LIVE_CALLS: "on Live Calls",
    Via.SIP_MESSAGE: "by SIP MESSAGE",
}
_BADGES: Mapping[str, str] = {
    Gap.Reason.PAUSED: "paused",
    Gap.Reason.STOPPED: "stopped by hand",
    Gap.Reason.EXTERNAL: "stopped, both external",
    Gap.Reason.SWITCHES: "switched off",
    Gap.Reason.TRANSFER: "transfer",
    Gap.Reason.FAILED: "the switch failed",
}


_ENDS: Mapping[str, str] = {
    Gap.Reason.PAUSED: "A pause that failed",
    Gap.Reason.STOPPED: "Stopped by hand",
    Gap.Reason.EXTERNAL: "All parties were external",
    Gap.Reason.SWITCHES: "Recording was switched off",
    Gap.Reason.FAILED: "The switch failed to record",
    "transfer": "Transfer",
    "call_ended": "The call ended",
}


def end_words(segment: Segment) -> str:
    """Why a segment ended; for one that has not, how it stands."""
    return _ENDS.get(segment.end_reason) or segment.get_state_display()


def gap_badge(reason: str) -> str:
    """For a row: paused, stopped, both external."""
    return _BADGES[reason]


def gap_words(gap: Gap) -> str:
    """Why nothing was recorded for a while, who wanted it, and who ended it."""
    if gap.reason == Gap.Reason.PAUSED:
        silenced = "Sound paused" if gap.medium != gap.recording.medium else "Paused"
        return f"{silenced}{by(gap.begun_by, gap.begun_via)}{_resumed(gap)}"
    if gap.reason == Gap.Reason.STOPPED:
        return f"Stopped by hand{by(gap.begun_by, gap.begun_via)}"
    return {
        Gap.Reason.EXTERNAL: "Stopped: all parties were external",
        Gap.Reason.SWITCHES: "Recording was switched off",
        Gap.Reason.TRANSFER: "Transfer: a new segment was begun",
        Gap.Reason.FAILED: "The switch failed to record",
    }[Gap.Reason(gap.reason)]


def by(who: str, via: str, code: str = "") -> str:
    """`who` carries the kind of actor before the name; `code` is the feature code that was dialled."""
    name = who.partition(" ")[2]
    how = " ".join(filter(None, (_HOW.get(via, ""), code)))
    return "".join((f" by {name}" if name else "", f" {how}" if how else ""))


def _resumed(gap: Gap) -> str:
    if gap.until is None:
        return ""
    if gap.ended_via == Via.LONGEST_PAUSE:
        return ", resumed by itself after the longest pause"
    if gap.ended_by and (gap.ended_by, gap.ended_via) != (gap.begun_by, gap.begun_via):
        return f", resumed{by(gap.ended_by, gap.ended_via)}"
    return ""


_COMMANDED: Mapping[str, str] = {
    Operation.START: "start",
    Operation.STOP: "stop",
    Operation.PAUSE: "pause",
    Operation.RESUME: "resume",
}
_DONE: Mapping[str, str] = {
    Operation.START: "Started",
    Operation.STOP: "Stopped",
    Operation.PAUSE: "Paused",
    Operation.RESUME: "Resumed",
}


def decision_words(decision: Decision) -> str:
    """What was decided, and by which rule or by whom."""
    rule, medium = decision.rule, cast(Medium, decision.medium)
    if rule in set(Rule):
        return told(medium, Rule(rule), decision.extension)
    asked = by(decision.actor, decision.via, str(decision.settings.get("code", "")))
    of_video = decision.recording is not None and decision.recording.medium != medium
    what = " the video's sound" if of_video else ""
    if rule == Operation.RESUME and decision.via == Via.LONGEST_PAUSE:
        return f"Resumed{what} by itself: the pause had lasted as long as the company allows."
    if rule in _DONE:
        return f"{_DONE[rule]}{what}{asked}."
    causes: Mapping[str, str] = {
        Cause.PAUSED: f"Paused{what}{asked}: the pause goes on in what is recorded now.",
        Cause.TRANSFER: "Transfer: the recording goes on in a new segment."
        if decision.record
        else "Transfer: what was recorded before the calls were joined ends.",
        Cause.PAUSE_FAILED: "Stopped, because the pause failed and somebody asked not to be recorded.",
        Cause.RETRY: "Tried again." if decision.record else "Told to stop, lest anything runs on.",
    }
    return causes.get(rule, "")


def answer_words(decision: Decision) -> str:
    """What the switch was commanded and what it answered; nothing when nothing was asked of it."""
    if not decision.command:
        return ""
    segment = f" of segment {decision.segment}" if decision.segment > 1 else ""
    commanded = f"Commanded {_COMMANDED[decision.command.removesuffix('_recording')]}{segment}"
    reason = decision.outcome_reason.rstrip(".")
    match decision.outcome:
        case Decision.Outcome.DONE:
            took = (decision.answered_at - decision.at).total_seconds() if decision.answered_at else 0
            return f"{commanded}; the switch confirmed after {max(took, 0):.1f} s."
        case Decision.Outcome.FAILED:
            return f"{commanded}; the switch could not{f': {reason}' if reason else ' and did not say why'}."
        case Decision.Outcome.EXPIRED:
            return f"{commanded}; the switch did not answer in time."
        case _:
            return f"{commanded}; the switch has not answered yet."
