"""The film of a simulated video call: a real H.264 and AAC file, made as it is asked for.

It shows the parties as lights, of which the one who talks shines, the seconds as a bar, and that it is simulated.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer

from pbx.simulator.recorder import Take
from pbx.simulator.sound import Mask, moments_of, pcm_of, tracks_of, who_talks, within

WIDTH, HEIGHT, FRAMES = 320, 240, 10  # a second
_RATE = 16_000
_GROUND, _LIGHT, _DIM, _BAR = (24, 30, 42), (255, 190, 92), (74, 86, 108), (96, 165, 250)
_LETTERS = {
    "S": ("####", "#...", "####", "...#", "####"),
    "I": ("###", ".#.", ".#.", ".#.", "###"),
    "M": ("#...#", "##.##", "#.#.#", "#...#", "#...#"),
    "U": ("#..#", "#..#", "#..#", "#..#", "####"),
    "L": ("#...", "#...", "#...", "#...", "####"),
    "A": (".##.", "#..#", "####", "#..#", "#..#"),
    "T": ("###", ".#.", ".#.", ".#.", ".#."),
    "E": ("####", "#...", "###.", "#...", "####"),
    "D": ("###.", "#..#", "#..#", "#..#", "###."),
}
Picture = npt.NDArray[np.uint8]


def mp4_of(take: Take) -> bytes:
    with TemporaryDirectory(prefix="voxledger-film-") as folder:  # the index is moved to the front, which takes a file
        path = Path(folder, "film.mp4")
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            _write(container, take)
        return path.read_bytes()


def _write(container: OutputContainer, take: Take) -> None:
    picture = container.add_stream("libx264", rate=FRAMES)
    picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    picture.options = {"preset": "veryfast", "crf": "30"}
    picture.thread_count = 1
    sound = container.add_stream("aac", rate=_RATE)
    sound.layout = "stereo" if take.dual_tracks else "mono"
    for image in _pictures(take):
        container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    container.mux(picture.encode())
    samples = pcm_of(tracks_of(take, moments_of(take, _RATE)))
    if not len(samples):
        samples = np.zeros((_RATE // FRAMES, samples.shape[1]), dtype=np.int16)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=sound.layout.name)
    frame.sample_rate = _RATE
    container.mux(sound.encode(frame))
    container.mux(sound.encode())


def _pictures(take: Take) -> list[Picture]:
    """At least one, of which nothing can be seen: a film without any is none."""
    moments = moments_of(take, FRAMES)
    if not len(moments):
        return [_black()]
    talks = who_talks(take.line, moments)
    connected = np.stack([within(speaker.spans, moments) for speaker in take.line.speakers])
    hidden = within(take.pauses, moments)
    ground = _ground()
    return [
        _black() if hidden[number] else _drawn(ground, connected[:, number], talks[:, number], moment - take.line.since)
        for number, moment in enumerate(moments)
    ]


def _black() -> Picture:
    return np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)


def _ground() -> Picture:
    ground = np.full((HEIGHT, WIDTH, 3), _GROUND, dtype=np.uint8)
    place = 24
    for letter in "SIMULATED":
        rows = np.array([[point == "#" for point in row] for row in _LETTERS[letter]]).repeat(6, 0).repeat(6, 1)
        ground[24 : 24 + rows.shape[0], place : place + rows.shape[1]][rows] = _DIM
        place += rows.shape[1] + 6
    return ground


def _drawn(ground: Picture, connected: Mask, talks: Mask, seconds: float) -> Picture:
    picture = ground.copy()
    down, across = np.ogrid[:HEIGHT, :WIDTH]
    there = np.flatnonzero(connected)
    for place, number in enumerate(there):
        middle = WIDTH * (place + 1) // (len(there) + 1)
        radius = 34 if talks[number] else 26
        disc = (down - 140) ** 2 + (across - middle) ** 2 < radius**2
        picture[disc] = _LIGHT if talks[number] else _DIM
    picture[216:224, : int(WIDTH * (seconds % 10) / 10)] = _BAR
    return picture
