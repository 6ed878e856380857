"""Who is who: the party behind a channel, its trunk, its tenant's domain."""

import re

from cdr.callevent_json import DESTINATION_MAX, DOMAIN_MAX, NUMBER_MAX, TRUNK_MAX
from cdr.callevents import Party, PartyKind
from pbx.asterisk.names import Trunks, domain_of, endpoint_of, is_extension, number_dialled, uri_dialled
from pbx.asterisk.state import Channel, Session

_NUMBER = re.compile(r"[0-9*#+]+")


def is_number(exten: str) -> bool:
    """Not `s`, `h` or a name: something that people dial."""
    return bool(_NUMBER.fullmatch(exten))


class Parties:
    """Knows the portal's trunks, which tell a line to the outside from a phone."""

    def __init__(self, trunks: Trunks) -> None:
        self.trunks = trunks

    def trunk_of(self, channel: Channel) -> str:
        """The name of the trunk that a channel goes over; empty for an extension's."""
        endpoint = endpoint_of(channel.name)
        if named := self.trunks.name_of(endpoint) or channel.variables.get("TRUNK_NAME", ""):
            return named[:TRUNK_MAX]
        return "" if is_extension(endpoint) else endpoint[:TRUNK_MAX]

    def domain_of(self, channel: Channel) -> str:
        """The tenant's SIP domain, as far as the channel tells it."""
        own = "" if self.trunk_of(channel) else domain_of(endpoint_of(channel.name))
        return (channel.variables.get("TENANT_DOMAIN", "") or own)[:DOMAIN_MAX]

    def caller(self, session: Session) -> Party:
        caller = session.caller
        if not self.trunk_of(caller):
            return _extension(caller)
        domain = caller.variables.get("FROM_DOMAIN", "")[:DOMAIN_MAX]
        return Party(session.caller_number or "anonymous", PartyKind.EXTERNAL, caller.caller_name, domain)

    def dialler(self, session: Session, channel: Channel) -> Party | None:
        """Who has another one dialled; None for the call's own caller."""
        target = session.targets.get(channel.uniqueid)
        return target.party if target and channel is not session.caller else None

    def dialled(self, channel: Channel, dialler: Channel, dial_string: str) -> Party:
        if not self.trunk_of(channel):
            return _extension(channel)
        number = number_dialled(dial_string) or channel.caller_id or dialler.exten
        return Party(number[:NUMBER_MAX], PartyKind.EXTERNAL)

    def destination(self, channel: Channel, party: Party, dial_string: str) -> str:
        """The address that was dialled: the device's where the dialplan named it, else the endpoint's."""
        endpoint = endpoint_of(channel.name)
        host = domain_of(endpoint) or (endpoint if self.trunk_of(channel) else self.domain_of(channel))
        return (uri_dialled(dial_string) or f"sip:{party.number}@{host}")[:DESTINATION_MAX]

    def outbound_caller_id(self, session: Session, dialler: Channel) -> str:
        """The number shown to the outside, where the dialplan set one."""
        party = self.dialler(session, dialler) or self.caller(session)
        return dialler.caller_id if dialler.caller_id != party.number else ""


def first_callee(dialler: Channel, party: Party) -> Party:
    """Whom a call was for: the number that led to its first target."""
    number = dialler.exten if is_number(dialler.exten) else party.number
    return Party(number, party.kind, party.display_name if number == party.number else "")


def _extension(channel: Channel) -> Party:
    number = endpoint_of(channel.name).partition("@")[0]
    if not number.isdigit():
        number = channel.caller_id or number
    return Party(number[:NUMBER_MAX], PartyKind.EXTENSION, channel.caller_name)
