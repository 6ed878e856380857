"""Which lists of the portal can be taken away as files, with their fields."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from accounts.access import Person
from accounts.forms import AuditFilterForm
from accounts.models import AuditEntry
from accounts.pages import audit
from accounts.roles import Permission
from accounts.selectors import audit_entries
from accounts.sheets import Head
from cdr import periods
from cdr.columns import CALLS
from cdr.exports import Exportable, Field, offer
from cdr.forms import CDRFilterForm, CDRFilters
from cdr.models import CDR, CallStatus, Direction
from cdr.selectors import narrowed, visible_calls
from portal.templatetags.ui import plain
from recordings import selectors as recordings
from recordings.forms import RecordingFilterForm
from recordings.models import Recording
from recordings.views import RECORDINGS

_DIRECTIONS = dict(Direction.choices)
_STATUSES = dict(CallStatus.choices)
_STATES = dict(Recording.State.choices)


def _text(name: str, label: str, **more: Any) -> Field:
    return Field(Head(name, label), lambda row: getattr(row, name), **more)


def _moment(name: str, label: str, **more: Any) -> Field:
    return Field(Head(name, label, "moment"), lambda row: getattr(row, name), **more)


def _seconds(name: str, label: str, **more: Any) -> Field:
    return Field(Head(name, label, "duration"), lambda row: getattr(row, name), **more)


def _flag(name: str, label: str, **more: Any) -> Field:
    return Field(Head(name, label, "flag"), lambda row: getattr(row, name), **more)


CALL_FIELDS = (
    Field(Head("direction", "Direction"), lambda call: _DIRECTIONS.get(call.direction, call.direction)),
    _text("caller", "Caller", column="caller"),
    _text("caller_display_name", "Caller Name", column="caller"),
    _text("callee", "Callee", column="callee"),
    _text("callee_display_name", "Callee Name", column="callee"),
    _moment("start_time", "Start Time"),
    _moment("ring_time", "Ring Time", column="ring_time"),
    _moment("answered_time", "Answer Time", column="answered_time"),
    _moment("ended_time", "End Time", column="ended_time"),
    Field(
        Head("talk_duration", "Talking Time", "duration"),
        lambda call: call.talk_duration if call.answered_time else None,
        column="talk_duration",
    ),
    Field(Head("status", "Status"), lambda call: _STATUSES.get(call.status, call.status), column="status_code"),
    Field(Head("status_code", "Status Code", "number"), lambda call: call.status_code, column="status_code"),
    _text("did", "DID/DDI", column="did"),
    _text("trunk_name", "Trunk", column="trunk_name"),
    Field(Head("cost", "Cost", "amount"), lambda call: call.cost, column="cost"),
    _flag("recorded", "Recorded", extra=True),
    _seconds("ring_duration", "Ring Duration", extra=True),
    _text("end_reason", "End Reason", extra=True),
    _text("outbound_caller_id", "Outbound Caller ID", extra=True),
    _text("final_display_name", "Talked to last", extra=True),
    _flag("incomplete", "Incomplete", extra=True),
    _text("user_data", "User Data", extra=True),
    _text("session_id", "Session id", extra=True),
)


def _calls(person: Person, query: Mapping[str, str], now: datetime) -> "QuerySet[CDR]":
    form = CDRFilterForm(query, zone=timezone.get_current_timezone())
    form.is_valid()
    rows = narrowed(visible_calls(person, person.may), _spanned(form.filters(), query, now))
    return rows.order_by("start_time", "pk") if query.get("order") == "asc" else rows.order_by("-start_time", "-pk")


def _spanned(filters: CDRFilters, query: Mapping[str, str], now: datetime) -> CDRFilters:
    """A named period holds unless a beginning or an end is given; it ends now, so that a file has an end."""
    if filters.since or filters.until:
        return filters
    since, until = periods.span_of(query.get("period", ""), now)
    return replace(filters, since=since, until=until)


RECORDING_FIELDS = (
    _text("caller", "Caller", column="caller"),
    _text("callee", "Callee", column="callee"),
    Field(Head("start_time", "Start Time", "moment"), lambda row: row.started_at or row.created_at),
    _moment("ended_at", "End Time", column="ended_at"),
    Field(Head("duration", "Duration", "duration"), lambda row: round(row.duration_ms / 1000), column="duration"),
    _text("medium", "Medium", column="medium"),
    Field(Head("state", "State"), lambda row: _STATES.get(row.state, row.state), column="state"),
    Field(Head("size", "Bytes", "number"), lambda row: row.size, extra=True),
    _flag("legal_hold", "Legal hold", extra=True),
    _text("sha256", "SHA-256", extra=True),
    _text("session_id", "Session id", extra=True),
    Field(Head("id", "Recording id"), lambda row: str(row.pk), extra=True),
)


def _recordings(person: Person, query: Mapping[str, str], now: datetime) -> "QuerySet[Recording]":
    form = RecordingFilterForm(query, zone=timezone.get_current_timezone())
    form.is_valid()
    filters = form.recording_filters()
    filters = replace(filters, shared=_spanned(filters.shared, query, now))
    rows = recordings.narrowed(recordings.shown(recordings.visible_recordings(person, person.may)), filters)
    return rows.order_by("created_at", "pk") if query.get("order") == "asc" else rows.order_by("-created_at", "-pk")


AUDIT_FIELDS = (
    _moment("at", "Time"),
    _text("actor", "Who", column="who"),
    _text("on_behalf", "On behalf of", column="who"),
    _text("actor_kind", "Kind", column="who"),
    _text("action", "Action"),
    _text("subject", "What", column="what"),
    Field(Head("before", "Before"), lambda row: _changes(row.before), column="before"),
    Field(Head("after", "After"), lambda row: _changes(row.after), column="after"),
    _text("address", "Address", column="address"),
)


def _changes(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {plain(value)}" for name, value in values.items())


def _audit(person: Person, query: Mapping[str, str], now: datetime) -> "QuerySet[AuditEntry]":
    form = AuditFilterForm(query)
    rows = audit_entries()
    return audit.filtered(rows, form.cleaned_data) if form.is_valid() else rows


def offer_all() -> None:
    offer(Exportable(CALLS, "calls", Permission.OWN_CALLS, CALL_FIELDS, _calls))
    offer(Exportable(RECORDINGS, "recordings", Permission.OWN_CALLS, RECORDING_FIELDS, _recordings))
    offer(Exportable(audit.AUDIT, "entries", Permission.AUDIT, AUDIT_FIELDS, _audit))
