"""Keyset pages for the lists of the system host, in the order of up to two columns."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from accounts.rest import ApiError, decode_cursor, encode_cursor

PAGE_SIZE = 50
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Listed(Generic[M]):
    rows: list[M]
    following: str  # the address of the next page, empty at the end
    first: str  # the address of the first page, empty on it


def listed(request: HttpRequest, rows: "QuerySet[M]", *columns: str) -> Listed[M]:
    """The last column is unique, so that no row is shown twice or left out."""
    kept = {name: value for name, value in request.GET.items() if value and name != "cursor"}
    last = _last(request.GET.get("cursor", ""), len(columns))
    if last is not None:
        rows = rows.filter(_after(columns, last))
    found = list(rows.order_by(*columns)[: PAGE_SIZE + 1])
    following = ""
    if len(found) > PAGE_SIZE:
        values = [getattr(found[PAGE_SIZE - 1], column) for column in columns]
        following = "?" + urlencode({**kept, "cursor": encode_cursor(*values)})
    return Listed(found[:PAGE_SIZE], following, "?" + urlencode(kept) if last is not None else "")


def words_of(request: HttpRequest) -> str:
    return request.GET.get("q", "").strip().replace("\0", "")[:100]


def _after(columns: tuple[str, ...], last: list[Any]) -> Q:
    if len(columns) == 1:
        return Q(**{f"{columns[0]}__gt": last[0]})
    return Q(**{f"{columns[0]}__gt": last[0]}) | Q(**{columns[0]: last[0], f"{columns[1]}__gt": last[1]})


def _last(cursor: str, count: int) -> list[Any] | None:
    """A cursor that no list gave starts from the beginning: a page has no better answer."""
    try:
        values = decode_cursor(cursor, count) if cursor else None
    except ApiError:
        return None
    if values is None or not isinstance(values[0], str) or "\0" in values[0] or not isinstance(values[-1], str | int):
        return None
    return None if count == 2 and not isinstance(values[1], int) else values
