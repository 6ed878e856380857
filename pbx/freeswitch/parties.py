"""Who is who: the party behind a channel, its trunk, its tenant's domain."""

from cdr.callevent_json import DESTINATION_MAX, DOMAIN_MAX, NUMBER_MAX, TRUNK_MAX
from cdr.callevents import Party, PartyKind
from pbx.freeswitch.names import Trunks, host_of, is_number, uri_of, user_of
from pbx.freeswitch.state import Channel, Session


class Parties:
    """Knows the portal's trunks, which tell a line to the outside from a phone."""

    def __init__(self, trunks: Trunks) -> None:
        self.trunks = trunks

    def is_user(self, direction: str, variables: dict[str, str]) -> bool:
        """Whether a new leg is an extension's: one that signed in, or one that the dialplan dials as a user."""
        if direction == "inbound":
            return bool(variables.get("user_name") or variables.get("sip_auth_username"))
        if variables.get("sip_gateway_name") or variables.get("sip_profile_name") == "gateway":
            return False
        return bool(variables.get("dialed_user")) or not self.trunks.at(_destination_host(variables))

    def trunk_of(self, channel: Channel) -> str:
        """The name of the trunk that a channel goes over; empty for an extension's."""
        if channel.is_user:
            return ""
        told = channel.variables
        name = told.get("sip_gateway_name", "") or told.get("trunk_name", "")
        hosts = [told.get("sip_network_ip", ""), told.get("sip_received_ip", ""), told.get("sip_from_host", "")]
        if channel.direction == "outbound":
            hosts = [_destination_host(told)]
        return (self.trunks.name_of(name) or name or self.trunks.at(*hosts))[:TRUNK_MAX]

    def domain_of(self, channel: Channel) -> str:
        """The tenant's SIP domain, as far as the channel tells it."""
        told = channel.variables
        return (told.get("domain_name", "") or told.get("dialed_domain", ""))[:DOMAIN_MAX]

    def caller(self, session: Session) -> Party:
        caller = session.caller
        if caller.is_user:
            return _extension(caller)
        domain = caller.variables.get("sip_from_host", "")[:DOMAIN_MAX]
        return Party(session.caller_number or "anonymous", PartyKind.EXTERNAL, caller.caller_name, domain)

    def did(self, session: Session) -> str:
        """The number that was dialled from outside."""
        if session.caller.is_user:
            return ""
        told = session.caller.variables
        return (told.get("did_number", "") or told.get("sip_req_user", "") or session.dialled)[:NUMBER_MAX]

    def dialler(self, session: Session, channel: Channel) -> Party | None:
        """Who has another one dialled; None for the call's own caller."""
        target = session.targets.get(channel.uuid)
        return target.party if target and channel is not session.caller else None

    def dialled(self, channel: Channel) -> Party:
        if channel.is_user:
            return _extension(channel)
        return Party(channel.dialled or "anonymous", PartyKind.EXTERNAL)

    def destination(self, channel: Channel, party: Party) -> str:
        """The address that was dialled: the device's."""
        uri = uri_of(channel.variables.get("sip_destination_url", ""))
        return (uri or f"sip:{party.number}@{self.domain_of(channel)}")[:DESTINATION_MAX]

    def outbound_caller_id(self, session: Session, channel: Channel, dialler: Channel) -> str:
        """The number shown to the outside, where the dialplan set one."""
        party = self.dialler(session, dialler) or self.caller(session)
        return channel.caller_id if channel.caller_id != party.number else ""


def first_callee(number: str, party: Party) -> Party:
    """Whom a call was for: the number that led to its first target."""
    return Party(number, party.kind) if is_number(number) else party


def _extension(channel: Channel) -> Party:
    told = channel.variables
    if channel.direction == "inbound":
        number, name = told.get("user_name", "") or told.get("sip_auth_username", ""), channel.caller_name
        name = told.get("effective_caller_id_name", "") or name
    else:
        presence = user_of(told.get("presence_id", ""))
        number, name = told.get("dialed_user", "") or presence or channel.dialled, ""
    return Party((number or channel.caller_id or "anonymous")[:NUMBER_MAX], PartyKind.EXTENSION, name)


def _destination_host(variables: dict[str, str]) -> str:
    return host_of(uri_of(variables.get("sip_destination_url", "")))
