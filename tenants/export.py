"""Everything a tenant's tables hold as a ZIP of NDJSON files: one line a row, without passwords, keys and sessions.

With its recordings, when asked for, as files beside the tables.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.models import Tenant, TenantExport
from tenants.schemas import enter_public, in_schema

log = structlog.get_logger(__name__)

# Filled by a higher room: adds the tenant's recordings to the archive, inside its schema, and says how far it is.
media: list[Callable[[zipfile.ZipFile, Callable[[str], None]], None]] = []

# Sessions, lock-outs and credentials: of no use elsewhere, and not to be carried about.
_LEFT_OUT = re.compile(
    r"django_.*|axes_.*|accounts_(extensioncredential|apitoken|managedentry)|recordings_tenantkey", re.ASCII
)  # fmt: skip
_SECRET_COLUMNS = frozenset({"password", "secret", "former_secrets", "token", "token_hash", "wrapped_key"})


def export_dir() -> Path:
    return Path(settings.VAR_DIR) / "exports"


def path_of(export: TenantExport) -> Path:
    return export_dir() / export.file_name


def finished_exports(tenant: Tenant) -> "QuerySet[TenantExport]":
    return TenantExport.objects.filter(tenant=tenant, state=TenantExport.State.DONE)


@transaction.atomic
def request_export(actor: Actor, tenant: Tenant, *, with_recordings: bool = False) -> TenantExport:
    """One at a time; `run_export` makes the file."""
    Tenant.objects.select_for_update().get(pk=tenant.pk)
    if tenant.state not in {Tenant.State.ACTIVE, Tenant.State.SUSPENDED}:
        raise RefusedError("wrong_state", f"This tenant is {tenant.get_state_display().lower()}.")
    TenantExport.objects.filter(tenant=tenant, state=TenantExport.State.RUNNING).update(
        state=TenantExport.State.FAILED, progress="Another export was begun"
    )
    export = TenantExport.objects.create(
        tenant=tenant, progress="Waiting for a worker", with_recordings=with_recordings
    )
    announce(
        actor, "tenant.export_requested", subject=tenant.name, subject_id=tenant.pk,
        after={"with_recordings": with_recordings},
    )  # fmt: skip

    from tenants.tasks import export_tenant  # tasks are doors on this module

    transaction.on_commit(lambda: export_tenant.delay(export.pk), robust=True)
    return export


def run_export(export: TenantExport) -> None:
    """Writes beside the final name and renames, so that a file under its name is whole."""
    tenant = export.tenant
    folder = export_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{tenant.host}-{timezone.now():%Y%m%d-%H%M%S}-{export.pk}.zip"
    half = folder / f"{name}.part"
    try:
        with half.open("xb") as file:
            half.chmod(0o600)
            _write(export, file)
        size = half.stat().st_size
        half.rename(folder / name)
    except Exception as error:  # whatever it was, the administrator must learn of it on the page
        half.unlink(missing_ok=True)
        enter_public()
        log.exception("export failed", tenant=tenant.schema_name)
        _still_running(export).update(state=TenantExport.State.FAILED, progress=f"It failed: {type(error).__name__}")
        return
    done = _still_running(export).update(state=TenantExport.State.DONE, progress="", file_name=name, size=size)
    if not done:
        (folder / name).unlink(missing_ok=True)
        return
    for older in finished_exports(tenant).exclude(pk=export.pk):
        path_of(older).unlink(missing_ok=True)
        older.delete()


@transaction.atomic
def note_download(actor: Actor, export: TenantExport) -> None:
    announce(actor, "tenant.export_downloaded", subject=export.tenant.name, subject_id=export.tenant_id)


def remove_files(tenant: Tenant) -> None:
    for export in finished_exports(tenant):
        path_of(export).unlink(missing_ok=True)


def _still_running(export: TenantExport) -> "QuerySet[TenantExport]":
    return TenantExport.objects.filter(pk=export.pk, state=TenantExport.State.RUNNING)


def _write(export: TenantExport, file: IO[bytes]) -> None:
    tenant = export.tenant
    tables = _tables_of(tenant.schema_name)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tenant.json", json.dumps(_about(tenant), ensure_ascii=False, indent=2))
        for number, (table, columns) in enumerate(tables.items(), 1):
            _report(export, f"Table {number} of {len(tables)}: {table}")
            with archive.open(f"{table}.ndjson", "w", force_zip64=True) as member:
                for line in _lines(tenant.schema_name, table, columns):
                    member.write(line.encode() + b"\n")
        if export.with_recordings:
            with in_schema(tenant.schema_name):
                for add in media:
                    add(archive, lambda progress: _report(export, progress))


def _report(export: TenantExport, progress: str) -> None:
    _still_running(export).update(progress=progress)


def _about(tenant: Tenant) -> dict[str, Any]:
    """What the public schema knows of the tenant."""
    return {
        "id": str(tenant.pk),
        "name": tenant.name,
        "host": tenant.host,
        "time_zone": tenant.time_zone,
        "currency": tenant.currency,
        "enable_extension_audio_recording": tenant.enable_extension_audio_recording,
        "enable_extension_video_recording": tenant.enable_extension_video_recording,
        "sip_domains": [row.domain for row in tenant.sip_domains.all()],
        "trunks": [row.name for row in tenant.trunks.all()],
        "inbound_rules": [{"kind": rule.kind, "number": rule.number} for rule in tenant.inbound_rules.all()],
        "exported_at": timezone.now().isoformat(),
    }


def _tables_of(schema: str) -> dict[str, list[str]]:
    """Each table with the columns to take, as SQL. Big integers become strings: JSON readers round them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %s ORDER BY table_name, ordinal_position",
            [schema],
        )
        found = cursor.fetchall()
    tables: dict[str, list[str]] = {}
    quote = connection.ops.quote_name
    for table, column, kind in found:
        if not _LEFT_OUT.fullmatch(table) and column not in _SECRET_COLUMNS:
            taken = f"{quote(column)}::text AS {quote(column)}" if kind == "bigint" else quote(column)
            tables.setdefault(table, []).append(taken)
    return tables


def _lines(schema: str, table: str, columns: list[str]) -> Iterator[str]:
    quote = connection.ops.quote_name
    rows = f"SELECT {', '.join(columns)} FROM {quote(schema)}.{quote(table)}"  # noqa: S608 - names from the catalogue
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # a big table may take longer than a page may
        with cursor.copy(f"COPY (SELECT row_to_json(line) FROM ({rows}) line) TO STDOUT") as copy:  # noqa: S608
            for (line,) in copy.rows():
                yield line
