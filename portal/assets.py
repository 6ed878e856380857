"""Static files under hashed names, compressed ahead of time; plain names while debugging and testing.

The style sheets are written one file per component and served as one: `css/all.css` names them in order, and here its
imports are replaced by what they import.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.files.base import ContentFile
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

SHEET = "css/all.css"
_IMPORT = re.compile(r'^@import url\("(?P<name>[^"]+)"\) layer\((?P<layer>[^)]+)\);$', re.MULTILINE)
Paths = dict[str, tuple[Any, str]]  # where each file comes from: a finder's storage and the name in it


def joined(sheet: str, pieces: Mapping[str, str]) -> str:
    """The sheet with each import replaced by that piece in a layer block."""
    return _IMPORT.sub(lambda found: f"@layer {found['layer']} {{\n{pieces[found['name']]}}}", sheet)


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """A name that the manifest lacks is served as it is: a missing file is no reason to fail a page."""

    manifest_strict = False

    def post_process(self, paths: Paths, *args: Any, **options: Any) -> Iterator[Any]:
        if SHEET in paths:
            sheet = _read(*paths[SHEET])
            folder = SHEET.rpartition("/")[0]
            pieces = {found["name"]: _read(*paths[f"{folder}/{found['name']}"]) for found in _IMPORT.finditer(sheet)}
            paths = paths | {SHEET: (_Joined(joined(sheet, pieces)), SHEET)}
        yield from super().post_process(paths, *args, **options)


class _Joined:
    """Stands in for the finder's storage and hands out the joined sheet."""

    def __init__(self, content: str) -> None:
        self.content = content

    def open(self, name: str) -> "ContentFile[bytes]":
        return ContentFile(self.content.encode(), name)


def _read(storage: Any, name: str) -> str:
    with storage.open(name) as file:
        return str(file.read().decode())


def collect_if_changed() -> bool:
    """Collects the static files when one of them differs from last time, by name, size or age."""
    root = Path(settings.STATIC_ROOT)
    stamp, now = root / ".collected", _fingerprint()
    if stamp.exists() and stamp.read_text() == now:
        return False
    root.mkdir(parents=True, exist_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(now)
    return True


def _fingerprint() -> str:
    seen = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            file = Path(storage.path(path)).stat()
            seen.update(f"{path}:{file.st_size}:{file.st_mtime_ns}\n".encode())
    return seen.hexdigest()
