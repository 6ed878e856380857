from pathlib import Path

import pytest

from pbx.freeswitch.takes import Take, file_name, is_complete, key_of, still_running
from tenants.models import SwitchCommand
from tests.pbx.freeswitch.fake import MP4, WAV

Command, State = SwitchCommand.Command, SwitchCommand.State


def order(command: Command, recording_id: str = "7", medium: str = "audio", state: State = State.DONE) -> SwitchCommand:
    return SwitchCommand(
        command=command, recording_id=recording_id, segment=1, medium=medium, state=state, tenant_id=1, session_id="s",
        options={"pause_style": "silence"} if command == Command.START else {},
    )  # fmt: skip


def take(recording_id: str = "7", medium: str = "audio", *, paused: bool = False, muted: bool = False) -> Take:
    return Take(recording_id, 1, "s", medium, True, False, is_paused=paused, is_muted=muted)


def facts(takes: list[Take]) -> list[tuple[object, ...]]:
    return [
        (each.key, each.session_id, each.medium, each.keeps_pauses, each.is_paused, each.is_muted) for each in takes
    ]


@pytest.mark.parametrize(
    ("rows", "running"),
    [
        ([], []),
        ([order(Command.START)], [take()]),
        ([order(Command.START, state=State.PENDING)], []),
        ([order(Command.START), order(Command.STOP)], []),
        ([order(Command.START), order(Command.PAUSE)], [take(paused=True)]),
        ([order(Command.START), order(Command.PAUSE, state=State.FAILED)], [take()]),
        ([order(Command.START), order(Command.PAUSE), order(Command.RESUME)], [take()]),
        ([order(Command.PAUSE)], []),
        (
            [order(Command.START), order(Command.START, "8", "video"), order(Command.PAUSE, "8", "audio")],
            [take(), take("8", "video", muted=True)],
        ),
        ([order(Command.START, "8", "video"), order(Command.PAUSE, "8", "video")], [take("8", "video", paused=True)]),
    ],
)
def test_what_runs_follows_from_what_was_ordered(rows: list[SwitchCommand], running: list[Take]) -> None:
    assert facts(still_running(rows)) == facts(running)


def test_a_file_is_known_by_its_name() -> None:
    assert [file_name("7", 2, "audio"), file_name("7", 2, "video")] == ["voxledger-7-2.wav", "voxledger-7-2.mp4"]
    assert key_of("voxledger-7-2.mp4") == ("7", 2)
    for name in ("7-2.wav", "voxledger-7.wav", "voxledger-7-2.wav.part", "voxledger-x-2.wav", "voxledger-7-2.exe"):
        assert key_of(name) is None


@pytest.mark.parametrize(
    ("name", "data", "complete"),
    [
        ("a.wav", WAV, True),
        ("a.wav", WAV + b"\0\0", False),
        ("a.wav", WAV[:-2], False),
        ("a.wav", b"", False),
        ("a.mp4", MP4, True),
        ("a.mp4", MP4[:-8], False),  # no index yet
        ("a.mp4", MP4[:-2], False),
        ("a.mp4", b"\0\0\0\x30ftypisom", False),  # the 48 bytes that FreeSWITCH calls the size of a film
        ("a.mp4", b"\0\0\0\0" * 4, False),
        ("a.mp4", b"\0\0\0\1moov" + (16).to_bytes(8, "big"), True),
        ("a.mp4", b"", False),
    ],
)
def test_a_file_is_complete_when_it_was_closed(tmp_path: Path, name: str, data: bytes, complete: bool) -> None:
    (tmp_path / name).write_bytes(data)
    assert is_complete(tmp_path / name) is complete
