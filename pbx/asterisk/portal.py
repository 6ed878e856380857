"""What this connector alone asks of the portal, all of it in the database: run these in a thread of their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from django.db import transaction
from django.db.models import Q

from pbx.asterisk.names import Trunks
from pbx.connectors.orders import Key, Running, begun_by, order_of, still_running
from pbx.connectors.portal import give_file
from recordings.books import books_of
from recordings.models import Recording
from tenants.models import Switch, SwitchCommand, Tenant, Trunk
from tenants.schemas import in_schema

log = structlog.get_logger(__name__)

PROBLEM_MAX = 300


def trunks_of(switch_id: int) -> Trunks:
    """The trunks of this switch, and those that are bound to none."""
    rows = Trunk.objects.filter(Q(switch_id=switch_id) | Q(switch=None)).order_by("-switch_id")
    return Trunks({trunk.switch_name or trunk.name: trunk.name for trunk in rows})


def segments_running(switch: Switch, session_ids: Sequence[str]) -> list[Running]:
    """What an earlier connector was recording in calls that still go on."""
    rows = SwitchCommand.objects.filter(switch=switch, session_id__in=session_ids).order_by("id")
    return still_running(rows.iterator())


def segments_begun(switch: Switch, keys: Sequence[Key]) -> list[Running]:
    """Those of the segments that this portal has begun on this switch; others' files are not ours to touch."""
    rows = SwitchCommand.objects.filter(
        switch=switch, command=SwitchCommand.Command.START, recording_id__in={recording_id for recording_id, _ in keys}
    ).exclude(state=SwitchCommand.State.PENDING)
    orders = [order_of(row) for row in rows.order_by("id")]
    return [replace(begun_by(each), is_adopted=True) for each in orders if each.key in set(keys)]


def note_lack(running: Running, problem: str) -> None:
    """Says, on the segment and its recording, what the file does not have; once, however often it is fetched."""
    tenant = Tenant.objects.filter(pk=running.tenant_id).first()
    if tenant is None or not running.recording_id.isdigit():
        return
    with in_schema(tenant.schema_name), transaction.atomic():
        rows = Recording.objects.select_for_update().filter(pk=int(running.recording_id))
        for book in books_of(tenant, rows):
            segments = [each for each in book.segments if each.number == running.segment]
            for segment in [each for each in segments if problem not in each.problem]:
                segment.problem = f"{segment.problem} {problem}".strip()[:PROBLEM_MAX]
                segment.save(update_fields=["problem"])
                book.note_problem(f"{book.recording.problem} {problem}".strip())


def hand_over(switch: Switch, running: Running, path: Path) -> None:
    """Gives a segment's file to the portal. When this returns, nobody needs it on Asterisk any longer."""
    give_file(switch, running.key, path, content_type="audio/wav", needless={"recording_deleted"})
