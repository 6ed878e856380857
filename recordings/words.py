"""What became of a recording, in words for people."""

from collections.abc import Mapping

from recordings.books import Via
from recordings.models import Gap

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
