"""What the names that Asterisk gives say: of channels, endpoints and dial strings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SIP_URI = re.compile(r"sips?:[^;>\s]+")


@dataclass(frozen=True, slots=True)
class Trunks:
    """The trunks of this switch: the name each has in the portal, by its endpoint's name in Asterisk."""

    names: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, endpoint: str) -> str:
        return self.names.get(endpoint, "")


def is_local(channel: str) -> bool:
    """One end of a Local channel: a piece of wire inside Asterisk, nobody's phone."""
    return channel.startswith("Local/")


def endpoint_of(channel: str) -> str:
    """`PJSIP/101@acme.test-0000001a` goes over the endpoint `101@acme.test`."""
    return channel.partition("/")[2].rpartition("-")[0]


def is_extension(endpoint: str) -> bool:
    """`101` and `alice@acme.test` are phones; `AudioCodes` is a trunk, also when nobody configured it."""
    user, at, _domain = endpoint.partition("@")
    return bool(at) or user.isdigit()


def domain_of(endpoint: str) -> str:
    return endpoint.partition("@")[2]


def number_dialled(dial_string: str) -> str:
    """The number in `5550199@AudioCodes`, `AudioCodes/sip:5550199@gateway`; empty when there is none."""
    uri = uri_dialled(dial_string)
    before, at, _ = uri.partition(":")[2].partition("@") if uri else dial_string.removeprefix("PJSIP/").partition("@")
    return before if at else ""


def uri_dialled(dial_string: str) -> str:
    """The SIP address in `101@acme.test/sip:101@192.0.2.7:5060;ob`."""
    found = _SIP_URI.search(dial_string)
    return found.group() if found else ""
