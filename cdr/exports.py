"""A list with its filter as a file: what may be exported, the order, the task that carries it out, its end.

Each list offers itself with its fields and with how its page reads it, so that the file holds the rows of the screen.
The rows come through a cursor of the database, a block at a time: memory does not grow with them.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.access import Person
from accounts.lists import Kind, estimate
from accounts.managing import ActingAdministrator
from accounts.models import User
from accounts.roles import Permission
from accounts.sheets import FORMATS, Cell, Format, Head, writer_of
from cdr.models import ListExport
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import current_schema

log = structlog.get_logger(__name__)

BLOCK = 2000  # rows that are read at a time, and between two looks whether it was cancelled
KEPT = timedelta(days=7)
MOST_AT_ONCE = 3  # of one person
LOST_AFTER = timedelta(minutes=3)  # without a sign of its task
_LONGEST_QUERY = 2000
_UNDER_WAY = (ListExport.State.WAITING, ListExport.State.RUNNING)
State = ListExport.State


@dataclass(frozen=True)
class Field:
    """A column of the file. `column` is the list's own, whose being shown decides whether it is ticked at first."""

    head: Head
    value: Callable[[Any], Cell]
    column: str = ""
    extra: bool = False  # not ticked at first


@dataclass(frozen=True)
class Exportable:
    """A list that can be taken away. `rows` reads it as its page does: rights, filters, order."""

    kind: Kind
    noun: str
    permission: Permission
    fields: tuple[Field, ...]
    rows: Callable[[Person, Mapping[str, str], datetime], "QuerySet[Any]"]

    def ticked(self, shown: frozenset[str]) -> frozenset[str]:
        return frozenset(
            field.head.name for field in self.fields if not field.extra and (not field.column or field.column in shown)
        )


offered: dict[str, Exportable] = {}  # filled by the rooms at start-up, by the name of the list


def offer(exportable: Exportable) -> None:
    offered[exportable.kind.name] = exportable


# --- Asking ----------------------------------------------------------------------------------------------------


def request_export(
    actor: Actor,
    person: Person,
    exportable: Exportable,
    *,
    query: str,
    fields: Sequence[str],
    form: str,
    time_zone: str,
) -> ListExport:
    """Raises RefusedError for what is not offered, or when too many of this person are under way."""
    known = [field.head.name for field in exportable.fields if field.head.name in set(fields)]
    query = exportable.kind.query_of(query)
    if not known:
        raise RefusedError("not_valid", "Choose at least one column.")
    if form not in FORMATS:
        raise RefusedError("not_valid", f"form must be one of {', '.join(FORMATS)}.")
    if len(query) > _LONGEST_QUERY:
        raise RefusedError("not_valid", "These filters are too long.")
    zone_of(time_zone)
    with transaction.atomic():
        mine = ListExport.objects.select_for_update().filter(owner=owner_of(person), state__in=_UNDER_WAY)
        if len(mine.order_by("pk").values_list("pk")[:MOST_AT_ONCE]) == MOST_AT_ONCE:
            raise RefusedError("too_many", f"{MOST_AT_ONCE} of your exports are under way. Wait for one, or cancel it.")
        export = ListExport(
            list_name=exportable.kind.name, query=query, fields=known, form=form, time_zone=time_zone,
            owner=owner_of(person), owner_name=person.get_username()[:64],
        )  # fmt: skip
        with reading_as(export):
            export.total = min(estimate(_rows(export, exportable, person)), 2**31 - 1)
        export.save()
        announce(
            actor, "list.export_requested", subject=exportable.kind.whole, subject_id=export.pk,
            after={"list": export.list_name, "query": query, "fields": known, "form": form},
        )  # fmt: skip

        from cdr.tasks import run_export  # tasks are doors on this module

        schema, pk = current_schema(), export.pk
        transaction.on_commit(lambda: run_export.delay(schema, pk), robust=True)
    return export


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise RefusedError("not_valid", "The time zone must be an IANA name, such as Europe/Berlin.") from error


def owner_of(person: Person) -> str:
    """Someone of this tenant, or a system administrator who acts for it."""
    if isinstance(person, ActingAdministrator):
        return f"system:{person.administrator_id}"
    return f"user:{person.pk}"


def exports_of(person: Person) -> "QuerySet[ListExport]":
    """The person's own, newest first."""
    return ListExport.objects.filter(owner=owner_of(person)).order_by("-pk")


def cancel(export: ListExport) -> bool:
    """Its task stops at the next block. False when it had already ended."""
    return bool(
        ListExport.objects.filter(pk=export.pk, state__in=_UNDER_WAY).update(
            state=State.CANCELLED, finished_at=timezone.now()
        )
    )


