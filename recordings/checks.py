"""Whether recordings can be kept where the settings say: told by `manage.py check`, and so before every command."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register()
def store(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if problem := _problem_of(Path(settings.MEDIA_ROOT)):
        found.append(Error(problem, id="recordings.E001"))
    if settings.PRODUCTION and not settings.RECORDING_ENCRYPTION:
        found.append(
            Warning(
                "RECORDING_ENCRYPTION is off: whoever can read the store can listen to every recording.",
                id="recordings.W001",
            )
        )
    elif settings.PRODUCTION and not settings.ENCRYPTION_KEYS:
        found.append(
            Warning(
                "ENCRYPTION_KEYS is not set: a new SECRET_KEY would make every recording unreadable.",
                id="recordings.W002",
            )
        )
    return found


def _problem_of(folder: Path) -> str:
    """A folder that somebody named must be there: a volume that is not mounted shall not be filled in its absence.

    The one of our own below VAR_DIR is made when it is first needed.
    """
    is_ours = Path(settings.VAR_DIR) in folder.parents
    if not folder.exists() and not is_ours:
        return f"MEDIA_ROOT, {folder}, does not exist: make the folder, or mount the volume that holds it."
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        return f"MEDIA_ROOT, {folder}, is no folder."
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"MEDIA_ROOT, {folder}, cannot be written by this user: change its owner or its permissions."
    return ""
