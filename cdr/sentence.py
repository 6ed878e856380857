"""A call in one sentence or two: who called whom, what happened on the way, how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from cdr.callevents import EndReason
from cdr.models import CDR, CallStatus, Target
from cdr.records import seconds_between

# What SIP statuses say to a person (RFC 3261 section 21).
_STATUS_WORDS = {
    403: "refused",
    404: "no such number",
    408: "no answer in time",
    480: "nobody reachable",
    484: "number incomplete",
    486: "busy",
    487: "cancelled",
    488: "no common codec",
    503: "line out of service",
    603: "declined",
}


@dataclass(frozen=True)
class Part:
    """A piece of the sentence; what matters is strong."""

    text: str
    strong: bool = False


def spoken(seconds: int) -> str:
    """8 min 8 s."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0 and not hours)
    return " ".join(parts) or "0 s"


def sentence_of(call: CDR, targets: Sequence[Target]) -> list[Part]:
    parts = [Part(call.caller or "An unknown caller", strong=True), Part(" called "), Part(call.callee, strong=True)]
    services = [target for target in targets if target.kind == "service" and target.answered_time]
    talkers = [target for target in targets if target.kind != "service" and target.answered_time]
    silent = [target for target in targets if target.kind != "service" and not target.answered_time]
    for index, service in enumerate(services):
        parts.append(Part(", went through " if index == 0 else ", then "))
        parts.append(Part(_named(service), strong=True))
        parts.append(Part(f" ({spoken(_talk(service))})"))
    for index, talker in enumerate(talkers):
        parts += [Part(" and talked " if index == 0 else ", then "), Part(spoken(_talk(talker)), strong=True)]
        parts += [Part(" with "), Part(_named(talker), strong=True)]
    parts += _ending(call, talkers)
    if silent and talkers:
        names = _joined([_named(target) for target in silent])
        parts.append(Part(f" {names} rang and did not answer."))
    if call.incomplete:
        parts.append(Part(" The switch never told how it ended: this record is incomplete."))
    return parts


def _ending(call: CDR, talkers: Sequence[Target]) -> list[Part]:
    if call.status == CallStatus.ANSWERED:
        if call.end_reason == EndReason.CALLER_DISCONNECT:
            return [Part(". The caller hung up.")]
        if call.end_reason == EndReason.CALLEE_DISCONNECT and talkers:
            return [Part(f". {_named(talkers[-1])} hung up.")]
        return [Part(".")]
    if call.end_reason == EndReason.CANCELLED:
        return [
            Part(" and gave up after "),
            Part(spoken(seconds_between(call.start_time, call.ended_time)), strong=True),
            Part("."),
        ]
    why = _STATUS_WORDS.get(call.status_code)
    if call.status == CallStatus.FAILED:
        said = f"{call.status_code}, {why}" if why else str(call.status_code)
        return [Part(". The call failed: "), Part(said, strong=True), Part(".")]
    return [Part(". Nobody answered" + (f" ({call.status_code}, {why})." if why else "."))]


def _talk(target: Target) -> int:
    return seconds_between(target.answered_time, target.ended_time)


def _named(target: Target) -> str:
    return f"{target.callee_display_name} {target.callee}".strip()


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
