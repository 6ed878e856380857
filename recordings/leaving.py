"""What becomes of a tenant's recordings when it is exported or deleted."""

import zipfile
from collections.abc import Callable
from typing import IO

import structlog

from recordings import vault
from recordings.errors import VaultError
from recordings.holds import held
from recordings.models import RecordingFile
from tenants.errors import RefusedError
from tenants.models import Tenant

log = structlog.get_logger(__name__)

FOLDER = "recordings"
UNREADABLE = f"{FOLDER}/unreadable.txt"
_EXTENSIONS = {"audio/wav": "wav", "video/mp4": "mp4"}


def object_to_deletion() -> None:
    """A legal hold beats the deletion of its tenant."""
    count = held().count()
    if count:
        raise RefusedError(
            "legal_hold",
            f"{count} of its recordings {'is' if count == 1 else 'are'} under a legal hold."
            " Its administrator must release what is held first: Company > Retention > Legal holds.",
        )


def remove_files(tenant: Tenant) -> None:
    """Everything the store has of it. Its keys go with its tables, after this."""
    removed = vault.drop_all(tenant.schema_name)
    log.info("recordings of a tenant removed", tenant=tenant.schema_name, files=removed)


def add_to_export(archive: zipfile.ZipFile, report: Callable[[str], None]) -> None:
    """Each file as it came, named by its recording and segment. What cannot be read is listed instead."""
    came = RecordingFile.objects.exclude(state=RecordingFile.State.DELETED).filter(joined_of=None)
    files = came.select_related("segment").defer("peaks").order_by("pk")
    count, unreadable = files.count(), []
    for number, file in enumerate(files.iterator(chunk_size=500), 1):
        if number % 50 == 1:
            report(f"Recording {number} of {count}")
        try:
            reading = vault.read(file)
        except VaultError as error:
            unreadable.append(f"{name_of(file)}: {error.message}")
            continue
        member = zipfile.ZipInfo(name_of(file), date_time=file.received_at.timetuple()[:6])
        with archive.open(member, "w", force_zip64=True) as target:  # stored as it is: sound does not shrink
            if problem := _copy(reading, target):
                unreadable.append(f"{member.filename}, from byte {target.tell()} on: {problem}")
    if unreadable:
        archive.writestr(UNREADABLE, "\n".join(unreadable) + "\n")


def name_of(file: RecordingFile) -> str:
    kind = _EXTENSIONS.get(file.content_type, "bin")
    if file.segment is None:
        return f"{FOLDER}/quarantined/{file.pk}.{kind}"
    return f"{FOLDER}/{file.segment.recording_id}/{file.segment.number:03}.{kind}"


def _copy(reading: vault.Reading, target: IO[bytes]) -> str:
    """Why it could not be read to its end; empty when it could."""
    try:
        for block in reading:
            target.write(block)
    except VaultError as error:
        return error.message
    return ""
