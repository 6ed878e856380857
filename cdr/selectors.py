"""Reading CDRs: who may see which, narrowed by filters, page by page on (start time, id)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import connection, transaction
from django.db.models import CharField, Lookup, Q, QuerySet

from accounts.callers import ApiError
from accounts.numbers import own
from accounts.rest import decode_cursor, encode_cursor, time_of
from accounts.roles import Permission
from cdr.forms import CDRFilters, number_in
from cdr.models import CDR, NAMES, LiveSession
from events.models import Delivery
from tenants.models import Switch

MANY = 50  # so many new calls are counted, then it says "50+"
SEARCH_WORDS = 6
FEW = 5000  # matches of a search by words that are looked up one by one


@CharField.register_lookup
class Like(Lookup):
    """SQL's LIKE with a pattern of our own making."""

    lookup_name = "like"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} LIKE {right}", (*left_params, *right_params)


def sees_all(may: Callable[[Permission], bool]) -> bool:
    return may(Permission.CDR_VIEW) or may(Permission.CDR_FULL)


def visible_calls(person: Any, may: Callable[[Permission], bool]) -> "QuerySet[CDR]":
    """All calls of the tenant, or only those in which a number took part that was the person's own, or none."""
    if sees_all(may):
        return CDR.objects.all()
    mine = own(person, "extensions", "start_time") if may(Permission.OWN_CALLS) else None
    return CDR.objects.none() if mine is None else CDR.objects.filter(mine)


def simulators() -> frozenset[int]:
    """The ids of the simulated switches: a call of one of them is simulated. Read once for a page."""
    return frozenset(Switch.objects.filter(kind=Switch.Kind.SIMULATOR).values_list("pk", flat=True))


def narrowed(calls: "QuerySet[CDR]", filters: CDRFilters) -> "QuerySet[CDR]":
    """The calls that fit every filter. Each has an index of its own; the planner takes the rarest."""
    plain: dict[str, Any] = {
        "start_time__gte": filters.since,
        "start_time__lt": filters.until,
        "direction": filters.direction or None,
        "status": filters.status or None,
        "trunk_name": filters.trunk or None,
        "session_id": filters.session_id or None,
        "talk_duration__gte": filters.min_talk,
        "talk_duration__lte": filters.max_talk,
        "recorded": filters.recorded,
    }
    calls = calls.filter(**{name: value for name, value in plain.items() if value is not None})
    if filters.end_reason:
        calls = calls.filter(end_reason="" if filters.end_reason == "None" else filters.end_reason)
    if filters.extension:
        calls = calls.filter(extensions__contains=[filters.extension])
    for name in ("caller", "callee", "did"):
        if number := getattr(filters, name):
            calls = calls.filter(number_like(name, number))
    if filters.number:
        calls = calls.filter(number_like("caller", filters.number) | number_like("callee", filters.number))
    return _search(calls, filters.search) if filters.search else calls


def number_like(field: str, number: str) -> Q:
    """The number, where `*` stands for any digits."""
    if "*" not in number:
        return Q(**{field: number})
    if number.strip("*") == "":
        return ~Q(**{field: ""})
    return Q(**{f"{field}__like": _escaped(number).replace("*", "%")})


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _search(calls: "QuerySet[CDR]", text: str) -> "QuerySet[CDR]":
    """A session id, the beginning of a number, or the beginnings of words of a name."""
    beginning = f"{number_in(text).rstrip('*')}*"
    found = Q(session_id=text.strip()) | number_like("caller", beginning) | number_like("callee", beginning)
    words = "".join(character if character.isalnum() else " " for character in text).split()[:SEARCH_WORDS]
    if not any(word.isalpha() for word in words):
        return calls.filter(found)
    query = SearchQuery(" & ".join(f"{word}:*" for word in words), search_type="raw", config="simple")
    found |= Q(names=query)
    few = _few_matches(CDR.objects.alias(names=SearchVector(*NAMES, config="simple")).filter(found))
    if few is not None:
        return calls.filter(pk__in=few) if few else calls.none()
    return calls.alias(names=SearchVector(*NAMES, config="simple")).filter(found)


def _few_matches(matches: "QuerySet[CDR]") -> list[int] | None:
    """The ids of all matches, unless there are more than FEW.

    PostgreSQL takes any beginning of a word for 2 % of the table, so for one that matches nothing it would walk the
    whole list in search of a page. Asked without an order and kept from scanning the table, it uses the indexes.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        ids = list(matches.order_by().values_list("pk", flat=True)[: FEW + 1])
        cursor.execute("SET LOCAL enable_seqscan = on")
    return ids if len(ids) <= FEW else None


@dataclass(frozen=True)
class Slice:
    """One page, with the cursors of the pages before and after it in the list's order; None at its ends."""

    rows: list[CDR]
    previous: str | None
    next: str | None


