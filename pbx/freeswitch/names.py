"""What FreeSWITCH's names and addresses say: of gateways, trunks, SIP addresses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SIP_URI = re.compile(r"sips?:[^;>\s]+")
_NUMBER = re.compile(r"[0-9*#+]+")
_UUID = re.compile(r"[0-9A-Za-z_-]{1,64}")  # origination_uuid lets a dialplan choose it


@dataclass(frozen=True, slots=True)
class Trunks:
    """The trunks of this switch: the name each has in the portal, by its gateway's name and by its host."""

    names: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, gateway: str) -> str:
        return self.names.get(gateway, "")

    def at(self, *hosts: str) -> str:
        return next((self.hosts[host] for host in hosts if host and host in self.hosts), "")


def is_number(text: str) -> bool:
    """Not the name of an extension of the dialplan: something that people dial."""
    return bool(_NUMBER.fullmatch(text))


def is_uuid(text: str) -> bool:
    """The id of a leg, fit to be a word of a command."""
    return bool(_UUID.fullmatch(text))


def uri_of(text: str) -> str:
    found = _SIP_URI.search(text)
    return found.group() if found else ""


def host_of(uri: str) -> str:
    """The host in `sip:102@192.0.2.7:5221;ob`."""
    host = uri.partition(":")[2].rpartition("@")[2].partition(";")[0]
    return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]


def user_of(address: str) -> str:
    """The user in `8000@acme.test`, with or without `sip:`."""
    return address.removeprefix("sip:").partition("@")[0]
