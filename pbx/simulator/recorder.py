"""The simulated switch's recorder: does what it is commanded, and knows what each file must hold. Pure.

Like a real one it starts, pauses, resumes and stops a segment of one medium of one call, and says what it cannot do.
"""

from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pbx.simulator.line import Line, Span

_REMEMBERED = 1_000
NO_CALL = "There is no such call."
NO_VIDEO = "This call has no video."
NOT_RECORDING = "Nothing is recorded there."


@dataclass(slots=True)
class Take:
    """A segment: from when it was recorded, until when, and how it was paused. Of a film its sound may pause alone."""

    recording_id: str
    segment: int
    session_id: str
    is_video: bool
    line: Line
    since: float
    until: float = 0.0
    dual_tracks: bool = False
    leaves_silence: bool = False
    pauses: list[Span] = field(default_factory=list)
    silences: list[Span] = field(default_factory=list)

    def pauses_of(self, medium: str) -> list[Span]:
        return self.silences if self.is_video and medium == "audio" else self.pauses


class Recorder:
    """Hears what the switch says of its calls; gives back each take as it ends."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._takes: dict[tuple[str, int], Take] = {}
        self._over: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)

    def hear(self, event: Mapping[str, Any], at: float) -> list[Take]:
        session_id = event["session_id"]
        if event["type"] == "call.started":
            self._lines[session_id] = Line(since=at)
        line = self._lines.get(session_id)
        if line is None:
            return []
        if event["type"] == "session.merged" and (into := self._lines.get(event["into"])):
            into.take_over(line, at)
        line.hear(event, at)
        if event["type"] not in ("call.ended", "session.merged"):
            return []
        del self._lines[session_id]
        return [self._end(key, at) for key, take in list(self._takes.items()) if take.session_id == session_id]

    def obey(self, command: Mapping[str, Any], at: float) -> tuple[str, list[Take]]:
        """Why it could not be done, "" when it was, and what has ended by it. Doing it again is harmless."""
        key = (command["recording_id"], command["segment"])
        match command["command"]:
            case "start_recording":
                return self._start(key, command, at), []
            case "stop_recording" if key in self._takes:
                return "", [self._end(key, at)]
            case "stop_recording" if key in self._over:
                return "", []
            case "pause_recording" if take := self._takes.get(key):
                pauses = take.pauses_of(command["medium"])
                if not pauses or pauses[-1].until is not None:
                    pauses.append(Span(at))
                return "", []
            case "resume_recording" if take := self._takes.get(key):
                _close(take.pauses_of(command["medium"]), at)
                return "", []
        return NOT_RECORDING, []

    def _start(self, key: tuple[str, int], command: Mapping[str, Any], at: float) -> str:
        if key in self._takes:
            return ""
        line = self._lines.get(command["session_id"])
        if line is None:
            return NO_CALL
        is_video = command["medium"] == "video"
        if is_video and not line.has_video:
            return NO_VIDEO
        options = command.get("options") or {}
        self._takes[key] = Take(
            recording_id=key[0],
            segment=key[1],
            session_id=command["session_id"],
            is_video=is_video,
            line=line,
            since=at,
            dual_tracks=bool(options.get("dual_tracks")),
            leaves_silence=options.get("pause_style") == "silence",
        )
        return ""

    def _end(self, key: tuple[str, int], at: float) -> Take:
        take = self._takes.pop(key)
        take.until = at
        take.line = deepcopy(take.line)  # the call may go on while the file is made
        _close(take.pauses, at)
        _close(take.silences, at)
        self._over.append(key)
        return take


def _close(spans: list[Span], at: float) -> None:
    if spans and spans[-1].until is None:
        spans[-1].until = at
