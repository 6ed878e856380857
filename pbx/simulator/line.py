"""Who is on the line of a simulated call, and when: told by the same events as the portal is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CALLER = "caller"


@dataclass(slots=True)
class Span:
    """From when, until when; it lasts while there is no end."""

    since: float
    until: float | None = None


@dataclass(slots=True)
class Speaker:
    """A party as it sounds: `voice` is its place among those who came to this line."""

    leg: str
    voice: int
    spans: list[Span] = field(default_factory=list)

    @property
    def is_connected(self) -> bool:
        return bool(self.spans) and self.spans[-1].until is None


@dataclass(slots=True)
class Line:
    """One session: its speakers, and when it was on hold. Times are Unix seconds."""

    since: float
    has_video: bool = False
    speakers: list[Speaker] = field(default_factory=list)
    holds: list[Span] = field(default_factory=list)
    caller_left: bool = False

    def hear(self, event: Mapping[str, Any], at: float) -> None:
        match event["type"]:
            case "call.started":
                self.has_video = "video" in event.get("media", ())
                self._speaker(CALLER)
            case "media.changed":
                self.has_video = "video" in event["media"]
            case "target.answered":
                self._connect(event["target_id"], at)
            case "target.ended":
                self._disconnect(event["target_id"], at)
            case "caller.left":
                self.caller_left = True
                self._close(self._speaker(CALLER), at)
            case "party.held":
                self.holds.append(Span(at))
            case "party.unheld":
                self._end_hold(at)
            case "call.ended" | "session.merged":
                self.end(at)

    def take_over(self, other: "Line", at: float) -> None:
        """The other session goes on as this one: whoever was called there now talks here."""
        for speaker in other.speakers:
            if speaker.leg != CALLER and speaker.is_connected:
                self._connect(speaker.leg, at)

    def end(self, at: float) -> None:
        for speaker in self.speakers:
            self._close(speaker, at)
        self._end_hold(at)

    def _connect(self, leg: str, at: float) -> None:
        speaker = self._speaker(leg)
        for each in (speaker, self._speaker(CALLER)):
            if not each.is_connected and not (each.leg == CALLER and self.caller_left):
                each.spans.append(Span(at))

    def _disconnect(self, leg: str, at: float) -> None:
        self._close(self._speaker(leg), at)
        if not any(each.is_connected for each in self.speakers if each.leg != CALLER):
            self._close(self._speaker(CALLER), at)  # until somebody else answers it talks to nobody

    def _speaker(self, leg: str) -> Speaker:
        known = next((each for each in self.speakers if each.leg == leg), None)
        if known is None:
            known = Speaker(leg, voice=len(self.speakers))
            self.speakers.append(known)
        return known

    def _close(self, speaker: Speaker, at: float) -> None:
        if speaker.is_connected:
            speaker.spans[-1].until = at

    def _end_hold(self, at: float) -> None:
        if self.holds and self.holds[-1].until is None:
            self.holds[-1].until = at
