"""The store beside the books: files of which no row knows, and rows whose file is gone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from recordings import vault
from recordings.models import Bulk, RecordingFile
from recordings.stores import Found

YOUNG = timedelta(days=1)  # so long a file may lie in the store before its row is committed
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Strays:
    """Of the tenant whose schema this is."""

    unknown: list[Found]
    gone: list[RecordingFile]


def strays(now: datetime) -> Strays:
    """The whole store of the tenant is listed: a matter of minutes for a million files."""
    known = _known()
    there: set[str] = set()
    unknown = []
    for found in vault.found():
        there.add(found.storage_key)
        if found.storage_key not in known and found.at < now - YOUNG:
            unknown.append(found)
    files = RecordingFile.objects.exclude(state=RecordingFile.State.DELETED).defer("peaks").order_by("pk")
    old = files.filter(received_at__lt=now - YOUNG)
    return Strays(unknown, [file for file in old.iterator(chunk_size=AT_ONCE) if file.storage_key not in there])


def remove(unknown: Iterable[Found]) -> int:
    """Looks once more before each batch: a row may have come."""
    removed, waiting = 0, iter(unknown)
    while batch := list(islice(waiting, AT_ONCE)):
        known = _known(each.storage_key for each in batch)
        for found in batch:
            if found.storage_key not in known:
                vault.remove(found.storage_key)
                removed += 1
    return removed


def _known(keys: Iterable[str] | None = None) -> set[str]:
    """What the books name; of a deleted file nothing should be left."""
    files = RecordingFile.objects.exclude(state=RecordingFile.State.DELETED)
    zips = Bulk.objects.exclude(storage_key="")
    if keys is not None:
        wanted = list(keys)
        files, zips = files.filter(storage_key__in=wanted), zips.filter(storage_key__in=wanted)
    return {*files.values_list("storage_key", flat=True), *zips.values_list("storage_key", flat=True)}
