"""What a take of a simulated call sounds like: each party hums a tone of its own, in syllables and in turn. Pure.

So whoever listens can tell by ear, or by a filter, who is in a file, and what is not.
"""

import io
import wave
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pbx.simulator.line import CALLER, Line, Span
from pbx.simulator.recorder import Take

RATE = 8_000
VOICES = (400, 520, 660, 740, 900)  # hertz, by the order in which the parties came; no one's overtone is another's tone
TURN_SECONDS = 1.6
_SYLLABLES = 4  # a second
_LOUD = 0.6
Samples = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def voice_of(number: int) -> int:
    return VOICES[number % len(VOICES)]


def moments_of(take: Take, rate: int) -> Samples:
    """When each sample of the file was: without the pauses when these are skipped."""
    moments = take.since + np.arange(int((take.until - take.since) * rate)) / rate
    return moments if take.leaves_silence else moments[~within(take.pauses, moments)]


def within(spans: Sequence[Span], moments: Samples) -> Mask:
    found = np.zeros(len(moments), dtype=bool)
    for span in spans:
        found |= (moments >= span.since) & (moments < (np.inf if span.until is None else span.until))
    return found


def who_talks(line: Line, moments: Samples) -> Mask:
    """A row for each speaker: whose turn it is among those who are connected. On hold it is nobody's."""
    if not line.speakers:
        return np.zeros((0, len(moments)), dtype=bool)
    connected = np.stack([within(speaker.spans, moments) for speaker in line.speakers])
    connected &= ~within(line.holds, moments)
    seconds = moments - line.since
    turn = ((seconds + np.sin(seconds)) // TURN_SECONDS).astype(int)  # nobody talks by the clock
    whose = turn % np.maximum(connected.sum(axis=0), 1)
    talks: Mask = connected & (connected.cumsum(axis=0) - 1 == whose)
    return talks


def tracks_of(take: Take, moments: Samples) -> list[Samples]:
    """One for all, or, when they are kept apart, the caller's and everybody else's."""
    heard = ~(within(take.pauses, moments) | within(take.silences, moments))
    talks = who_talks(take.line, moments)
    voices = [
        (speaker.leg, _humming(speaker.voice, moments - take.line.since) * (row & heard))
        for speaker, row in zip(take.line.speakers, talks, strict=True)
    ]
    silence = np.zeros(len(moments))
    if not take.dual_tracks:
        return [sum((samples for _, samples in voices), silence)]
    return [
        sum((samples for leg, samples in voices if leg == CALLER), silence),
        sum((samples for leg, samples in voices if leg != CALLER), silence),
    ]


def pcm_of(tracks: Sequence[Samples]) -> npt.NDArray[np.int16]:
    """Interleaved, a row for each moment."""
    return (np.stack(tracks, axis=1) * 32_767).astype("<i2")


def wav_of(take: Take) -> bytes:
    tracks = tracks_of(take, moments_of(take, RATE))
    into = io.BytesIO()
    with wave.open(into, "wb") as file:
        file.setnchannels(len(tracks))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm_of(tracks).tobytes())
    return into.getvalue()


def _humming(voice: int, seconds: Samples) -> Samples:
    """Syllables of different weight, and now and then a breath."""
    hertz = voice_of(voice)
    number = np.floor(seconds * _SYLLABLES)
    chance = np.modf(np.abs(np.sin(number * 12.9898 + voice * 78.233)) * 43_758.5453)[0]  # the same at each rendering
    weight = np.where(chance < 0.12, 0.0, 0.35 + 0.65 * chance)
    syllables = (1 - np.cos(2 * np.pi * _SYLLABLES * seconds)) / 2
    tone = np.sin(2 * np.pi * hertz * seconds) + 0.3 * np.sin(4 * np.pi * hertz * seconds)
    return np.asarray(_LOUD * weight * syllables * tone)
