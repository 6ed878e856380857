"""`manage.py verify_recordings_zip`: whether a ZIP of recordings is as the portal made it. Needs no database."""

import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recordings.bulk import COLUMNS, MANIFEST

BLOCK = 1024 * 1024
MOST_MANIFEST = 64 * 1024**2


class Command(BaseCommand):
    help = "Checks every recording in a ZIP against its manifest, and the ZIP against the hash its page shows."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--sha256", default="", help="the hash of the whole ZIP, as the page shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            whole = _digest_of_file(path)
            with zipfile.ZipFile(path) as archive:
                wrong, right = _compare(archive)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError) as error:
            raise CommandError(f"{path} is damaged, or no ZIP of recordings: {error}.") from error
        expected = options["sha256"].strip().lower()
        if expected and expected != whole:
            wrong.append(f"the ZIP: its SHA-256 is not {expected}")
        self.stdout.write(f"SHA-256 of the ZIP: {whole}")
        for problem in wrong:
            self.stdout.write(f"WRONG  {problem}")
        self.stdout.write(f"{right} right, {len(wrong)} wrong.")
        if wrong:
            raise CommandError(f"{path.name} is not as the portal made it.")


def _compare(archive: zipfile.ZipFile) -> tuple[list[str], int]:
    listed = _listed(archive)
    there = [info.filename for info in archive.infolist()]
    wrong = [f"{name}: twice in the ZIP" for name in sorted({name for name in there if there.count(name) > 1})]
    wrong += [f"{name}: not in the manifest" for name in there if name != MANIFEST and name not in listed]
    right = 0
    for name, (size, sha256) in listed.items():
        if name not in there:
            wrong.append(f"{name}: missing")
        elif problem := _problem(archive, name, size, sha256):
            wrong.append(f"{name}: {problem}")
        else:
            right += 1
    return wrong, right


def _listed(archive: zipfile.ZipFile) -> dict[str, tuple[str, str]]:
    """Size and hash of each file by the manifest. A recording without a file has a line but no name."""
    try:
        info = archive.getinfo(MANIFEST)
    except KeyError as error:
        raise zipfile.BadZipFile(f"it has no {MANIFEST}") from error
    if info.file_size > MOST_MANIFEST:
        raise zipfile.BadZipFile(f"its {MANIFEST} is too long")
    rows = csv.DictReader(io.StringIO(archive.read(info).decode("utf-8"), newline=""))
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise zipfile.BadZipFile(f"its {MANIFEST} has other columns")
    return {row["file"]: (row["size"], row["sha256"]) for row in rows if row["file"]}


def _problem(archive: zipfile.ZipFile, name: str, size: str, sha256: str) -> str:
    digest, count = hashlib.sha256(), 0
    try:
        with archive.open(name) as file:
            while block := file.read(BLOCK):
                digest.update(block)
                count += len(block)
    except zipfile.BadZipFile as error:
        return f"damaged ({error})"
    if str(count) != size:
        return f"{count} bytes, and {size} by the manifest"
    return "" if digest.hexdigest() == sha256 else "its SHA-256 is not the manifest's"


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
