"""What the player shows of one recording: its waveform and gaps, who speaks in which lane, where its file is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from django.utils import timezone

from cdr.callevents import CALLER_LEG, PartyKind
from cdr.ladder import Span, Track
from cdr.models import CDR, Target
from recordings import drawing, peaks, words
from recordings.drawing import Drawing, Place
from recordings.models import Gap, Recording, RecordingFile, Segment
from recordings.timeline import Missing, Piece, Stretch, stretches_of

_FAILED = Recording.State.FAILED
SPEEDS = ("0.5", "0.75", "1", "1.25", "1.5", "2", "3", "4")


@dataclass(frozen=True)
class Lane:
    number: str
    name: str = ""


@dataclass(frozen=True)
class Player:
    """A recording that can be played, or says why not; `start_s` is the second in the address."""

    recording: Recording
    drawing: Drawing
    lanes: tuple[Lane, ...]
    file: RecordingFile | None  # the first one: all segments of a recording are alike
    gaps: int
    missing_s: int
    soundless_s: int  # of a film whose picture went on
    start_s: float = 0.0
    speeds: tuple[str, ...] = SPEEDS

    @property
    def is_playable(self) -> bool:
        return self.recording.state == Recording.State.READY

    @property
    def has_silence(self) -> bool:
        """Some gap takes time in the recording, so that it can be skipped."""
        return bool(self.silences)

    @property
    def seconds(self) -> int:
        return round(self.recording.duration_ms / 1000)

    @property
    def scale(self) -> list[tuple[int, int, float, float]]:
        return list(self.drawing.scale)

    @property
    def silences(self) -> list[tuple[int, int]]:
        """Where there is nothing to hear or see."""
        whole = [place.stretch for place in self.drawing.places if not _is_only_sound(place)]
        silent = [stretch for stretch in whole if not stretch.is_cut]
        return [(stretch.begin_ms, stretch.end_ms) for stretch in silent]


def player_of(recording: Recording, call: CDR | None, *, start_s: float = 0.0) -> Player:
    """Reads the recording's segments, files and gaps."""
    segments = list(recording.segments.select_related("file").order_by("number"))
    files = [file for segment in segments if (file := _ready_file(segment))]
    waveform = _peaks(files)
    stretches = _stretches(recording, segments)
    is_dual = recording.dual_tracks and len(waveform.channels) == 2
    drawn = drawing.drawing_of(waveform.duration_ms, stretches, waveform, lanes=2 if is_dual else 1)
    gaps = [place for place in drawn.places if place.seconds]
    missing = [place for place in gaps if not _is_only_sound(place)]
    return Player(
        recording=recording,
        drawing=drawn,
        lanes=_lanes(recording, call, segments) if is_dual else (),
        file=files[0] if files else None,
        gaps=len(missing),
        missing_s=sum(place.seconds for place in missing),
        soundless_s=sum(place.seconds for place in gaps if _is_only_sound(place)),
        start_s=min(max(start_s, 0.0), recording.duration_ms / 1000),
    )


def peaks_of(recording: Recording) -> peaks.Peaks:
    segments = recording.segments.select_related("file").order_by("number")
    return _peaks([file for segment in segments if (file := _ready_file(segment))])


def stretches_of_recording(recording: Recording) -> list[Stretch]:
    return _stretches(recording, list(recording.segments.select_related("file").order_by("number")))


def track_of(recording: Recording) -> Track:
    """The recording on the time axis of its call, its gaps in their places."""
    segments = list(recording.segments.select_related("file").order_by("number"))
    spans = [_span(stretch) for stretch in _stretches(recording, segments, is_due=recording.state == _FAILED)]
    return Track("reel", recording.get_medium_display(), recording.get_state_display().lower(), spans)


def _span(stretch: Stretch) -> Span:
    if stretch.gap is None or stretch.gap.only_sound:
        what = f"Recorded, {stretch.gap.told[:1].lower()}{stretch.gap.told[1:]}" if stretch.gap else "Recorded"
        return Span("recording", stretch.since, stretch.until, what)
    return Span("paused-gap", stretch.since, stretch.until, stretch.gap.told)


