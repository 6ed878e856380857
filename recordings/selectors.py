"""Reading recordings: who may see which, narrowed by filters, page by page on (creation, id), and who listened."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Prefetch, Q, QuerySet

from accounts.callers import ApiError
from accounts.models import Extension, User
from accounts.numbers import is_own, own
from accounts.rest import decode_cursor, encode_cursor
from accounts.roles import Permission
from cdr import selectors as calls
from cdr.forms import CDRFilters, number_in
from cdr.models import CDR
from recordings.forms import RecordingFilters
from recordings.models import Play, Recording, RecordingFile

May = Callable[[Permission], bool]
PUT_AWAY = (Recording.State.TRASHED, Recording.State.DELETED)


def sees_all(may: May) -> bool:
    return may(Permission.RECORDINGS_VIEW) or may(Permission.RECORDINGS_FULL)


def visible_recordings(person: Any, may: May) -> "QuerySet[Recording]":
    """All of the tenant, or only those a number stands in that was the person's then, or none; those put away too."""
    if sees_all(may):
        return Recording.objects.all()
    mine = own(person, "extensions", "created_at") if may(Permission.OWN_CALLS) else None
    return Recording.objects.none() if mine is None else Recording.objects.filter(mine)


def own_number(person: Any) -> str:
    if not isinstance(person, User):
        return ""
    return Extension.objects.filter(user_id=person.pk).values_list("number", flat=True).first() or ""


def shown(recordings: "QuerySet[Recording]") -> "QuerySet[Recording]":
    """Without those in the trash and those deleted."""
    return recordings.exclude(state__in=PUT_AWAY)


def narrowed(recordings: "QuerySet[Recording]", filters: RecordingFilters) -> "QuerySet[Recording]":
    """The recordings that fit every filter, of which those about the call are asked of its record."""
    shared = filters.shared
    plain: dict[str, Any] = {
        "created_at__gte": shared.since,
        "created_at__lt": shared.until,
        "session_id": shared.session_id or None,
        "medium": filters.medium or None,
        "state": filters.state or None,
        "duration_ms__gte": None if filters.min_duration is None else filters.min_duration * 1000,
        "duration_ms__lte": None if filters.max_duration is None else filters.max_duration * 1000,
    }
    recordings = recordings.filter(**{name: value for name, value in plain.items() if value is not None})
    if shared.extension:
        recordings = recordings.filter(extensions__contains=[shared.extension])
    for name in ("caller", "callee"):
        if number := getattr(shared, name):
            recordings = recordings.filter(calls.number_like(name, number))
    if shared.number:
        recordings = recordings.filter(_either(shared.number))
    if filters.call != CDRFilters():
        recordings = _of_calls(recordings, filters.call)
    return _search(recordings, shared.search) if shared.search else recordings


def _either(number: str) -> Q:
    return calls.number_like("caller", number) | calls.number_like("callee", number)


def _of_calls(recordings: "QuerySet[Recording]", filters: CDRFilters) -> "QuerySet[Recording]":
    return recordings.filter(session_id__in=calls.narrowed(CDR.objects.all(), filters).values("session_id"))


def _search(recordings: "QuerySet[Recording]", text: str) -> "QuerySet[Recording]":
    """A session id, the beginning of a number, or, by the call's record, the beginnings of words of a name."""
    if any(character.isalpha() for character in text):
        return _of_calls(recordings, CDRFilters(search=text))
    return recordings.filter(Q(session_id=text.strip()) | _either(f"{number_in(text).rstrip('*')}*"))


@dataclass(frozen=True)
class Slice:
    """One page, with the cursors of the pages before and after it in the list's order; None at its ends."""

    rows: list[Recording]
    previous: str | None
    next: str | None


def key_of(recording: Recording) -> str:
    return encode_cursor(recording.created_at.isoformat(), recording.pk)


def page_of(
    recordings: "QuerySet[Recording]", *, limit: int, ascending: bool = False, after: str = "", before: str = ""
) -> Slice:
    """Near its beginning the page before a cursor is the first page, so that it is full."""
    if before:
        found = list(_beyond(recordings, before, ascending=not ascending)[: limit + 1])
        if len(found) <= limit:
            return page_of(recordings, limit=limit, ascending=ascending)
        rows = found[:limit][::-1]
        return Slice(rows, key_of(rows[0]), key_of(rows[-1]))
    found = list(_beyond(recordings, after, ascending=ascending)[: limit + 1])
    rows = found[:limit]
    previous = key_of(rows[0]) if rows and after else None
    return Slice(rows, previous, key_of(rows[-1]) if len(found) > limit else None)


def _beyond(recordings: "QuerySet[Recording]", cursor: str, *, ascending: bool) -> "QuerySet[Recording]":
    """In order, what follows the recording of the cursor. The first condition is the one an index can use."""
    order = ("created_at", "pk") if ascending else ("-created_at", "-pk")
    recordings = recordings.order_by(*order)
    if not cursor:
        return recordings
    moment, pk = moment_and_id(cursor)
    if ascending:
        return recordings.filter(created_at__gte=moment).filter(Q(created_at__gt=moment) | Q(pk__gt=pk))
    return recordings.filter(created_at__lte=moment).filter(Q(created_at__lt=moment) | Q(pk__lt=pk))


def moment_and_id(cursor: str) -> tuple[datetime, int]:
    at, pk = decode_cursor(cursor, 2)
    try:
        moment = datetime.fromisoformat(at)
    except (TypeError, ValueError) as error:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.") from error
    if not isinstance(pk, int) or isinstance(pk, bool) or not 0 <= pk < 2**63 or moment.tzinfo is None:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.")
    return moment, pk


def calls_of(recordings: Iterable[Recording]) -> dict[str, CDR]:
    """The records of their calls by session id: none for a call that has not ended."""
    rows = CDR.objects.filter(session_id__in={recording.session_id for recording in recordings})
    return {row.session_id: row for row in rows}


def recordings_of(recordings: "QuerySet[Recording]", session_ids: Sequence[str]) -> "QuerySet[Recording]":
    """Of these calls, audio first."""
    return shown(recordings).filter(session_id__in=session_ids).order_by("medium", "pk")


def with_files(recordings: "QuerySet[Recording]") -> "QuerySet[Recording]":
    """With all that is told of one: its segments and their files, its gaps, what was joined for playing."""
    files = RecordingFile.objects.defer("peaks")
    return recordings.prefetch_related(
        "segments", Prefetch("segments__file", queryset=files), "gaps", Prefetch("joined_file", queryset=files)
    )


def plays_of(recording: Recording, after: str = "") -> "QuerySet[Play]":
    """Who listened, the latest first; `after` is the cursor of the last one seen."""
    rows = Play.objects.filter(recording_id=recording.pk).order_by("-at", "-pk")
    if not after:
        return rows
    moment, pk = moment_and_id(after)
    return rows.filter(at__lte=moment).filter(Q(at__lt=moment) | Q(pk__lt=pk))


def sees_plays(person: Any, may: May, recording: Recording) -> bool:
    """The administrator of all, whoever was recorded of his own."""
    return may(Permission.RECORDINGS_FULL) or is_own(person, recording.extensions, recording.created_at)
