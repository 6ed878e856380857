"""Why a leg or a call failed, as a SIP status. FreeSWITCH names the cause; not every failure brings a status."""

LOST_RACE = frozenset({"LOSE_RACE", "PICKED_OFF"})
NO_ANSWER = frozenset({"NO_ANSWER", "NO_USER_RESPONSE", "ALLOTTED_TIMEOUT", "PROGRESS_TIMEOUT"})
NORMAL = "NORMAL_CLEARING"
CANCELLED = "ORIGINATOR_CANCEL"
REDIRECTED = "REDIRECTION_TO_NEW_DESTINATION"  # FreeSWITCH then says of the leg that it has cancelled it

# What mod_sofia answers to the caller for a cause.
_STATUS_OF_CAUSE = {
    "UNALLOCATED_NUMBER": 404,
    "NO_ROUTE_DESTINATION": 404,
    "NO_ROUTE_TRANSIT_NET": 404,
    # The dialplan had nothing to do: a number that leads nowhere, and no success (docs/switches/freeswitch.md).
    "NORMAL_CLEARING": 404,
    "USER_BUSY": 486,
    "NO_USER_RESPONSE": 408,
    "NO_ANSWER": 480,
    "SUBSCRIBER_ABSENT": 480,
    "USER_NOT_REGISTERED": 480,
    "CALL_REJECTED": 603,
    "NUMBER_CHANGED": 410,
    "REDIRECTION_TO_NEW_DESTINATION": 410,
    "DESTINATION_OUT_OF_ORDER": 502,
    "INVALID_NUMBER_FORMAT": 484,
    "FACILITY_REJECTED": 501,
    "NORMAL_UNSPECIFIED": 480,
    "NORMAL_CIRCUIT_CONGESTION": 503,
    "NETWORK_OUT_OF_ORDER": 503,
    "NORMAL_TEMPORARY_FAILURE": 503,
    "SWITCH_CONGESTION": 503,
    "REQUESTED_CHAN_UNAVAIL": 503,
    "GATEWAY_DOWN": 503,
    "OUTGOING_CALL_BARRED": 403,
    "INCOMING_CALL_BARRED": 403,
    "BEARERCAPABILITY_NOTAUTH": 403,
    "BEARERCAPABILITY_NOTIMPL": 488,
    "INCOMPATIBLE_DESTINATION": 488,
    "RECOVERY_ON_TIMER_EXPIRE": 504,
    "EXCHANGE_ROUTING_ERROR": 483,
    "BUSY_EVERYWHERE": 600,
    "DECLINE": 603,
    "DOES_NOT_EXIST_ANYWHERE": 604,
    "NOT_ACCEPTABLE": 606,
    "UNWANTED": 607,
}


def sip_status(told: str) -> int:
    """A SIP status of failure, or 0."""
    return int(told) if told.isascii() and told.isdigit() and len(told) == 3 and 300 <= int(told) <= 699 else 0


def status_of_cause(cause: str) -> int:
    return _STATUS_OF_CAUSE.get(cause, 480)
