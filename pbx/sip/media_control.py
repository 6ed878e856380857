"""The body of a SIP MESSAGE that controls a recording (specification, "Pause/Resume Recording"). Pure.

Out of a dialog JSON names the session; inside one the bare command is enough, since the dialog is the call's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import HTTP

import orjson

from cdr.callevents import Medium
from recordings.control import Operation

# The vendor's v16 name for both forms, and the names that are current.
CONTENT_TYPES = ("plain/x-media-control", "application/x-media-control+json", "application/x-media-control")
BODY_MAX = 1024  # bytes: a command with a session id of 128 characters needs a fifth of it
SESSION_ID_MAX = 128
COMMANDS: dict[str, tuple[Operation, Medium]] = {
    "pause-audio-recording": (Operation.PAUSE, "audio"),
    "pause-video-recording": (Operation.PAUSE, "video"),
    "resume-audio-recording": (Operation.RESUME, "audio"),
    "resume-video-recording": (Operation.RESUME, "video"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the body asks for; `session_id` is empty when it leaves that to the dialog."""

    command: str
    session_id: str = ""


class RefusedBodyError(Exception):
    """A body that says nothing we know; `code` is the SIP status for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def read(content_types: Sequence[str], body: bytes, *, in_dialog: bool) -> Wish:
    """`content_types` are the values of all Content-Type headers there were."""
    _check_type(content_types)
    if len(body) > BODY_MAX:
        raise RefusedBodyError(413, f"The body may have at most {BODY_MAX} bytes")
    if not body.strip():
        raise RefusedBodyError(400, "The body is empty")
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise RefusedBodyError(400, "The body is not UTF-8") from None
    wish = _from_json(body) if text.startswith("{") else Wish(text)
    if wish.command not in COMMANDS:
        raise RefusedBodyError(400, "The command is unknown")
    if not in_dialog and not wish.session_id:
        raise RefusedBodyError(400, "Outside a dialog the body must be JSON with operation and session_id")
    return wish


def _check_type(content_types: Sequence[str]) -> None:
    if len(content_types) != 1:
        raise RefusedBodyError(415 if not content_types else 400, "There must be one Content-Type")
    told = EmailMessage(policy=HTTP)
    try:
        told["Content-Type"] = content_types[0]
        name, charset = told.get_content_type(), told.get_content_charset("utf-8")
    except (ValueError, IndexError, LookupError):
        raise RefusedBodyError(400, "The Content-Type cannot be read") from None
    if name not in CONTENT_TYPES:
        raise RefusedBodyError(415, f"The Content-Type must be {CONTENT_TYPES[0]} or {CONTENT_TYPES[1]}")
    if charset not in ("utf-8", "us-ascii"):
        raise RefusedBodyError(400, "The charset must be UTF-8")


def _from_json(body: bytes) -> Wish:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedBodyError(400, "The body is no JSON") from None
    operation, session_id = value.get("operation"), value.get("session_id", "")
    if isinstance(session_id, int) and not isinstance(session_id, bool):
        session_id = str(session_id)
    if not isinstance(operation, str) or not isinstance(session_id, str):
        raise RefusedBodyError(400, "operation and session_id must be texts")
    if len(session_id) > SESSION_ID_MAX or not session_id.isprintable():
        raise RefusedBodyError(400, "The session_id cannot be one")
    return Wish(operation, session_id)
