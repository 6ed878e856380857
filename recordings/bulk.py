"""Several recordings in one ZIP: asked for by a person, made by a task, kept in the vault for a day.

The ZIP holds each recording as it is downloaded alone, and `manifest.csv`, which tells of each its call, its gaps and
its SHA-256, so that `manage.py verify_recordings_zip` can prove later, without the portal, that nothing was changed.
"""

import csv
import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any, cast

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.rest import rfc3339
from recordings import plays, vault, words
from recordings.errors import VaultError
from recordings.joined import Joined
from recordings.models import Bulk, Gap, Play, Recording
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.schemas import current_schema

MOST = 500  # recordings in a ZIP
MOST_BYTES = 8 * 1024**3
MOST_AT_ONCE = 3  # of one person, that are waiting or being made
LIFETIME = timedelta(days=1)
SILENT = timedelta(minutes=5)  # of which nothing was heard for so long, nobody makes it any more
MANIFEST = "manifest.csv"
COLUMNS = (
    "file", "size", "sha256", "recording_id", "session_id", "medium", "caller", "callee", "extensions",
    "start_time", "end_time", "duration_ms", "gaps", "problem",
)  # fmt: skip
_UNDER_WAY = (Bulk.State.WAITING, Bulk.State.RUNNING)
_TELL_EVERY = 5  # recordings
_ALIVE_EVERY = 30.0  # seconds

log = structlog.get_logger(__name__)


@transaction.atomic
def order(actor: Actor, recordings: Sequence[Recording], *, reason: str = "", asks_reason: bool = False) -> Bulk:
    """For recordings the actor may see. Those that cannot be played are refused by name, not left out in silence."""
    if asks_reason and not reason:
        raise plays.ReasonNeededError
    _refuse(actor, recordings)
    bulk = Bulk.objects.create(
        recording_ids=[recording.pk for recording in recordings], reason=reason[:300], **_of(actor)
    )
    announce(
        actor, "recordings.zip_ordered", subject=f"{len(recordings)} recordings", subject_id=bulk.pk,
        after={"recordings": [str(recording.pk) for recording in recordings], "reason": reason},
    )  # fmt: skip
    transaction.on_commit(lambda: _send_off(bulk.pk))
    return bulk


def _refuse(actor: Actor, recordings: Sequence[Recording]) -> None:
    if not recordings:
        raise RefusedError("nothing_selected", "Select recordings first.")
    if len(recordings) > MOST:
        raise RefusedError("too_many", f"A ZIP holds at most {MOST} recordings.")
    if sum(recording.size for recording in recordings) > MOST_BYTES:
        raise RefusedError("too_large", f"A ZIP holds at most {MOST_BYTES // 1024**3} GiB.")
    without = [recording for recording in recordings if recording.state != Recording.State.READY]
    if without:
        first = without[0]
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise RefusedError("not_ready", f"There is no file of the call {first.session_id}{more}. Leave it out.")
    if Bulk.objects.filter(state__in=_UNDER_WAY, **_asked_by(actor)).count() >= MOST_AT_ONCE:
        raise RefusedError("too_many_at_once", "Some ZIPs of yours are still being made. Wait for one of them.")


def _send_off(bulk_id: int) -> None:
    from recordings.tasks import make_bulk  # the tasks stand on this module

    make_bulk.delay(current_schema(), bulk_id)


def bulks_of(actor: Actor) -> "QuerySet[Bulk]":
    """Nobody sees another person's ZIP."""
    return Bulk.objects.filter(**_asked_by(actor)).order_by("-pk")


# --- Made by a task ----------------------------------------------------------------------------------------


def make(bulk_id: int) -> None:
    """Once at a time; a second one that comes while the first is at work goes away."""
    now = timezone.now()
    claimable = Q(state=Bulk.State.WAITING) | Q(state=Bulk.State.RUNNING, progress_at__lt=now - SILENT)
    claimed = Bulk.objects.filter(claimable, pk=bulk_id).update(state=Bulk.State.RUNNING, progress_at=now, done=0)
    if not claimed:
        return
    bulk = Bulk.objects.get(pk=bulk_id)
    try:
        stored = _write(bulk)
    except VaultError as error:
        log.error("zip not made", bulk_id=str(bulk_id), error=error.code)
        Bulk.objects.filter(pk=bulk_id).update(state=Bulk.State.FAILED, problem=error.message[:300])
        return
    ready = Bulk.objects.filter(pk=bulk_id, state=Bulk.State.RUNNING).update(
        state=Bulk.State.READY, ready_at=timezone.now(), storage_key=stored.storage_key,
        wrapped_key=stored.wrapped_key, size=stored.size, sha256=stored.sha256, done=len(bulk.recording_ids),
    )  # fmt: skip
    if not ready:  # meanwhile a recording in it was deleted
        vault.discard(stored.storage_key)


def _write(bulk: Bulk) -> vault.Stored:
    rows = Recording.objects.in_bulk(bulk.recording_ids)
    recordings = [rows[recording_id] for recording_id in bulk.recording_ids if recording_id in rows]
    plays.note_bulk(bulk, recordings)
    entries: list[Entry] = []
    names: set[str] = set()
    with vault.writer() as writer:
        onward = _Onward(writer, lambda: _say_alive(bulk))
        with zipfile.ZipFile(cast(IO[bytes], onward), "w", zipfile.ZIP_STORED) as archive:
            for number, recording in enumerate(recordings, start=1):
                entry = _add(archive, recording, names)
                entries.append(entry)
                Play.objects.filter(bulk_id=bulk.pk, recording_id=recording.pk).update(sent=entry.size)
                if number % _TELL_EVERY == 0:
                    Bulk.objects.filter(pk=bulk.pk).update(done=number, progress_at=timezone.now())
            archive.writestr(_info(MANIFEST, timezone.now()), manifest_of(entries))
        return writer.close()