def _is_only_sound(place: Place) -> bool:
    return place.stretch.gap is not None and place.stretch.gap.only_sound


def _peaks(files: list[RecordingFile]) -> peaks.Peaks:
    return peaks.joined([peaks.stored(bytes(file.peaks), file.channels, file.duration_ms) for file in files])


def _stretches(recording: Recording, segments: list[Segment], *, is_due: bool = True) -> list[Stretch]:
    """`is_due`: a file that is not there is missing; else it may still come."""
    now = timezone.now()
    ran = [segment for segment in segments if segment.started_at]
    pieces = [
        Piece(
            segment.started_at or now,
            segment.ended_at or recording.ended_at or now,
            file.duration_ms if (file := _ready_file(segment)) else 0,
        )
        for segment in ran
    ]
    if not is_due:
        pieces = [piece if piece.duration_ms else _expected(piece) for piece in pieces]
    gaps = [_missing(gap, recording) for gap in recording.gaps.all()]
    return stretches_of(pieces, gaps, silent_pauses=recording.pause_style == "silence")


def _expected(piece: Piece) -> Piece:
    return replace(piece, duration_ms=max(round((piece.until - piece.since).total_seconds() * 1000), 1))


def _missing(gap: Gap, recording: Recording) -> Missing:
    gap.recording = recording
    until = gap.until or recording.ended_at or timezone.now()
    return Missing(gap.since, until, gap.reason, words.gap_words(gap), only_sound=gap.medium != recording.medium)


def _ready_file(segment: Segment) -> RecordingFile | None:
    file: RecordingFile | None = getattr(segment, "file", None)
    return file if file and file.state == RecordingFile.State.READY else None


def _lanes(recording: Recording, call: CDR | None, segments: Sequence[Segment]) -> tuple[Lane, Lane]:
    """The caller, and the other side: the extensions that were in it, else the number that was called. In a segment
    that the caller was not in any more, whoever had been in the call the longest has the caller's track."""
    if call and any(_is_without_caller(segment) for segment in segments):
        targets = [each for each in call.targets.all() if each.answered_time and each.kind != PartyKind.SERVICE]
        sides = [_sides(recording, segment, targets) for segment in segments if _ready_file(segment)]
        first, other = ([side[track] for side in sides if side[track]] for track in (0, 1))
        if first and other:
            return Lane(_one_after_the_other(first)), Lane(_one_after_the_other(other))
    others = [number for number in recording.extensions if number != recording.caller] or [recording.callee]
    return (
        Lane(recording.caller, call.caller_display_name if call else ""),
        Lane(", ".join(others), call.final_display_name if call and len(others) == 1 else ""),
    )


def _is_without_caller(segment: Segment) -> bool:
    return bool(segment.legs) and all(target_id != CALLER_LEG for _, target_id in segment.legs)


def _sides(recording: Recording, segment: Segment, targets: Sequence[Target]) -> tuple[str, str]:
    """Who is heard on each track of it: those who were connected while it ran, in the order in which they came."""
    since, until = segment.started_at or recording.created_at, segment.ended_at or recording.ended_at
    there = [
        target
        for target in sorted(targets, key=lambda target: target.answered_time or target.start_time)
        if target.ended_time > since and (until is None or (target.answered_time or since) < until)
    ]
    numbers = list(dict.fromkeys(target.callee for target in there))
    if not _is_without_caller(segment):
        return recording.caller, ", ".join(numbers)
    return ", ".join(numbers[:1]), ", ".join(numbers[1:])


def _one_after_the_other(sides: Sequence[str]) -> str:
    return ", then ".join(side for before, side in pairwise(["", *sides]) if side != before)


def start_of(text: str) -> float:
    """The second in an address; nonsense is the beginning."""
    try:
        second = float(text)
    except ValueError:
        return 0.0
    return second if 0 <= second < 10**6 else 0.0
