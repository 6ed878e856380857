"""The Switch API (`docs/switch-api.md`): events and finished calls in, commands out."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.rest import rfc3339
from cdr.callevent_json import CallEventError, read_time
from pbx import finished, intake
from pbx.http import bodies
from pbx.http.doors import DoorError, answer, body_of, switch_door
from pbx.http.waiting import WAIT_MAX, seconds_of
from pbx.intake import Result
from tenants import outbox
from tenants.models import Switch, SwitchCommand

_ONE_A_LINE = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_CONFIRMED = {"done": SwitchCommand.State.DONE, "failed": SwitchCommand.State.FAILED}
_ID_DIGITS = 18
_SEEN_EVERY = timedelta(seconds=10)


@switch_door("POST")
def events(request: HttpRequest, switch: Switch) -> HttpResponse:
    documents = _json_of(request, settings.SWITCH_BODY_MAX).get("events")
    if not isinstance(documents, list):
        raise DoorError(400, "malformed_body", 'The body must be {"events": [...]}.')
    if len(documents) > settings.SWITCH_EVENTS_MAX:
        raise DoorError(413, "too_many", f"A request may hold at most {settings.SWITCH_EVENTS_MAX} events.")
    results = intake.take_documents(switch, documents)
    return answer({"results": [_result(result) for result in results], "commands": _commands(switch)})


@switch_door("POST")
def cdrs(request: HttpRequest, switch: Switch) -> HttpResponse:
    body = body_of(request, settings.SWITCH_CDRS_BODY_MAX)
    if not body.strip():
        raise DoorError(400, "malformed_body", "The body must be a call_cdr document, an array of them, or NDJSON.")
    try:
        results = finished.take(switch, body, one_a_line=request.content_type in _ONE_A_LINE)
    except bodies.TooManyError as error:
        message = f"A request may hold at most {finished.DOCUMENTS_MAX} documents."
        raise DoorError(413, "too_many", message) from error
    said = [_result(result) for result in results]
    if len(results) == 1 and results[0].code == "malformed_json":
        raise DoorError(400, "malformed_json", f"{results[0].message} The body is kept in quarantine.", results=said)
    return answer({"results": said})


@switch_door("GET")
def commands(request: HttpRequest, switch: Switch) -> HttpResponse:
    """Answers at once; `pbx.http.waiting` asks again on behalf of a switch that waits."""
    if seconds_of(request.META.get("QUERY_STRING", "")) is None:
        raise DoorError(400, "bad_value", f"wait must be a whole number of seconds from 0 to {WAIT_MAX}.")
    return answer({"commands": _commands(switch)})


@switch_door("POST")
def command(request: HttpRequest, switch: Switch, command_id: str) -> HttpResponse:
    document = _json_of(request, settings.SWITCH_BODY_MAX)
    said, reason = document.get("status"), document.get("reason") or ""
    if not isinstance(said, str) or said not in _CONFIRMED or not isinstance(reason, str):
        raise DoorError(400, "bad_value", 'The body must be {"status": "done" or "failed", "reason"?: a text}.')
    try:
        number = _number(command_id)
        done_at = _done_at(document, _given_at(switch, number))
        row = outbox.confirm(switch, number, _CONFIRMED[said], reason.replace("\x00", ""), done_at)
    except outbox.ContradictionError as error:
        raise DoorError(409, "already_confirmed", "This command was confirmed before, with another status.") from error
    if row is None:  # it went meanwhile
        raise _nothing_here()
    return answer({"id": str(row.pk), "status": row.state, "reason": row.reason})


def _given_at(switch: Switch, number: int) -> datetime:
    given = SwitchCommand.objects.filter(pk=number, switch=switch).values_list("at", flat=True).first()
    if given is None:
        raise _nothing_here()
    return given


def _done_at(document: dict[str, Any], given_at: datetime) -> datetime:
    """When the switch says that it did it: not before it was told to, nor later than now. Its clock may differ."""
    now = timezone.now()
    try:
        return max(given_at, min(read_time(document["at"]), now)) if document.get("at") is not None else now
    except CallEventError as error:
        raise DoorError(400, "bad_value", error.message) from error


def _json_of(request: HttpRequest, most: int) -> dict[str, Any]:
    try:
        value = bodies.parse(body_of(request, most))
    except bodies.UnreadableError as error:
        raise DoorError(400, "malformed_json", str(error)) from error
    if not isinstance(value, dict):
        raise DoorError(400, "malformed_body", "The body must be a JSON object.")
    return value


def _number(command_id: str) -> int:
    if not (command_id.isascii() and command_id.isdigit() and len(command_id) <= _ID_DIGITS):
        raise _nothing_here()
    return int(command_id)


def _nothing_here() -> DoorError:
    return DoorError(404, "not_found", "There is no such thing here.")


def _result(result: Result) -> dict[str, Any]:
    said: dict[str, Any] = {"id": result.id, "status": result.status}
    if result.status == "rejected":
        said["error"] = {"code": result.code, "message": result.message, "details": {}}
    return said


def _commands(switch: Switch) -> list[dict[str, Any]]:
    """What waits. A switch that fetches its commands is there to obey them."""
    now = timezone.now()
    if switch.connector_seen_at is None or now - switch.connector_seen_at > _SEEN_EVERY:
        Switch.objects.filter(pk=switch.pk).update(connector_seen_at=now)
    return [
        {
            "id": str(row.pk),
            "command": row.command,
            "session_id": row.session_id,
            "recording_id": row.recording_id,
            "segment": row.segment,
            "medium": row.medium,
            "options": row.options,
            "at": rfc3339(row.at),
        }
        for row in outbox.pending_for(switch)
    ]
