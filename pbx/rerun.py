"""Running again what waits in quarantine: a session as a whole and in order, and only as its own switch's."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from cdr import callevent_json
from cdr.callevent_json import CallEventError
from cdr.callevents import CallEvent
from pbx import finished, intake, quarantine
from pbx.http import bodies
from pbx.intake import Result
from pbx.models import Quarantined
from recordings import files
from recordings.errors import VaultError
from recordings.files import FileRefusedError
from tenants.changes import Actor, announce
from tenants.models import Switch

MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many were applied, and how many still wait."""

    applied: int
    waiting: int


def rerun(actor: Actor, rows: QuerySet[Quarantined]) -> Outcome:
    """Runs these again, oldest first and bounded, each with all else that waits of its session."""
    chosen = list(rows.filter(state=Quarantined.State.WAITING).order_by("id")[:MOST_AT_ONCE])
    every = sorted({row.pk: row for row in (*chosen, *_same_sessions(chosen))}.values(), key=_order)
    switches = Switch.objects.in_bulk({row.switch_id for row in every})
    applied = 0
    for (switch_id, kind), group in groupby(every, key=lambda row: (row.switch_id, row.kind)):
        if (switch := switches.get(switch_id)) is not None:
            applied += _run(switch, Quarantined.Kind(kind), list(group))
    if every:
        subject = f"{len(every)} quarantined" if len(every) > 1 else f"Quarantined {every[0].pk}"
        announce(actor, "quarantine.rerun", subject=subject, after={"applied": applied})
    return Outcome(applied, len(every) - applied)


def _same_sessions(chosen: Sequence[Quarantined]) -> list[Quarantined]:
    sessions = {(row.switch_id, row.session_id) for row in chosen if row.session_id}
    related: list[Quarantined] = []
    for switch_id in {switch_id for switch_id, _ in sessions}:
        ids = [session_id for owner, session_id in sessions if owner == switch_id]
        waiting = quarantine.waiting().filter(switch_id=switch_id, session_id__in=ids).order_by("id")
        related += waiting[: 10 * MOST_AT_ONCE]
    return related


def _order(row: Quarantined) -> tuple[int, str, int]:
    return row.switch_id, row.kind, row.pk


def _run(switch: Switch, kind: Quarantined.Kind, rows: Sequence[Quarantined]) -> int:
    results = _RUN[kind](switch, rows)
    applied = [row for row, result in results if result.status != "rejected"]
    still = [(row, result) for row, result in results if result.status == "rejected"]
    with transaction.atomic():
        Quarantined.objects.filter(pk__in=[row.pk for row in applied], state=Quarantined.State.WAITING).update(
            state=Quarantined.State.APPLIED, settled_at=timezone.now()
        )
        for reason in Counter((result.code, result.message) for _, result in still):
            ids = [row.pk for row, result in still if (result.code, result.message) == reason]
            Quarantined.objects.filter(pk__in=ids).update(code=reason[0], message=reason[1][: quarantine.MESSAGE_MAX])
    return len(applied)


def _events(switch: Switch, rows: Sequence[Quarantined]) -> list[tuple[Quarantined, Result]]:
    answered: list[tuple[Quarantined, Result]] = []
    readable: list[tuple[Quarantined, CallEvent]] = []
    for row in rows:
        try:
            readable.append((row, callevent_json.read(bodies.parse(bytes(row.raw)))))
        except CallEventError as error:
            answered.append((row, Result(row.event_id, "rejected", error.code, error.message)))
        except bodies.UnreadableError as error:
            answered.append((row, Result(row.event_id, "rejected", "malformed_json", str(error))))
    results = intake.settle(switch, [event for _, event in readable], may_wait=False)
    answered += zip((row for row, _ in readable), results, strict=True)
    return answered


def _cdrs(switch: Switch, rows: Sequence[Quarantined]) -> list[tuple[Quarantined, Result]]:
    results: list[tuple[Quarantined, Result]] = []
    documents = [bodies.document(bytes(row.raw)) for row in rows]
    for start in range(0, len(rows), finished.DOCUMENTS_MAX):
        part = slice(start, start + finished.DOCUMENTS_MAX)
        results += zip(rows[part], finished.settle(switch, documents[part]), strict=True)
    return results


def _files(switch: Switch, rows: Sequence[Quarantined]) -> list[tuple[Quarantined, Result]]:
    return [(row, _file(switch, row)) for row in rows]


def _file(switch: Switch, row: Quarantined) -> Result:
    file = quarantine.file_of(row)
    if file is None:
        return Result("", "rejected", "file_gone", "The file is no longer in the store.")
    try:
        files.place(switch, file)
    except FileRefusedError as error:
        return Result("", "rejected", error.code, error.message)
    except VaultError as error:
        return Result("", "rejected", error.code, error.message)
    return Result("", "applied")


_RUN = {Quarantined.Kind.EVENT: _events, Quarantined.Kind.CDR: _cdrs, Quarantined.Kind.FILE: _files}
