"""`run.json`: what opens this installation. Readable by its owner alone, read again at every start.

What stands here is not set again; what is missing, because the file was lost, is set anew.
"""

import json
import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict


class KeptExtension(TypedDict):
    number: str
    sip_password: str


class KeptUser(TypedDict):
    username: str
    role: str
    password: str


class KeptTenant(TypedDict):
    id: str
    name: str
    url: str
    sip_domain: str
    username: str
    password: str
    api_token: str
    extensions: list[KeptExtension]
    users: list[KeptUser]


class KeptSystem(TypedDict):
    url: str
    username: str
    password: str
    api_token: str


class Kept(TypedDict):
    system: KeptSystem
    switch_token: NotRequired[str]
    tenants: list[KeptTenant]


def read(file: Path) -> dict[str, Any]:
    """Whatever the file holds; nothing when it is gone or was damaged."""
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(file: Path, kept: Kept) -> None:
    """In one step: a reader finds the former file or the new one, and a stranger neither."""
    half = file.with_suffix(".new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(kept, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    half.replace(file)
