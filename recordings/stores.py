"""Where recordings lie: Django storages that also take a finished file, hand out a stretch of one, and list all.

`recordings.s3` has the other one.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from django.core.files.storage import FileSystemStorage

from recordings.errors import GoneError, StoreForbiddenError, StoreFullError, StoreUnavailableError, VaultError

INCOMING = ".incoming"  # below the folder of recordings: files that are not whole yet
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Stretch(Protocol):
    """Bytes from some place on; fewer than asked for only at the end."""

    def read(self, amount: int, /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A file in the store, whether or not a row knows it."""

    storage_key: str
    size: int  # as it lies there: a sealed file is a little larger than what it holds
    at: datetime


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turns what the system or the store says into an error of ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise GoneError from error
    except OSError as error:
        raise _of_system(error) from error


def _of_system(error: OSError) -> VaultError:
    if error.errno in _FULL:
        return StoreFullError()
    if error.errno in _FORBIDDEN:
        return StoreForbiddenError()
    return StoreUnavailableError()


class LocalStore(FileSystemStorage):
    """A folder, `MEDIA_ROOT`. The group may read, so that a web server can serve what is not encrypted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(file_permissions_mode=0o640, directory_permissions_mode=0o750, **options)

    def put(self, storage_key: str, file: Path) -> None:
        """Renames it to its place, and is back when a power failure can no longer undo that."""
        target = Path(self.path(storage_key))
        with told_plainly():
            target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            file.chmod(0o640)
            file.rename(target)
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def stretch(self, storage_key: str, start: int, length: int) -> Stretch:
        with told_plainly():
            file = open(self.path(storage_key), "rb", buffering=0)  # noqa: SIM115 - the reader closes it
            file.seek(start)
        return file

    def remove(self, storage_key: str) -> None:
        with told_plainly():
            self.delete(storage_key)

    def found(self, prefix: str) -> Iterator[Found]:
        """In no order; a file that goes meanwhile is left out."""
        top = Path(self.path(prefix))
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                try:
                    about = path.stat()
                except FileNotFoundError:
                    continue
                key = path.relative_to(self.location).as_posix()
                yield Found(key, about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))
