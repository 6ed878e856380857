"""Why a target or a call ended, and its SIP status, by the specification's table of reasons."""

from cdr.callevents import EndReason
from pbx.asterisk import causes
from pbx.asterisk.state import Session, Target

Verdict = tuple[EndReason, int]
_NOBODY_ANSWERED = (EndReason.NONE, 480)


def verdict_on(session: Session, target: Target, cause: str = "", status: int = 0) -> Verdict:
    """`cause` and `status` (of SIP, 0 for none) are those of its hang-up."""
    if target.answered_at:
        return _who_hung_up(session, target), 0
    if target.forwarded:
        return EndReason.REDIRECTED, status if 300 <= status < 400 else 302
    if cause == causes.ANSWERED_ELSEWHERE or _lost_the_race(session, target):
        return EndReason.NONE, 0
    dialler = session.channels.get(target.dialler)
    if target.dial_status in {"CANCEL", ""} and (dialler is None or dialler.hung_up):
        return EndReason.CANCELLED, 487
    # Dial calls a 603 NOANSWER and a 302 CANCEL: what the device itself said is more than that.
    return causes.verdict(target.dial_status, status if target.channel.hung_up else 0)


def verdict_on_call(session: Session) -> Verdict:
    if session.answered:
        hung_up = session.talk.hung_up if session.talk else None
        return hung_up or EndReason.NONE, 0
    if session.unknown_number:
        return EndReason.NONE, 404
    if session.cancelled:
        return EndReason.CANCELLED, 487
    return session.last_failure or _NOBODY_ANSWERED


def _who_hung_up(session: Session, target: Target) -> EndReason:
    if target.by_queue:
        return EndReason.NONE
    if target.channel.hung_up:
        return EndReason.CALLEE_DISCONNECT
    somebody_did = session.talk and session.talk.hung_up
    return EndReason.CALLER_DISCONNECT if somebody_did else EndReason.NONE


def _lost_the_race(session: Session, target: Target) -> bool:
    """Another target of the same dialler answered while this one rang."""
    return target.dial_status == "CANCEL" and any(
        other.answered_at and other.dialler == target.dialler and other.answered_at >= target.channel.created_at
        for other in session.targets.values()
    )