@transaction.atomic
def note_download(actor: Actor, export: ListExport) -> None:
    announce(
        actor, "list.export_downloaded", subject=offered[export.list_name].kind.whole, subject_id=export.pk,
        after={"list": export.list_name, "rows": export.done},
    )  # fmt: skip


# --- Carrying out ----------------------------------------------------------------------------------------------


def run(export_id: int) -> None:
    """Writes beside the final name and renames. Doing it twice is harmless: one at a time has it."""
    now = timezone.now()
    free = Q(state=State.WAITING) | Q(state=State.RUNNING, seen_at__lt=now - LOST_AFTER)
    if not ListExport.objects.filter(free, pk=export_id).update(state=State.RUNNING, seen_at=now, done=0):
        return
    export = ListExport.objects.get(pk=export_id)
    half = path_of(export).with_suffix(".part")
    try:
        half.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = _write(export, half)
        if not whole:
            half.unlink(missing_ok=True)
            return
        size = half.stat().st_size
        half.rename(path_of(export))
    except RefusedError as refused:
        _fail(export, half, refused.message)
    except Exception as error:  # whatever it was, the one who waits must learn of it
        log.exception("export failed", tenant=current_schema(), export=export.pk)
        _fail(export, half, f"It failed: {type(error).__name__}. Try again, or narrow the list.")
    else:
        if not _going(export).update(state=State.READY, size=size, done=export.done, finished_at=timezone.now()):
            path_of(export).unlink(missing_ok=True)


def _write(export: ListExport, half: Path) -> bool:
    """False when it was cancelled."""
    exportable = offered.get(export.list_name)
    person = _person(export)
    if exportable is None or person is None or not person.may(exportable.permission):
        raise RefusedError("forbidden", "Whoever asked for it may not see this list any more.")
    by_name = {field.head.name: field for field in exportable.fields}
    fields = [by_name[name] for name in export.fields if name in by_name]
    with half.open("wb") as file, reading_as(export), without_time_limit():
        half.chmod(0o600)
        writer = writer_of(cast(Format, export.form), file, [field.head for field in fields], zone_of(export.time_zone))
        for row in _rows(export, exportable, person).iterator(chunk_size=BLOCK):
            writer.row([field.value(row) for field in fields])
            export.done += 1
            if export.done % BLOCK == 0 and not _going(export).update(done=export.done, seen_at=timezone.now()):
                return False
        writer.close()
    return True


def _rows(export: ListExport, exportable: Exportable, person: Person) -> "QuerySet[Any]":
    return exportable.rows(person, dict(parse_qsl(export.query)), timezone.localtime(export.created_at))


@contextmanager
def reading_as(export: ListExport) -> Iterator[None]:
    """Days without an hour are those of the zone that was chosen."""
    with timezone.override(zone_of(export.time_zone)):
        yield


@contextmanager
def without_time_limit() -> Iterator[None]:
    """A file may take longer than a page; the connection goes back with its limit."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        if not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")


def _going(export: ListExport) -> "QuerySet[ListExport]":
    return ListExport.objects.filter(pk=export.pk, state=State.RUNNING)


def _fail(export: ListExport, half: Path, words: str) -> None:
    half.unlink(missing_ok=True)
    _going(export).update(state=State.FAILED, problem=words[:300], finished_at=timezone.now())


def _person(export: ListExport) -> Person | None:
    """Who asked, with the rights of now."""
    kind, _, number = export.owner.partition(":")
    if kind == "system":
        return ActingAdministrator(export.owner_name, int(number))
    return User.objects.filter(pk=int(number), is_active=True).first()


# --- Files -----------------------------------------------------------------------------------------------------


def folder_of(schema: str) -> Path:
    return Path(settings.VAR_DIR) / "exports" / "lists" / schema


def path_of(export: ListExport) -> Path:
    return folder_of(current_schema()) / f"{export.pk}.{export.form}"


def file_name_of(export: ListExport) -> str:
    moment = timezone.localtime(export.created_at, zone_of(export.time_zone))
    return f"{export.list_name}-{moment:%Y%m%d-%H%M%S}.{export.form}"


def drop_old(now: datetime, batch: int = 500) -> int:
    """Removes what was kept long enough, with its file. What its task has left for good is told as failed."""
    ListExport.objects.filter(state=State.RUNNING, seen_at__lt=now - 2 * LOST_AFTER).update(
        state=State.FAILED, problem="Its worker was lost. Try again.", finished_at=now
    )
    old = list(ListExport.objects.filter(created_at__lt=now - KEPT).exclude(state__in=_UNDER_WAY)[:batch])
    for export in old:
        remove(export)
    return len(old)


def remove(export: ListExport) -> None:
    path_of(export).unlink(missing_ok=True)
    export.delete()


def remove_files(tenant: Tenant) -> None:
    """Of a tenant that goes."""
    shutil.rmtree(folder_of(tenant.schema_name), ignore_errors=True)
