"""Why a target or a call ended, and its SIP status, by the specification's table of reasons."""

from cdr.callevents import EndReason
from pbx.freeswitch import causes
from pbx.freeswitch.esl import Message, text, variable
from pbx.freeswitch.state import Session, Target

Verdict = tuple[EndReason, int]
_NOBODY_ANSWERED = (EndReason.NONE, 480)


def transfer_of(message: Message) -> str:
    """How the party of a leg that ended left the call: BLIND_TRANSFER, ATTENDED_TRANSFER, or not by a transfer."""
    said = variable(message, "endpoint_disposition")
    if said in {"BLIND_TRANSFER", "ATTENDED_TRANSFER"}:
        return said
    # Of the two legs of who joins two calls only one has that; the other says whom it left its party to.
    return "ATTENDED_TRANSFER" if variable(message, "transfer_to").startswith("att:") else ""


def hung_up(message: Message) -> bool:
    """The party of this leg did, and not FreeSWITCH."""
    return variable(message, "sip_hangup_disposition") in {"recv_bye", "recv_cancel", "recv_refuse"}


def verdict_on_unanswered(message: Message) -> Verdict:
    """By the CHANNEL_HANGUP_COMPLETE of a leg that nobody answered."""
    cause = text(message, "Hangup-Cause") or variable(message, "hangup_cause")
    status = causes.sip_status(variable(message, "sip_term_status"))
    status = status or causes.sip_status(variable(message, "sip_invite_failure_status"))
    if cause in causes.LOST_RACE:
        return EndReason.NONE, 0
    if cause == causes.CANCELLED:
        return EndReason.CANCELLED, 487
    if cause == causes.REDIRECTED or 300 <= status < 400:
        return EndReason.REDIRECTED, status if 300 <= status < 400 else 302
    if cause in causes.NO_ANSWER and status in {0, 408, 487}:
        return EndReason.NONE, 408
    return EndReason.CALLEE_DISCONNECT, status or causes.status_of_cause(cause)


def verdict_on_answered(session: Session, target: Target) -> Verdict:
    if target.by_queue:
        return EndReason.NONE, 0
    if target.channel.hung_up:
        return EndReason.CALLEE_DISCONNECT, 0
    somebody_did = session.talk and session.talk.hung_up
    return EndReason.CALLER_DISCONNECT if somebody_did else EndReason.NONE, 0


def verdict_on_call(session: Session) -> Verdict:
    if session.answered:
        by = session.talk.hung_up if session.talk else None
        return by or EndReason.NONE, 0
    if session.unknown_number:
        return EndReason.NONE, 404
    if session.cancelled:
        return EndReason.CANCELLED, 487
    return session.last_failure or _NOBODY_ANSWERED
