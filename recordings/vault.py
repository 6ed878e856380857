"""Keeps the files of recordings: under random keys, encrypted when the settings say so, readable from any place on.

Everything works in the schema of the tenant whose file it is. What fails is a `VaultError`, and leaves nothing behind.
"""

import hashlib
import io
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, Self, cast

import structlog
from django.conf import settings
from django.core.files.storage import storages

from recordings import keys
from recordings.errors import DamagedError, GoneError, VaultError
from recordings.models import RecordingFile
from recordings.sealing import CHUNK, TAG, DataKey, Opener, Sealer, place_of
from recordings.stores import INCOMING, Found, Stretch, told_plainly
from tenants.schemas import current_schema

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 4 * CHUNK  # so much at most is in memory of a file that is read
_ABANDONED = timedelta(days=1)
_SWEEP_SECONDS = 3600.0

log = structlog.get_logger(__name__)


class Store(Protocol):
    """What the vault asks of `STORAGES["recordings"]`."""

    def put(self, storage_key: str, file: Path) -> None: ...
    def stretch(self, storage_key: str, start: int, length: int) -> Stretch: ...
    def remove(self, storage_key: str) -> None: ...
    def found(self, prefix: str) -> Iterator[Found]: ...


class Kept(Protocol):
    """What must be known of a file to read it: a `RecordingFile`, a `Stored`, or a row of its own kind."""

    @property
    def storage_key(self) -> str: ...
    @property
    def wrapped_key(self) -> bytes | memoryview: ...
    @property
    def size(self) -> int: ...


@dataclass(slots=True)
class Stored:
    """A file that lies whole in the store; `size` and `sha256` are those of what it holds."""

    storage_key: str
    wrapped_key: bytes  # empty: stored in the clear
    size: int
    sha256: str


def store() -> Store:
    return cast(Store, storages["recordings"])


# --- In ----------------------------------------------------------------------------------------------------


def writer() -> "Writer":
    return Writer()


class Writer:
    """Takes a file piece by piece; `close` puts it into the store. An exception in its block undoes that too."""

    def __init__(self) -> None:
        self._storage_key = _new_storage_key(current_schema())
        self._incoming = Path(settings.MEDIA_ROOT) / INCOMING / secrets.token_hex(16)
        self._digest = hashlib.sha256()
        self._size = 0
        self._stored: Stored | None = None
        self._wrapped = b""
        self._sealer: Sealer | None = None

    def __enter__(self) -> Self:
        if settings.RECORDING_ENCRYPTION:
            data_key = keys.new_data_key()
            self._wrapped, self._sealer = keys.wrap(data_key, self._storage_key), Sealer(data_key)
        with told_plainly():
            self._incoming.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            _sweeper.sweep_now_and_then()
            self._file = os.fdopen(os.open(self._incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):  # what cannot be flushed is not wanted any more
            self._file.close()
        self._incoming.unlink(missing_ok=True)
        if error is not None and self._stored is not None:
            discard(self._stored.storage_key)

    @property
    def size(self) -> int:
        return self._size

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)
        with told_plainly():
            self._file.write(self._sealer.feed(data) if self._sealer else data)

    def close(self) -> Stored:
        """Once. The file is in the store when this is back, and survives a power failure."""
        with told_plainly():
            if self._sealer:
                self._file.write(self._sealer.end())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        try:
            store().put(self._storage_key, self._incoming)
        except BaseException:
            discard(self._storage_key)
            raise
        self._stored = Stored(self._storage_key, self._wrapped, self._size, self._digest.hexdigest())
        return self._stored


def _new_storage_key(schema: str) -> str:
    name = secrets.token_hex(16)
    return f"{schema}/{name[:2]}/{name}"


class _Sweeper:
    """Each machine has a folder of its own for what arrives, so that it is swept by whoever writes there."""

    def __init__(self) -> None:
        self._next = 0.0

    def sweep_now_and_then(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SWEEP_SECONDS
            sweep_incoming(datetime.now(UTC))


_sweeper = _Sweeper()


def sweep_incoming(now: datetime) -> int:
    """Removes what processes that were killed have left half written."""
    folder = Path(settings.MEDIA_ROOT) / INCOMING
    swept = 0
    for each in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):  # gone meanwhile, or another user's: that keeps nobody from storing
            if _last_touched(each) < now - _ABANDONED:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
                swept += 1
    return swept


def _last_touched(path: Path) -> datetime:
    """Of a folder: when something in it was."""
    within = path.rglob("*") if path.is_dir() else ()
    return datetime.fromtimestamp(max(each.stat().st_mtime for each in (path, *within)), UTC)


def workplace(name: str) -> Path:
    """A folder for what must lie in the clear until it is stored: its owner's alone, and swept like what arrives."""
    folder = Path(settings.MEDIA_ROOT) / INCOMING / name
    folder.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def clear_workplace(name: str) -> None:
    """At the start of whoever works there: what it left when it was killed."""
    shutil.rmtree(Path(settings.MEDIA_ROOT) / INCOMING / name, ignore_errors=True)


# --- Out ---------------------------------------------------------------------------------------------------


def read(file: Kept, start: int = 0, end: int | None = None) -> "Reading":
    """The bytes from `start` to before `end`, a block at a time. Opened at once, so that what is missing shows at once;
    from then on it needs no database."""
    return _Source.of(file).read(start, end)


