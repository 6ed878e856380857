"""Static files under hashed names, compressed ahead of time; plain names while debugging and testing.

The style sheets are written one file per component and served as one: `css/all.css` names them in order, and here its
imports are replaced by what they import.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.files.base import ContentFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

SHEET = "css/all.css"
_IMPORT = re.compile(r'^@import url\("(?P<name>[^"]+)"\) layer\((?P<layer>[^)]+)\);$', re.MULTILINE)
Paths = dict[str, tuple[Any, str]]  # where each file comes from: a finder's storage and the name in it


def _read(storage: Any, name: str) -> str:
    with storage.open(name) as file:
        return str(file.read().decode())


def joined(sheet: str, pieces: Mapping[str, str]) -> str:
    """The sheet with each import replaced by that piece in a layer block."""
    return _IMPORT.sub(lambda found: f"@layer {found['layer']} {{\n{pieces[found['name']]}}}", sheet)


class _Joined:
    """Stands in for the finder's storage and hands out the joined sheet."""

    def __init__(self, content: str) -> None:
        self.content = content

    def open(self, name: str) -> "ContentFile[bytes]":
        return ContentFile(self.content.encode(), name)


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """A name that the manifest lacks is served as it is: the start-up check, not a page, tells of a missing file."""

    manifest_strict = False

    def post_process(self, paths: Paths, *args: Any, **options: Any) -> Iterator[Any]:
        if SHEET in paths:
            sheet = _read(*paths[SHEET])
            folder = SHEET.rpartition("/")[0]
            pieces = {found["name"]: _read(*paths[f"{folder}/{found['name']}"]) for found in _IMPORT.finditer(sheet)}
            paths = paths | {SHEET: (_Joined(joined(sheet, pieces)), SHEET)}
        yield from super().post_process(paths, *args, **options)
