"""How recordings come from the Asterisk: whole, once, and not before they are complete."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pbx.asterisk import collector as module
from pbx.asterisk.ari import Ari
from pbx.asterisk.collector import Collector, stored_tracks
from pbx.asterisk.tracks import Track
from pbx.connectors.backoff import Backoff
from pbx.connectors.orders import Key, Running
from pbx.connectors.portal import NotTakenError
from tests.pbx.asterisk.fake import PASSWORD, USER, FakeAsterisk, fake_asterisk
from tests.pbx.asterisk.test_tracks import wav

RUNNING = Running(
    recording_id="7", segment=2, tenant_id=3, session_id="s-1", dual_tracks=False, keeps_pauses=False
)  # fmt: skip
ALICE = Track("7", 2, 1, 1_700_000_000_000, True, "17_0")
BOB = replace(ALICE, is_first=False, channel="17_1")
HELLO, HERE = [100] * 800, [20] * 800
BOTH = wav([120] * 800)


@pytest.fixture(autouse=True)
def incoming(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "recordings"
    return tmp_path / "recordings" / ".incoming"


def _soon() -> Backoff:
    return Backoff(first=0.02, limit=0.05)


class Desk:
    def __init__(self, fake: FakeAsterisk) -> None:
        self.fake = fake
        self.taken: list[tuple[tuple[str, int], bytes]] = []
        self.offered: list[Path] = []
        self.lacks: list[tuple[Key, str]] = []
        self.troubles: list[Exception] = []  # what goes wrong when the portal is to take a file, one after the other
        self.collector = Collector(self._ari, self._take, self._note, _soon, workplace="asterisk-1")

    def _ari(self) -> Ari:
        return Ari(f"http://127.0.0.1:{self.fake.http_port}/ari", USER, PASSWORD)

    async def _take(self, running: Running, path: Path) -> None:
        self.offered.append(path)
        if self.troubles:
            raise self.troubles.pop(0)
        self.taken.append((running.key, path.read_bytes()))

    async def _note(self, running: Running, problem: str) -> None:
        self.lacks.append((running.key, problem))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not is_so():
                await asyncio.sleep(0.01)

    async def until_idle(self) -> None:
        await self.until(lambda: not len(self.collector))


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with fake_asterisk() as fake:
        made = Desk(fake)
        try:
            yield made
        finally:
            await made.collector.close()


async def test_tracks_are_put_together_handed_over_and_deleted() -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO), BOB.name: wav(HERE), "voicemail/greeting": b"not ours"}
        at.collector.put(RUNNING, [ALICE, BOB])
        assert len(at.collector) == 1
        await at.until_idle()
        assert (at.taken, at.lacks) == ([(("7", 2), BOTH)], [])
        assert at.fake.stored == {"voicemail/greeting": b"not ours"}


async def test_what_is_put_together_lies_where_it_is_swept_and_nobody_else_reads(incoming: Path) -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO)}
        at.collector.put(RUNNING, [ALICE])
        await at.until_idle()
        [path] = at.offered
        assert path.parent.parent == incoming / "asterisk-1"
        assert (incoming / "asterisk-1").stat().st_mode & 0o777 == 0o700
        assert list((incoming / "asterisk-1").iterdir()) == []


async def test_what_a_killed_connector_left_is_gone_when_the_next_one_begins(incoming: Path) -> None:
    for place in ("asterisk-1", "asterisk-2"):
        (incoming / place / "tmp1").mkdir(parents=True)
        (incoming / place / "tmp1" / "whole.wav").write_bytes(b"a voice")
    async with desk():
        assert [path.relative_to(incoming).as_posix() for path in incoming.rglob("*.wav")] == [
            "asterisk-2/tmp1/whole.wav"
        ]


async def test_a_file_that_still_grows_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO), BOB.name: wav(HERE[:400], promised=0)}
        at.collector.put(RUNNING, [ALICE, BOB])
        await asyncio.sleep(0.1)
        assert at.taken == []
        at.fake.stored[BOB.name] = wav(HERE)
        await at.until_idle()
        assert at.taken == [(("7", 2), BOTH)]


async def test_a_file_that_asterisk_never_closed_is_taken_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "COMPLETE_WITHIN", 0.05)
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO[:400], promised=0)}
        at.collector.put(RUNNING, [ALICE])
        await at.until_idle()
        assert at.taken == [(("7", 2), wav(HELLO[:400]))]
        assert at.lacks == [(("7", 2), "Segment 2 is not whole. Of its 1 tracks: 1 cut short when Asterisk ended.")]


@pytest.mark.parametrize(
    ("broken", "lack"),
    [(None, "missing on Asterisk"), (b"", "cut short when Asterisk ended"), (b"<html>" * 20, "unreadable")],
)
async def test_a_track_that_is_missing_or_broken_does_not_spoil_the_others_and_is_told(
    monkeypatch: pytest.MonkeyPatch, broken: bytes | None, lack: str
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "COMPLETE_WITHIN", 0.05)
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO)} | ({} if broken is None else {BOB.name: broken})
        at.collector.put(RUNNING, [ALICE, BOB])
        await at.until_idle()
        assert at.taken == [(("7", 2), wav(HELLO))]
        assert at.lacks == [(("7", 2), f"Segment 2 is not whole. Of its 2 tracks: 1 {lack}.")]
        assert at.fake.stored == ({BOB.name: broken} if broken else {})  # somebody may yet make something of it


@pytest.mark.parametrize(
    ("tracks", "lack"),
    [
        ([ALICE, BOB], "Segment 2 is not whole. Of its 2 tracks: 2 missing on Asterisk."),
        ([], "Asterisk has no file of segment 2."),  # begun by an earlier connector
    ],
)
async def test_without_any_file_nothing_is_handed_over_and_that_is_told(tracks: list[Track], lack: str) -> None:
    async with desk() as at:
        at.collector.put(replace(RUNNING, is_adopted=not tracks), tracks)
        await at.until_idle()
        assert (at.taken, at.lacks) == ([], [(("7", 2), lack)])


async def test_what_the_portal_does_not_take_stays_and_is_offered_again() -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO)}
        at.troubles = [NotTakenError("The store is full."), OSError("No space left")]
        at.collector.put(RUNNING, [ALICE])
        await at.until(lambda: at.collector.trouble == "No space left")
        assert at.fake.stored == {ALICE.name: wav(HELLO)}
        await at.until_idle()
        assert at.taken == [(("7", 2), wav(HELLO))]
        assert (at.fake.stored, at.collector.trouble) == ({}, "")


async def test_a_fault_of_ours_leaves_the_file_where_it_is() -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO)}
        at.troubles = [ZeroDivisionError()]
        at.collector.put(RUNNING, [ALICE])
        await at.until_idle()
        assert (at.taken, at.fake.stored) == ([], {ALICE.name: wav(HELLO)})


async def test_while_ari_is_away_recordings_wait() -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO)}
        at.fake.password = "another"
        at.collector.put(RUNNING, [ALICE])
        await at.until(lambda: "refused the user voxledger" in at.collector.trouble)
        at.fake.password = PASSWORD
        await at.until_idle()
        assert at.taken == [(("7", 2), wav(HELLO))]


async def test_tracks_of_an_earlier_connector_are_found_on_asterisk() -> None:
    async with desk() as at:
        of_another_segment = replace(ALICE, segment=1)
        at.fake.stored = {each.name: wav(HELLO) for each in (of_another_segment, ALICE)} | {BOB.name: wav(HERE)}
        at.collector.put(replace(RUNNING, is_adopted=True), [BOB])
        await at.until_idle()
        assert at.taken == [(("7", 2), BOTH)]
        assert list(at.fake.stored) == [of_another_segment.name]
        async with at._ari() as ari:
            assert await stored_tracks(ari) == [of_another_segment]


async def test_a_segment_is_fetched_once_at_a_time_and_only_when_it_has_tracks() -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO)}
        for _ in range(3):
            at.collector.put(RUNNING, [ALICE])
        at.collector.put(replace(RUNNING, segment=3), [])
        assert len(at.collector) == 1
        await at.until_idle()
        assert at.taken == [(("7", 2), wav(HELLO))]


async def test_what_waits_when_the_connector_stops_stays_on_asterisk() -> None:
    async with desk() as at:
        at.fake.stored = {ALICE.name: wav(HELLO, promised=0)}
        at.collector.put(RUNNING, [ALICE])
        await asyncio.sleep(0.05)
        await at.collector.close()
        assert (at.taken, list(at.fake.stored), len(at.collector)) == ([], [ALICE.name], 0)