def key_of(call: CDR) -> str:
    return encode_cursor(call.start_time.isoformat(), call.pk)


def _key(cursor: str) -> tuple[datetime, int]:
    at, pk = decode_cursor(cursor, 2)
    try:
        moment = datetime.fromisoformat(at)
    except (TypeError, ValueError) as error:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.") from error
    if not isinstance(pk, int) or isinstance(pk, bool) or not 0 <= pk < 2**63 or moment.tzinfo is None:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.")
    return moment, pk


def _beyond(calls: "QuerySet[CDR]", cursor: str, *, ascending: bool) -> "QuerySet[CDR]":
    """In order, what follows the call of the cursor. The first condition is the one an index can use."""
    if ascending:
        calls = calls.order_by("start_time", "pk")
        if not cursor:
            return calls
        moment, pk = _key(cursor)
        return calls.filter(start_time__gte=moment).filter(Q(start_time__gt=moment) | Q(pk__gt=pk))
    calls = calls.order_by("-start_time", "-pk")
    if not cursor:
        return calls
    moment, pk = _key(cursor)
    return calls.filter(start_time__lte=moment).filter(Q(start_time__lt=moment) | Q(pk__lt=pk))


def page_of(calls: "QuerySet[CDR]", *, limit: int, ascending: bool = False, after: str = "", before: str = "") -> Slice:
    """Near its beginning the page before a cursor is the first page, so that it is full."""
    if before:
        found = list(_beyond(calls, before, ascending=not ascending)[: limit + 1])
        if len(found) > limit:
            rows = found[:limit][::-1]
            return Slice(rows, key_of(rows[0]), key_of(rows[-1]))
        return page_of(calls, limit=limit, ascending=ascending)
    found = list(_beyond(calls, after, ascending=ascending)[: limit + 1])
    rows = found[:limit]
    previous = key_of(rows[0]) if rows and after else None
    return Slice(rows, previous, key_of(rows[-1]) if len(found) > limit else None)


def cdr_deliveries(session_ids: list[str]) -> "QuerySet[Delivery]":
    """The records of these calls as they were sent, to the endpoints that are switched on."""
    return (
        Delivery.objects.filter(session_id__in=session_ids, event__type="call_cdr")
        .filter(endpoint__enabled=True, endpoint__deleted_at=None)
        .select_related("endpoint")
        .order_by("pk")
    )


def last_id() -> int:
    """Where the ledger stands: calls written later have a greater id, whenever they started."""
    return CDR.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def count_since(calls: "QuerySet[CDR]", since: int) -> int:
    """How many calls were written since, at most one more than MANY."""
    return len(calls.filter(pk__gt=since).order_by("pk").values_list("pk")[: MANY + 1])


def neighbours(calls: "QuerySet[CDR]", call: CDR) -> tuple[str | None, str | None]:
    """The session ids of the next newer and the next older call."""
    newer, older = (
        _beyond(calls, key_of(call), ascending=ascending).values_list("session_id", flat=True).first()
        for ascending in (True, False)
    )
    return newer, older


def calls_in_progress(most: int) -> int:
    rows = LiveSession.objects.filter(ended_time=None).order_by("-start_time", "session_id")
    return len(rows.values_list("pk")[:most])


def visible_in_progress(person: Any, may: Callable[[Permission], bool]) -> "QuerySet[LiveSession]":
    """The tenant's calls in progress, newest first, or only those of the person's own extension, or none."""
    rows = LiveSession.objects.filter(ended_time=None).order_by("-start_time", "session_id")
    if sees_all(may):
        return rows
    mine = own(person, "extensions", "start_time") if may(Permission.OWN_CALLS) else None
    return rows.none() if mine is None else rows.filter(mine)


def in_progress_after(rows: "QuerySet[LiveSession]", cursor: str) -> "QuerySet[LiveSession]":
    """The cursor is (start time, session id) of the last call seen."""
    if not cursor:
        return rows
    start, session_id = decode_cursor(cursor, 2)
    moment = time_of(start, "cursor")
    if not isinstance(session_id, str) or "\0" in session_id:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.")
    return rows.filter(start_time__lte=moment).exclude(start_time=moment, session_id__lte=session_id)
