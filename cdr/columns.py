"""The list of calls: its columns, and what of its address a saved view keeps."""

from accounts.lists import Column, register
from cdr.forms import CDRFilterForm

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
CALLS = register("cdr", "All calls", COLUMNS, {*CDRFilterForm.base_fields, "from", "to", "period", "order"})


def chosen(cookie: str | None) -> frozenset[str]:
    """The names of the columns to show. Start Time always shows: it is the row's link."""
    return CALLS.shown({} if cookie is None else {CALLS.cookie: cookie})
