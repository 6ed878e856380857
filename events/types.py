"""The kinds of event there are: an endpoint or a subscription may ask for any."""

DEFAULT = "call_cdr"
EVENT_TYPES: tuple[str, ...] = (
    DEFAULT,
    "cdr_updated",
    "cdr_deleted",
    "call_start",
    "call_update_info",
    "cdr_target_add",
    "cdr_target_ringing",
    "cdr_target_answer",
    "cdr_target_noanswer",
    "cdr_target_fail",
    "cdr_target_end",
    "recording_started",
    "recording_paused",
    "recording_resumed",
    "recording_stopped",
    "recording_ready",
    "recording_failed",
    "recording_deleted",
)


def unknown_types(types: list[str]) -> list[str]:
    return [name for name in types if name not in EVENT_TYPES]
