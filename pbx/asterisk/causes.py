"""Why a dial or a call failed, in the words of the specification and as a SIP status."""

from cdr.callevents import EndReason

NORMAL = "16"
ANSWERED_ELSEWHERE = "26"

# Of the Q.931 causes that Asterisk gives where SIP said nothing: what it answers itself (channels/chan_pjsip.c).
_STATUS_OF_CAUSE = {
    "1": 404,
    "2": 404,
    "3": 404,
    "17": 486,
    "18": 480,
    "19": 480,
    "20": 480,
    "21": 403,
    "22": 410,
    "27": 502,
    "28": 484,
    "29": 501,
    "34": 503,
    "38": 500,
    "42": 503,
    "58": 503,
    "127": 500,
}


def sip_status(tech_cause: str) -> int:
    """A SIP status of failure, or 0."""
    return int(tech_cause) if tech_cause.isascii() and tech_cause.isdigit() and 300 <= int(tech_cause) <= 699 else 0


def status_of_cause(cause: str) -> int:
    return _STATUS_OF_CAUSE.get(cause, 480)


def verdict(dial_status: str, status: int) -> tuple[EndReason, int]:
    """Of a dial that the called side failed: `status` is what its device answered, 0 when it answered nothing."""
    if 300 <= status < 400:
        return EndReason.REDIRECTED, status
    if status == 408 or (dial_status == "NOANSWER" and not status):
        return EndReason.NONE, 408
    if status:
        return EndReason.CALLEE_DISCONNECT, status
    if dial_status == "CANCEL":
        return EndReason.NONE, 0
    return EndReason.CALLEE_DISCONNECT, 486 if dial_status == "BUSY" else 503
