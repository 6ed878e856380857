"""Has a file examined by `recordings.examiner` in a process of its own, with limits on time, memory and what it writes.

The process gets the bytes that it asks for and nothing else; when it dies of the file, the file is unfit.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any, BinaryIO, cast

from django.conf import settings

from recordings.examiner import ASK, LENGTH, UnfitError

MEMORY = 1024**3
BUFFER = 256 * 1024
_MOST_SAID = 64 * 1024
_SECONDS, _BYTES_A_SECOND = 30, 4_000_000  # of processor time: so much, and more for more bytes
_MOST_SECONDS = 900
_CLOCK = 2  # times as long as it may work: it waits for what it reads
_GROWN = 16  # G.711 in mono at 8 kHz beside a file in stereo at 32 kHz becomes so much
_NUMBERS = ("duration_ms", "channels", "sample_rate", "width", "height", "data_offset", "data_size")
_STARTED = "import sys; sys.path.append(sys.argv[1]); from recordings import examiner; examiner.main()"


class NothingRecordedError(Exception):
    """The file is well formed and holds no moment of sound or picture."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a file is."""

    duration_ms: int
    audio_codec: str = ""
    video_codec: str = ""
    channels: int = 0
    sample_rate: int = 0
    width: int = 0
    height: int = 0
    data_offset: int = 0
    data_size: int = 0
    peaks: bytes = b""


def probe(file: BinaryIO, size: int, content_type: str) -> Probed:
    """Raises UnfitError with the reason in a sentence, or NothingRecordedError. What fails while the file is read is
    the caller's to judge."""
    task = {"do": "examine", "content_type": content_type}
    found, peaks = _run(task, [(file, size)], seconds=_seconds_for(size))
    if found.get("is_empty"):
        raise NothingRecordedError
    plain: dict[str, Any] = {name: str(found.get(name, ""))[:32] for name in ("audio_codec", "video_codec")}
    plain |= {name: int(found.get(name, 0)) for name in _NUMBERS}
    return Probed(**plain, peaks=peaks)


def join(files: Sequence[tuple[BinaryIO, int]], into: BinaryIO, content_type: str) -> None:
    """Writes files that were found good, one after the other, into an open file of the system."""
    total = sum(size for _, size in files)
    task = {"do": "join", "content_type": content_type}
    _run(task, files, seconds=_seconds_for(total), into=into, most_written=_GROWN * total + 1024**2)


def longest(size: int) -> timedelta:
    """So long an examination may last by the clock."""
    return timedelta(seconds=_CLOCK * _seconds_for(size))


def _seconds_for(size: int) -> int:
    return min(_MOST_SECONDS, _SECONDS + size // _BYTES_A_SECOND)


def _run(
    task: dict[str, Any],
    files: Sequence[tuple[BinaryIO, int]],
    *,
    seconds: int,
    into: BinaryIO | None = None,
    most_written: int = 0,
) -> tuple[dict[str, Any], bytes]:
    limits = {"memory": MEMORY, "cpu": seconds, "file": most_written, "buffer": BUFFER}
    task |= limits | {"sizes": [size for _, size in files], "into": into.fileno() if into else -1}
    command = [sys.executable, "-I", "-c", _STARTED, str(settings.BASE_DIR), json.dumps(task)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OPENBLAS_NUM_THREADS": "1"},  # of ours it gets nothing
        cwd="/",
        pass_fds=[into.fileno()] if into else [],
    )
    watch = threading.Timer(_CLOCK * seconds, process.kill)
    watch.daemon = True
    watch.start()
    try:
        return _Talk(process, files).hear()
    except (EOFError, BrokenPipeError, ValueError, IndexError):  # it died, or speaks as it never should
        raise UnfitError(_why_it_died(process, seconds)) from None
    finally:
        watch.cancel()
        process.kill()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                cast(IO[bytes], stream).close()
        process.wait()


def _why_it_died(process: "subprocess.Popen[bytes]", seconds: int) -> str:
    code = process.wait()
    if code in (-9, -24):  # SIGKILL by the watch or by the limit, SIGXCPU
        return f"It cannot be examined within {seconds} seconds of work."
    return f"It makes the program that examines it fail ({_ending(code)})."


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


class _Talk:
    """Answers what the process asks until it says what it found."""

    def __init__(self, process: "subprocess.Popen[bytes]", files: Sequence[tuple[BinaryIO, int]]) -> None:
        self._asked, self._answers = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin)
        self._files = files

    def hear(self) -> tuple[dict[str, Any], bytes]:
        found: dict[str, Any] = {}
        while True:
            word, number, offset, length = ASK.unpack(self._exactly(ASK.size))
            if word == b"R":
                self._answer(number, offset, min(length, BUFFER))
                continue
            if length > _MOST_SAID:
                raise EOFError
            said = self._exactly(length)
            if word == b"P":
                return found, said
            found = json.loads(said)
            if problem := found.get("problem"):
                raise UnfitError(str(problem)[:300])

    def _answer(self, number: int, offset: int, length: int) -> None:
        file, _ = self._files[number]
        file.seek(offset)
        data = file.read(length)
        self._answers.write(LENGTH.pack(len(data)) + data)
        self._answers.flush()

    def _exactly(self, amount: int) -> bytes:
        data = self._asked.read(amount)
        if len(data) < amount:
            raise EOFError
        return data


def processors() -> int:
    """How many files may be examined at once: the rest of the machine has calls to look after."""
    return max(1, (os.cpu_count() or 2) - 1)