def open_file(file: Kept) -> BinaryIO:
    """For whoever needs to seek, such as a demultiplexer."""
    return cast(BinaryIO, io.BufferedReader(_Seekable(_Source.of(file)), buffer_size=CHUNK))


@dataclass(frozen=True, slots=True)
class Direct:
    """How somebody else may serve the file in our place: by this response header."""

    header: Literal["X-Accel-Redirect", "Location"]
    value: str


def plain_url_or_path(file: Kept, *, file_name: str = "", content_type: str = "") -> Direct | None:
    """None when it must go through us: it is encrypted, or nothing of that kind is configured."""
    if file.wrapped_key:
        return None
    if settings.X_ACCEL_PREFIX:
        return Direct("X-Accel-Redirect", f"{settings.X_ACCEL_PREFIX.rstrip('/')}/{file.storage_key}")
    if settings.S3_LINK_SECONDS:
        from recordings.s3 import S3Store  # only where there is such a store

        bucket = storages["recordings"]
        if isinstance(bucket, S3Store):
            link = bucket.link(
                file.storage_key, settings.S3_LINK_SECONDS, file_name=file_name, content_type=content_type
            )
            return Direct("Location", link)
    return None


@dataclass(frozen=True, slots=True)
class _Source:
    """A file with its data key at hand."""

    storage_key: str
    size: int
    data_key: DataKey | None

    @classmethod
    def of(cls, file: Kept) -> "_Source":
        wrapped = bytes(file.wrapped_key)
        return cls(file.storage_key, file.size, keys.unwrap(wrapped, file.storage_key) if wrapped else None)

    def read(self, start: int, end: int | None) -> "Reading":
        end = self.size if end is None else min(end, self.size)
        start = min(max(start, 0), end)
        if self.data_key is None:
            return Reading(store().stretch(self.storage_key, start, end - start), start, end, None)
        opener = Opener(self.data_key, self.size)
        begin = place_of(start // CHUNK)
        return Reading(store().stretch(self.storage_key, begin, opener.place_after(end) - begin), start, end, opener)


class Reading(Iterator[bytes]):
    """The blocks of a stretch; whoever stops early closes it."""

    def __init__(self, stretch: Stretch, start: int, end: int, opener: Opener | None) -> None:
        self._stretch, self._at, self._end, self._opener = stretch, start, end, opener

    def __next__(self) -> bytes:
        if self._at >= self._end:
            self.close()
            raise StopIteration
        try:
            block = self._plain() if self._opener is None else self._opened(self._opener)
        except BaseException:
            self.close()
            raise
        self._at += len(block)
        return block

    def close(self) -> None:
        self._stretch.close()

    def _plain(self) -> bytes:
        return self._exactly(min(BLOCK, self._end - self._at))

    def _opened(self, opener: Opener) -> bytes:
        first = self._at // CHUNK
        begin, until = first * CHUNK, min((first * CHUNK) + BLOCK, self._end)
        sealed = self._exactly(opener.place_after(until) - place_of(first))
        size = CHUNK + TAG
        opened = b"".join(
            opener.open(first + number, sealed[place : place + size])
            for number, place in enumerate(range(0, len(sealed), size))
        )
        return opened[self._at - begin : until - begin]

    def _exactly(self, amount: int) -> bytes:
        with told_plainly():
            parts = []
            while amount and (part := self._stretch.read(amount)):
                parts.append(part)
                amount -= len(part)
        if amount:
            raise DamagedError
        return b"".join(parts)


class _Seekable(io.RawIOBase):
    """A file with a block of it at hand."""

    def __init__(self, source: _Source) -> None:
        self._source, self._at = source, 0
        self._number, self._block = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("A file has nothing before its beginning.")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        if self._at >= self._source.size:
            return 0
        number, place = divmod(self._at, BLOCK)
        if number != self._number:
            self._block = b"".join(self._source.read(number * BLOCK, (number + 1) * BLOCK))
            self._number = number
        into = memoryview(buffer).cast("B")
        part = self._block[place : place + len(into)]
        into[: len(part)] = part
        self._at += len(part)
        return len(part)


# --- Away --------------------------------------------------------------------------------------------------


def delete(file: RecordingFile) -> None:
    """Its key first: from then on no copy of it can be read, wherever one lies. What is gone already is no failure."""
    RecordingFile.objects.filter(pk=file.pk).update(state=RecordingFile.State.DELETED, wrapped_key=b"")
    file.state, file.wrapped_key = RecordingFile.State.DELETED, b""
    remove(file.storage_key)


def remove(storage_key: str) -> None:
    with suppress(GoneError):
        store().remove(storage_key)


def discard(storage_key: str) -> None:
    """Of a file that no row will know; a store that fails here keeps it for the reconciliation to find."""
    try:
        remove(storage_key)
    except VaultError as error:
        log.warning("a file without a row may be left in the store", storage_key=storage_key, error=error.code)


def found() -> Iterator[Found]:
    """All that lies in the store of the tenant whose schema this is, in no order."""
    return store().found(current_schema())


def drop_all(schema: str) -> int:
    """Of a tenant that is deleted; its keys go with its schema."""
    dropped = 0
    for each in store().found(schema):
        remove(each.storage_key)
        dropped += 1
    return dropped
