"""Decides whether a call is recorded (specification, "Call Recording"). Pure: no clock, no database.

A call is an extension's call while that extension is a connected party. IVRs and queues are services, neither internal
nor external. Audio and video are decided apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from cdr.callevents import Medium, Party, PartyKind

MEDIA: tuple[Medium, ...] = ("audio", "video")
Override = Literal["", "start", "stop"]


class Rule(StrEnum):
    """The rule that made a decision; `TOLD` says each in words."""

    NOBODY_CONNECTED = "nobody_connected"
    NO_VIDEO = "no_video"
    TENANT_SWITCH = "tenant_switch"
    USER_SWITCH = "user_switch"
    SWITCHES_OFF = "switches_off"
    EXTERNAL_NUMBERS = "external_numbers"
    EXTERNAL_GOES_ON = "external_goes_on"
    NO_EXTENSION_YET = "no_extension_yet"
    BETWEEN_PARTIES = "between_parties"
    STARTED_BY_HAND = "started_by_hand"
    STOPPED_BY_HAND = "stopped_by_hand"


@dataclass(frozen=True, slots=True)
class Switches:
    """One level's two switches."""

    audio: bool = False
    video: bool = False

    def of(self, medium: Medium) -> bool:
        return self.audio if medium == "audio" else self.video


@dataclass(frozen=True, slots=True)
class Settings:
    """What is switched on: by the tenant for all, by each user, and by the system between external numbers."""

    tenant: Switches
    users: Mapping[str, Switches]  # by extension number; one that is not listed has both off
    record_external_calls: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """Who is connected now, and what was so far."""

    connected: Sequence[Party]
    has_video: bool
    was_recording: bool
    override: Override = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a medium is recorded, by which rule, and whose switch it was when it was a user's."""

    record: bool
    rule: Rule
    extension: str = ""


def decide(medium: Medium, situation: Situation, settings: Settings) -> Verdict:
    """The rules, first match first. A person's command holds until another, but never against the system switch."""
    if not situation.connected:  # before the first answer, or while a transfer looks for the next party
        return Verdict(
            situation.was_recording, Rule.BETWEEN_PARTIES if situation.was_recording else Rule.NOBODY_CONNECTED
        )
    if medium == "video" and not situation.has_video:
        return Verdict(False, Rule.NO_VIDEO)
    extensions = [party.number for party in situation.connected if party.kind is PartyKind.EXTENSION]
    if not extensions and is_external_to_external(situation.connected) and not settings.record_external_calls:
        return Verdict(False, Rule.EXTERNAL_NUMBERS)
    if situation.override:
        starts = situation.override == "start"
        return Verdict(starts, Rule.STARTED_BY_HAND if starts else Rule.STOPPED_BY_HAND)
    if extensions:
        return _by_switches(medium, extensions, settings)
    if not situation.was_recording:
        return Verdict(False, Rule.NO_EXTENSION_YET)
    return Verdict(
        True, Rule.EXTERNAL_GOES_ON if is_external_to_external(situation.connected) else Rule.BETWEEN_PARTIES
    )


def is_external_to_external(connected: Sequence[Party]) -> bool:
    """At least two parties that are no services, and all of these external."""
    people = [party.kind for party in connected if party.kind is not PartyKind.SERVICE]
    return len(people) > 1 and all(kind is PartyKind.EXTERNAL for kind in people)


def _by_switches(medium: Medium, extensions: Sequence[str], settings: Settings) -> Verdict:
    """Effective = tenant OR user; between two extensions one switch is enough."""
    if settings.tenant.of(medium):
        return Verdict(True, Rule.TENANT_SWITCH)
    for number in extensions:
        if settings.users.get(number, Switches()).of(medium):
            return Verdict(True, Rule.USER_SWITCH, number)
    return Verdict(False, Rule.SWITCHES_OFF)


_NAMES = {"audio": ("Record Audio Calls", "Enable extension audio recording"),
          "video": ("Record Video Calls", "Enable extension video recording")}  # fmt: skip


def told(medium: Medium, rule: Rule, extension: str = "") -> str:
    """The rule in a sentence, with the switches' names as the pages show them."""
    users_switch, tenants_switch = _NAMES[medium]
    match rule:
        case Rule.NOBODY_CONNECTED:
            return "Not recorded: nobody had answered."
        case Rule.NO_VIDEO:
            return "No video recorded: the call had no video."
        case Rule.TENANT_SWITCH:
            return f"Recorded: \u201c{tenants_switch}\u201d was on for the company."
        case Rule.USER_SWITCH:
            return f"Recorded: \u201c{users_switch}\u201d was on for extension {extension}."
        case Rule.SWITCHES_OFF:
            return (
                f"Not recorded: \u201c{users_switch}\u201d was off for each extension in the call, and for the company."
            )
        case Rule.EXTERNAL_NUMBERS:
            return (
                "Not recorded: all parties were external, and the system switch"
                " \u201cRecord the call between external numbers\u201d was off."
            )
        case Rule.EXTERNAL_GOES_ON:
            return (
                "Recorded on: all parties were external, and the system switch"
                " \u201cRecord the call between external numbers\u201d was on."
            )
        case Rule.NO_EXTENSION_YET:
            return "Not recorded: no extension was in the call."
        case Rule.BETWEEN_PARTIES:
            return "Recorded on: the other side was just being connected."
        case Rule.STARTED_BY_HAND:
            return "Recorded: started by hand."
        case Rule.STOPPED_BY_HAND:
            return "Not recorded: stopped by hand."
