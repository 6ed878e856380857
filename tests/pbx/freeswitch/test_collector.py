"""The folder that FreeSWITCH shares: what is taken from it, what stays, and why."""

import os
from pathlib import Path

import pytest
from django.db import OperationalError

from pbx.connectors.orders import Key
from pbx.connectors.portal import NotTakenError
from pbx.freeswitch.collector import Collector
from tests.pbx.freeswitch.fake import MP4, WAV


class Portal:
    def __init__(self) -> None:
        self.taken: list[str] = []
        self.fault: Exception | None = None
        self.is_ours = True
        self.running: set[Key] = set()
        self.collector = Collector(lambda key: key not in self.running, self._deliver)

    async def _deliver(self, key: Key, path: Path) -> bool:
        if self.fault:
            raise self.fault
        self.taken.append(path.name)
        return self.is_ours


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "voxledger-7-1.wav").write_bytes(WAV)
    (tmp_path / "voxledger-8-1.mp4").write_bytes(MP4)
    (tmp_path / "own.wav").write_bytes(WAV)
    (tmp_path / "voxledger-9-1.wav").symlink_to(tmp_path / "own.wav")
    (tmp_path / "voxledger-9-2.wav").mkdir()
    return tmp_path


OTHERS = ["own.wav", "voxledger-9-1.wav", "voxledger-9-2.wav"]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_is_complete_is_taken_and_deleted(folder: Path) -> None:
    portal = Portal()
    await portal.collector.look(folder)
    assert sorted(portal.taken) == ["voxledger-7-1.wav", "voxledger-8-1.mp4"]
    assert left(folder) == OTHERS


async def test_what_is_being_recorded_or_not_closed_stays_for_now(folder: Path) -> None:
    portal = Portal()
    portal.running = {("7", 1)}
    (folder / "voxledger-8-1.mp4").write_bytes(MP4[:-8])
    await portal.collector.look(folder)
    assert portal.taken == []
    portal.running = set()
    os.utime(folder / "voxledger-8-1.mp4", (0, 0))  # nobody will close it any more
    await portal.collector.look(folder)
    assert sorted(portal.taken) == ["voxledger-7-1.wav", "voxledger-8-1.mp4"]


async def test_what_is_not_ours_stays_and_is_asked_about_once(folder: Path) -> None:
    portal = Portal()
    portal.is_ours = False
    await portal.collector.look(folder)
    await portal.collector.look(folder)
    assert sorted(portal.taken) == ["voxledger-7-1.wav", "voxledger-8-1.mp4"]
    assert left(folder) == [*OTHERS[:1], "voxledger-7-1.wav", "voxledger-8-1.mp4", *OTHERS[1:]]
    (folder / "voxledger-7-1.wav").write_bytes(WAV)
    os.utime(folder / "voxledger-7-1.wav", (1, 1))
    await portal.collector.look(folder)
    assert portal.taken[2:] == ["voxledger-7-1.wav"]


@pytest.mark.parametrize("fault", [NotTakenError("The store is full."), OperationalError("gone"), OSError("gone")])
async def test_what_cannot_be_taken_now_waits_and_says_why(folder: Path, fault: Exception) -> None:
    portal = Portal()
    portal.fault = fault
    await portal.collector.look(folder)
    assert portal.collector.trouble == f"Recordings wait on FreeSWITCH: {fault}"
    portal.fault = None
    await portal.collector.look(folder)
    assert (portal.collector.trouble, left(folder)) == ("", OTHERS)


async def test_a_fault_of_ours_stops_no_other_file(folder: Path) -> None:
    portal = Portal()
    portal.fault = RuntimeError("a bug")
    await portal.collector.look(folder)
    assert (portal.collector.trouble, len(left(folder))) == ("", 5)


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    portal = Portal()
    await portal.collector.look(tmp_path / "none")
    assert portal.collector.trouble.startswith("Recordings wait on FreeSWITCH: ")
