"""The columns of the CDR list and which of them a person sees; the choice lies in a cookie."""

from collections.abc import Iterable
from dataclasses import dataclass

COOKIE = "cdr_columns"


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    shown: bool = True


COLUMNS = (
    Column("caller", "Caller"),
    Column("callee", "Callee"),
    Column("ring_time", "Ring Time"),
    Column("answered_time", "Answer Time"),
    Column("ended_time", "End Time"),
    Column("talk_duration", "Talking Time"),
    Column("status_code", "Status Code"),
    Column("did", "DID/DDI", shown=False),
    Column("trunk_name", "Trunk", shown=False),
    Column("cost", "Cost", shown=False),
)
_NAMES = frozenset(column.name for column in COLUMNS)


def chosen(cookie: str | None) -> frozenset[str]:
    """The names of the columns to show. Start Time always shows: it is the row's link."""
    if cookie is None:
        return frozenset(column.name for column in COLUMNS if column.shown)
    return _NAMES & frozenset(cookie.split("."))


def kept(names: Iterable[str]) -> str:
    return ".".join(name for name in names if name in _NAMES)
