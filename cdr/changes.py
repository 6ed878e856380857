"""What became of the records since a place in the event log: created, corrected, deleted; each record once."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Literal

from cdr.models import CDR, DeletedCDR

Kind = Literal["created", "corrected", "deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """`place` is the id of the event that told it; `cdr` is None for a record that was deleted."""

    place: int
    kind: Kind
    session_id: str
    cdr: CDR | None


def changes_after(since: int, limit: int, *, until: int) -> Sequence[Change]:
    """The next changes in the order of the log. A record changed twice shows once, at its latest place.

    `until` is the log's end as it was before: a record and a deletion that commit between the two reads stand above it,
    so that the one which was not seen yet is not passed by.
    """
    between = {"changed_in__gt": since, "changed_in__lte": until}
    records = CDR.objects.filter(**between).order_by("changed_in").prefetch_related("targets")[:limit]
    gone = DeletedCDR.objects.filter(**between).order_by("changed_in")[:limit]
    standing = (Change(row.changed_in, _kind(row), row.session_id, row) for row in records)
    deleted = (Change(row.changed_in, "deleted", row.session_id, None) for row in gone)
    return list(islice(merge(standing, deleted, key=lambda change: change.place), limit))


def _kind(row: CDR) -> Kind:
    return "created" if row.version == 1 else "corrected"
