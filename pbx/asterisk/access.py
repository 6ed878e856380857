"""Where an Asterisk is and how to sign in: what `Switch.address` and `Switch.credentials` hold for this kind.

address:     host (required), ami_port (5038), ami_tls (false), http_port (8088), ari_url (http://<host>:<http_port>/ari)
credentials: ami_user, ami_password (both required), ari_user, ari_password (those of AMI when left out)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tenants.crypto import SecretUnreadableError, decrypt
from tenants.models import Switch


class AccessError(Exception):
    """The switch is not fully configured; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Access:
    host: str
    ami_port: int
    ami_tls: bool
    ami_user: str
    ami_password: str
    ari_url: str
    ari_user: str
    ari_password: str

    def __repr__(self) -> str:
        return f"Access({self.host}:{self.ami_port})"  # no password in any log


def access_of(switch: Switch) -> Access:
    address = switch.address if isinstance(switch.address, dict) else {}
    credentials = _credentials_of(switch)
    host = _text(address, "host")
    ami_user, ami_password = _text(credentials, "ami_user"), _text(credentials, "ami_password")
    for name, value in (("host", host), ("ami_user", ami_user), ("ami_password", ami_password)):
        if not value:
            raise AccessError(f"The switch {switch.name} has no {name}: fill it in under Switches.")
    return Access(
        host=host,
        ami_port=_port(switch, address, "ami_port", 5038),
        ami_tls=address.get("ami_tls") is True,
        ami_user=ami_user,
        ami_password=ami_password,
        ari_url=_text(address, "ari_url") or f"http://{host}:{_port(switch, address, 'http_port', 8088)}/ari",
        ari_user=_text(credentials, "ari_user") or ami_user,
        ari_password=_text(credentials, "ari_password") or ami_password,
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


def _port(switch: Switch, address: Mapping[str, Any], name: str, default: int) -> int:
    value = address.get(name) or default
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise AccessError(f"The {name} of the switch {switch.name} is no port number.")
    return value