def _say_alive(bulk: Bulk) -> None:
    """A long recording from a slow store must not look like a maker that died."""
    Bulk.objects.filter(pk=bulk.pk).update(progress_at=timezone.now())


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest; `file` is empty when `problem` says why there is none."""

    recording: Recording
    file: str = ""
    size: int = 0
    sha256: str = ""
    problem: str = ""


def _add(archive: zipfile.ZipFile, recording: Recording, names: set[str]) -> Entry:
    """What cannot be opened is told in the manifest. What breaks off half way spoils the ZIP, and so its making."""
    try:
        if recording.state != Recording.State.READY:
            return Entry(recording, problem="It was deleted before it was packed.")
        media = Joined(recording)
        blocks = media.read(0, media.size)
    except VaultError as error:
        return Entry(recording, problem=error.message)
    name = _free(media.file_name, names)
    digest, size = hashlib.sha256(), 0
    info = _info(name, recording.started_at or recording.created_at)
    with archive.open(info, "w", force_zip64=True) as into:
        for block in blocks:
            digest.update(block)
            size += len(block)
            into.write(block)
    return Entry(recording, name, size, digest.hexdigest())


def _free(name: str, names: set[str]) -> str:
    """Two recordings of one call have the same name, but for a number."""
    stem, _, ending = name.rpartition(".")
    number = 1
    while name in names:
        number += 1
        name = f"{stem}-{number}.{ending}"
    names.add(name)
    return name


def _info(name: str, at: datetime) -> zipfile.ZipInfo:
    local = timezone.localtime(at)
    info = zipfile.ZipInfo(
        name, (max(local.year, 1980), local.month, local.day, local.hour, local.minute, local.second)
    )
    info.external_attr = 0o600 << 16
    return info


class _Onward(io.RawIOBase):
    """What the ZIP writes goes into the vault at once: it cannot be gone back in. Says now and then that it goes on."""

    def __init__(self, writer: vault.Writer, say_alive: Callable[[], None]) -> None:
        self._writer, self._say_alive = writer, say_alive
        self._said_at = time.monotonic()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._writer.write(bytes(data))
        if time.monotonic() - self._said_at >= _ALIVE_EVERY:
            self._say_alive()
            self._said_at = time.monotonic()
        return len(data)


def manifest_of(entries: Sequence[Entry]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    table.writerows(_row(entry) for entry in entries)
    return text.getvalue().encode("utf-8")


def _row(entry: Entry) -> list[str]:
    recording = entry.recording
    gaps = [_told(gap) for gap in recording.gaps.all()]
    return [
        entry.file, str(entry.size), entry.sha256, str(recording.pk), harmless(recording.session_id),
        recording.medium, harmless(recording.caller), harmless(recording.callee),
        harmless(" ".join(recording.extensions)), rfc3339(recording.started_at) or "",
        rfc3339(recording.ended_at) or "", str(recording.duration_ms), harmless("; ".join(gaps)), entry.problem,
    ]  # fmt: skip


def _told(gap: Gap) -> str:
    until = rfc3339(gap.until) or "its end"
    return f"{rfc3339(gap.since)} to {until}: {words.gap_words(gap)}"


def harmless(value: str) -> str:
    """A spreadsheet takes what begins so for a formula; a number with its plus sign is none."""
    if value[:1] in ("=", "@", "\t", "\r") or (value[:1] in ("+", "-") and not value[1:].isdigit()):
        return f"'{value}"
    return value


# --- Away --------------------------------------------------------------------------------------------------


def note_taken(actor: Actor, bulk: Bulk) -> None:
    """Somebody takes the ZIP away, perhaps not for the first time."""
    Play.objects.filter(bulk_id=bulk.pk).update(last_at=timezone.now())
    announce(actor, "recordings.zip_downloaded", subject=str(bulk), subject_id=bulk.pk, after={"bytes": bulk.size})


def drop(bulk: Bulk) -> None:
    """Its bytes go, its row stays."""
    Bulk.objects.filter(pk=bulk.pk).update(state=Bulk.State.GONE, storage_key="", wrapped_key=b"")
    if bulk.storage_key:
        vault.discard(bulk.storage_key)
    bulk.state = Bulk.State.GONE


def drop_with(recording: Recording) -> None:
    """Of a recording that is deleted, no copy stays in a ZIP. Listens to `recordings.trash`."""
    for bulk in Bulk.objects.filter(recording_ids__contains=[recording.pk]).exclude(state=Bulk.State.GONE):
        drop(bulk)


def tend(now: datetime) -> None:
    """ZIPs whose time is over go; one whose maker died is made again."""
    for bulk in Bulk.objects.filter(created_at__lt=now - LIFETIME).exclude(state=Bulk.State.GONE)[:MOST]:
        drop(bulk)
    for bulk_id in Bulk.objects.filter(state__in=_UNDER_WAY, progress_at__lt=now - SILENT).values_list("pk", flat=True):
        _send_off(bulk_id)


def is_whole(bulk: Bulk, visible: "QuerySet[Recording]") -> bool:
    """Its asker may still see each recording in it, and none was deleted."""
    playable = visible.filter(pk__in=bulk.recording_ids, state=Recording.State.READY)
    return playable.count() == len(bulk.recording_ids)


def _of(actor: Actor) -> dict[str, str]:
    return _asked_by(actor) | {"actor": actor.name[:200], "address": actor.address[:64]}


def _asked_by(actor: Actor) -> dict[str, str]:
    return {"actor_kind": actor.kind, "actor_id": actor.id[:64], "on_behalf": actor.on_behalf[:200]}
