"""Brings finished recordings from the Asterisk to the portal: fetched when complete, put together, deleted there."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from django.db import DatabaseError, InterfaceError

from pbx.asterisk.ari import Ari, AriError, AriMissingError
from pbx.asterisk.tracks import BrokenTrackError, Sound, Track, is_complete, track_of, write_wav
from pbx.connectors.backoff import Backoff
from pbx.connectors.orders import Key, Running
from pbx.connectors.portal import NotTakenError
from recordings import vault

AT_ONCE = 2  # segments that are fetched at the same time
COMPLETE_WITHIN = 5.0  # seconds in which Asterisk closes the file of a call that is over
LOOK_EVERY = 0.2
Lack = Literal["", "missing", "broken", "open"]
_LACKS: Mapping[Lack, str] = {
    "missing": "missing on Asterisk",
    "broken": "unreadable",
    "open": "cut short when Asterisk ended",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Fetched:
    lack: Lack
    sound: Sound | None = None


class Collector:
    """What is to be fetched waits here, however long Asterisk or the database is away."""

    def __init__(
        self,
        ari: Callable[[], Ari],
        deliver: Callable[[Running, Path], Awaitable[None]],
        note_lack: Callable[[Running, str], Awaitable[None]],
        new_backoff: Callable[[], Backoff] = Backoff,
        *,
        workplace: str,
    ) -> None:
        """`workplace` names a folder that no other collector has: what lies there is from one that was killed."""
        vault.clear_workplace(workplace)
        self._workplace = workplace
        self._ari = ari
        self._deliver = deliver
        self._note_lack = note_lack
        self._new_backoff = new_backoff
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting: dict[Key, asyncio.Task[None]] = {}
        self.trouble = ""  # why what waits has to

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, running: Running, tracks: Sequence[Track]) -> None:
        if running.key in self._waiting or not (tracks or running.is_adopted):
            return
        task = asyncio.get_running_loop().create_task(self._collect(running, list(tracks)))
        self._waiting[running.key] = task
        task.add_done_callback(lambda _: self._waiting.pop(running.key, None))

    async def close(self) -> None:
        """What was not delivered stays on Asterisk, and is found there again."""
        tasks = list(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _collect(self, running: Running, tracks: list[Track]) -> None:
        backoff = self._new_backoff()
        while True:
            try:
                async with self._room:
                    await self._collect_now(running, tracks)
                self.trouble = ""
                return
            except (AriError, NotTakenError, DatabaseError, InterfaceError, OSError) as error:
                if str(error) != self.trouble:
                    self.trouble = str(error).strip()
                    log.warning("recording waits on Asterisk", recording=running.key, reason=self.trouble)
            except Exception:  # a fault of ours: the files stay where they are, and the others are fetched
                log.exception("recording cannot be taken", recording=running.key)
                return
            await asyncio.sleep(backoff.next())

    async def _collect_now(self, running: Running, tracks: list[Track]) -> None:
        async with self._ari() as ari:
            if running.is_adopted:
                tracks = sorted({*tracks, *await stored_tracks(ari, running.key)}, key=lambda track: track.began_ms)
            with tempfile.TemporaryDirectory(dir=vault.workplace(self._workplace)) as folder:
                found = [
                    await _fetched(ari, track, Path(folder, f"{number}.wav")) for number, track in enumerate(tracks)
                ]
                sounds = [each.sound for each in found if each.sound]
                if problem := _lack_of(running, found):
                    log.error("recording lacks something", recording=running.key, problem=problem)
                    await self._note_lack(running, problem)
                if not sounds:
                    return
                whole = Path(folder, "whole.wav")
                await asyncio.to_thread(
                    write_wav, whole, sounds, dual_tracks=running.dual_tracks, keeps_pauses=running.keeps_pauses
                )
                await self._deliver(running, whole)
            for sound in sounds:
                with contextlib.suppress(AriMissingError):
                    await ari.delete_recording(sound.track.name)


async def stored_tracks(ari: Ari, key: Key | None = None) -> list[Track]:
    """The tracks that lie on Asterisk: all, or those of one segment."""
    found = [track for name in await ari.stored_recordings() if (track := track_of(name))]
    return [track for track in found if key is None or (track.recording_id, track.segment) == key]


async def _fetched(ari: Ari, track: Track, target: Path) -> _Fetched:
    """The whole file. One that Asterisk never closed, because it died, is taken as far as it goes."""
    deadline = asyncio.get_running_loop().time() + COMPLETE_WITHIN
    size = -1
    while True:
        try:
            await ari.fetch_recording(track.name, target)
            if is_complete(target):
                return _Fetched("", Sound(track, target))
        except AriMissingError:
            return _Fetched("missing")
        except BrokenTrackError as error:
            broken = str(error)
        else:
            broken = ""
        former, size = size, target.stat().st_size
        if asyncio.get_running_loop().time() > deadline and former == size:
            if broken:
                log.error("track cannot be read", track=track.name, reason=broken)
                return _Fetched("broken")
            log.warning("track was never closed", track=track.name, size=size)
            return _Fetched("open", Sound(track, target))
        await asyncio.sleep(LOOK_EVERY)


def _lack_of(running: Running, found: Sequence[_Fetched]) -> str:
    """What the file of a segment does not have, in words; nothing when it has all."""
    if not found:
        return f"Asterisk has no file of segment {running.segment}."
    counts = Counter(each.lack for each in found)
    said = [f"{count} {_LACKS[lack]}" for lack, count in counts.items() if lack]
    whole = f"Segment {running.segment} is not whole. Of its {len(found)} tracks: {', '.join(said)}."
    return whole if said else ""
