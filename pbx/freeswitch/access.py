"""Where a FreeSWITCH is and how to sign in: what `Switch.address` and `Switch.credentials` hold for this kind.

address:     host (required), port (8021), recordings_path (where FreeSWITCH writes, as it sees it),
             recordings_folder (the same folder as the portal sees it; empty when files are uploaded from over there),
             cdr_folder (the JSON CDR spool as the portal sees it; empty when there is none)
credentials: password (required)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tenants.crypto import SecretUnreadableError, decrypt
from tenants.models import Switch

RECORDINGS_PATH = "/var/lib/freeswitch/recordings/voxledger"
_PATH = re.compile(r"/[A-Za-z0-9._/-]*")  # it becomes a word of a command


class AccessError(Exception):
    """The switch is not fully configured; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Access:
    host: str
    port: int
    password: str
    recordings_path: str = RECORDINGS_PATH
    recordings_folder: Path | None = None
    cdr_folder: Path | None = None

    def __repr__(self) -> str:
        return f"Access({self.host}:{self.port})"  # no password in any log


def access_of(switch: Switch) -> Access:
    address = switch.address if isinstance(switch.address, dict) else {}
    host, password = _text(address, "host"), _text(_credentials_of(switch), "password")
    for name, value in (("host", host), ("password", password)):
        if not value:
            raise AccessError(f"The switch {switch.name} has no {name}: fill it in under Switches.")
    if "\n" in password or "\r" in password:
        raise AccessError(f"The password of the switch {switch.name} has a line break in it.")
    return Access(
        host=host,
        port=_port(switch, address),
        password=password,
        recordings_path=_path(switch, address, "recordings_path") or RECORDINGS_PATH,
        recordings_folder=_folder(switch, address, "recordings_folder"),
        cdr_folder=_folder(switch, address, "cdr_folder"),
    )


def _credentials_of(switch: Switch) -> Mapping[str, Any]:
    try:
        found = orjson.loads(decrypt(switch.credentials) or "{}")
    except SecretUnreadableError as error:
        raise AccessError(f"The credentials of the switch {switch.name} cannot be read: enter them again.") from error
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _path(switch: Switch, address: Mapping[str, Any], name: str) -> str:
    path = _text(address, name).rstrip("/")
    if path and not _PATH.fullmatch(path):
        raise AccessError(
            f"The {name} of the switch {switch.name} must be a full path of letters, digits and any of . _ - and /."
        )
    return path


def _folder(switch: Switch, address: Mapping[str, Any], name: str) -> Path | None:
    folder = _text(address, name)
    if not folder:
        return None
    if not Path(folder).is_absolute():
        raise AccessError(f"The {name} of the switch {switch.name} must be a full path.")
    return Path(folder)


def _port(switch: Switch, address: Mapping[str, Any]) -> int:
    value = address.get("port") or 8021
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise AccessError(f"The port of the switch {switch.name} is no port number.")
    return value
