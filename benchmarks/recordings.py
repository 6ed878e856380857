"""How fast recordings are sent, sought in, and examined, and what listeners cost in memory.

It starts the whole portal by `manage.py up` with a recording of 100 MB stored in the clear and the same one encrypted,
and downloads both over one connection; beside it, in the same run and over the same client, a plain static file server
(Python's `http.server`, one thread a connection) sends the same bytes. `make bench-recordings` prints the tables.
"""

import argparse
import contextlib
import functools
import http.server
import json
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.run.stack import PROJECT, Stack, eventually, free_port, stack

MEBI = 1024 * 1024
SIZE = 100 * MEBI
SEEKS = 100
SOUGHT = 64 * 1024  # bytes a player reads before it plays on
LISTENERS = 50
EACH_A_SECOND = 64 * 1024  # bytes: a stereo recording of 16 kHz at its own speed
MAKE = "from benchmarks.recordings import make; make({sizes!r})"
EXAMINE = "from benchmarks.recordings import examine; examine({count})"


# --- Inside the portal's environment, by `manage.py shell` ---------------------------------------------------


def wav_of(size: int) -> bytes:
    """Two channels of noise, 16-bit, 16 kHz: what it holds must not be easy to send."""
    import struct

    data = size - 44 & ~3
    form = struct.pack("<HHIIHH", 1, 2, 16_000, 64_000, 4, 16)
    head = b"RIFF" + struct.pack("<I", data + 36) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", data) + random.Random(1).randbytes(data)


def make(sizes: list[tuple[str, int, bool]]) -> None:
    """Recordings in the first tenant; their ids as JSON on the last line."""
    from datetime import timedelta

    from django.conf import settings
    from django.utils import timezone

    from recordings import vault
    from recordings.models import Recording, RecordingFile, Segment
    from tenants.models import Tenant
    from tenants.schemas import enter

    enter(Tenant.objects.exclude(schema_name="public").order_by("pk")[0])
    made: dict[str, dict[str, Any]] = {}
    now = timezone.now()
    for name, size, sealed in sizes:
        settings.RECORDING_ENCRYPTION = sealed
        content = wav_of(size)
        with vault.writer() as writer:
            writer.write(content)
            stored = writer.close()
        length = timedelta(seconds=size / 64_000)
        recording = Recording.objects.create(
            session_id=f"bench-{name}", switch_session_id=f"bench-{name}", switch_id=1, medium="audio",
            state=Recording.State.READY, caller="101", callee="102", extensions=["101"], dual_tracks=True,
            created_at=now - length, started_at=now - length, ended_at=now, ready_at=now, size=stored.size,
            duration_ms=round(length.total_seconds() * 1000),
        )  # fmt: skip
        segment = Segment.objects.create(
            recording=recording, number=1, state=Segment.State.ENDED, started_at=now - length
        )
        RecordingFile.objects.create(
            segment=segment, switch_id=1, state=RecordingFile.State.READY, storage_key=stored.storage_key,
            wrapped_key=stored.wrapped_key, size=stored.size, sha256=stored.sha256, content_type="audio/wav",
            duration_ms=recording.duration_ms, audio_codec="pcm_s16le", channels=2, sample_rate=16_000,
            data_offset=44, data_size=stored.size - 44,
        )  # fmt: skip
        made[name] = {"id": str(recording.pk), "size": stored.size, "storage_key": stored.storage_key}
    sys.stdout.write(f"\n{json.dumps(made)}\n")


def examine(count: int) -> None:
    """Probes a minute's call of 8 kHz so many times, one after the other; the seconds on the last line."""
    import io

    from recordings import probe

    content = wav_of(60 * 64_000)
    began = time.perf_counter()
    for _ in range(count):
        probe.probe(io.BytesIO(content), len(content), "audio/wav")
    sys.stdout.write(f"\n{json.dumps({'seconds': time.perf_counter() - began, 'bytes': len(content)})}\n")


def inside(portal: Stack, code: str) -> dict[str, Any]:
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    done = subprocess.run(command, env=portal.settings(), cwd=PROJECT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


# --- The plain server ----------------------------------------------------------------------------------------


def serve_plainly(folder: str, port: int) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

    handler = functools.partial(Quiet, directory=folder)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[tuple[int, Path]]:
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve_plainly, args=(str(folder), port), daemon=True)
    process.start()
    try:
        eventually(lambda: _answers(port))
        yield port, Path("/proc") / str(process.pid)
    finally:
        process.terminate()
        process.join(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# --- The client: a socket, so that it costs as little as can be ------------------------------------------------


@dataclass
class Way:
    """Where a file is asked for."""

    port: int
    path: str
    host: str = "127.0.0.1"
    token: str = ""

    def request(self, span: str = "") -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"Authorization: Bearer {self.token}"] if self.token else []
        lines += [f"Range: {span}"] if span else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection:
    def __init__(self, way: Way) -> None:
        self.way, self.socket = way, socket.create_connection(("127.0.0.1", way.port))
        self.buffer = bytearray(MEBI)

    def ask(self, span: str = "") -> tuple[int, float]:
        """Reads the whole answer; how many bytes, and how long until the first of them."""
        began = time.perf_counter()
        self.socket.sendall(self.way.request(span))
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(65_536)
        first = time.perf_counter() - began
        head, _, rest = head.partition(b"\r\n\r\n")
        assert head.split()[1] in (b"200", b"206"), head
        length = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        left = length - len(rest)
        while left:
            got = self.socket.recv_into(self.buffer, min(left, len(self.buffer)))
            assert got, "the answer broke off"
            left -= got
        return length, first


@dataclass
class Download:
    """The best of several: what disturbs one only makes it slower, and dearer."""

    rate: float = 0.0  # MB/s
    processor: float = float("inf")  # milliseconds of the server

    def again(self, way: Way, home: Path) -> None:
        connection, used, began = Connection(way), processor_ms(home), time.perf_counter()
        length, _ = connection.ask()
        self.rate = max(self.rate, length / 1e6 / (time.perf_counter() - began))
        self.processor = min(self.processor, processor_ms(home) - used)
        connection.socket.close()


def seek(way: Way, size: int) -> tuple[float, float]:
    """Milliseconds until what a player needs is there, from a random place: half of them, and 99 of 100."""
    connection, chance = Connection(way), random.Random(2)
    took = []
    for _ in range(SEEKS):
        start = chance.randrange(size - SOUGHT)
        began = time.perf_counter()
        connection.ask(f"bytes={start}-{start + SOUGHT - 1}")
        took.append(1000 * (time.perf_counter() - began))
    connection.socket.close()
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def listen(way: Way, seconds: float) -> None:
    """Reads as fast as it is played."""
    connection = socket.create_connection(("127.0.0.1", way.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    connection.sendall(way.request())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert connection.recv(EACH_A_SECOND // 4)
        time.sleep(0.25)
    connection.close()


def web_server(portal: Stack) -> Path:
    """Its folder below /proc."""
    for home in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (home / "cmdline").read_bytes().split(b"\0")
            environment = (home / "environ").read_bytes().split(b"\0")
            if b"serve" in command and f"VAR_DIR={portal.folder}".encode() in environment:
                return home
    raise LookupError("the web server is not running")


def memory_mib(home: Path) -> float:
    """Resident."""
    lines = (home / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def processor_ms(home: Path) -> float:
    """What it has used so far."""
    fields = (home / "stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def crowd(home: Path, way: Way, seconds: float) -> tuple[float, float]:
    """Memory of the server before, and at its highest with all of them listening."""
    before = memory_mib(home)
    threads = [threading.Thread(target=listen, args=(way, seconds)) for _ in range(LISTENERS)]
    for thread in threads:
        thread.start()
    highest = before
    while any(thread.is_alive() for thread in threads):
        highest = max(highest, memory_mib(home))
        time.sleep(0.5)
    return before, highest


# --- The run -------------------------------------------------------------------------------------------------


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--downloads", type=int, default=5, help="of each file; the fastest counts")
    arguments.add_argument("--listen", type=float, default=20, help="seconds that the listeners listen")
    arguments.add_argument("--files", type=int, default=20, help="files to examine")
    given = arguments.parse_args()
    with stack(RECORDING_ENCRYPTION="0") as portal:
        portal.start()
        measure(portal, given)


def measure(portal: Stack, given: argparse.Namespace) -> None:
    made = inside(portal, MAKE.format(sizes=[("clear", SIZE, False), ("sealed", SIZE, True)]))
    tenant = portal.opened["tenants"][0]
    host = tenant["url"].split("//")[1].split(":")[0]
    ways = {
        name: Way(portal.port, f"/api/v1/recordings/{file['id']}/file", host, tenant["api_token"])
        for name, file in made.items()
    }
    file, home = portal.folder / "recordings" / made["clear"]["storage_key"], web_server(portal)
    with plain_server(file.parent) as (port, plain):
        all_ways = {"plain": (Way(port, f"/{file.name}"), plain)} | {name: (way, home) for name, way in ways.items()}
        Connection(all_ways["plain"][0]).ask()  # into the page cache, for both
        found = {name: Download() for name in all_ways}
        for _ in range(given.downloads):  # in turn, so that what disturbs the machine disturbs all
            for name, (way, of) in all_ways.items():
                found[name].again(way, of)
    processors = f"{os.cpu_count()} processors"
    say(f"Download of {SIZE // MEBI} MiB over one connection, the best of {given.downloads}, {processors}")
    say("| | MB/s | of the static server | processor ms |", "|---|---|---|---|")
    for name, label in (("plain", "static file server"), ("clear", "recording"), ("sealed", "recording, encrypted")):
        share = f"{100 * found[name].rate / found['plain'].rate:.0f} %"
        say(f"| {label} | {found[name].rate:,.0f} | {share} | {found[name].processor:.0f} |")
    say("", f"Seek: {SOUGHT // 1024} KiB from a random place, {SEEKS} times", "| | p50 ms | p99 ms |", "|---|---|---|")
    for name, label in (("clear", "recording"), ("sealed", "recording, encrypted")):
        half, most = seek(ways[name], made[name]["size"])
        say(f"| {label} | {half:.1f} | {most:.1f} |")
    before, highest = crowd(home, ways["sealed"], given.listen)
    say("", f"{LISTENERS} listeners for {given.listen:.0f} s, encrypted. Memory of the web server, MiB")
    say("| before | at its highest | a listener |", "|---|---|---|")
    say(f"| {before:.0f} | {highest:.0f} | {(highest - before) / LISTENERS:.2f} |")
    examined = inside(portal, EXAMINE.format(count=given.files))
    rate = given.files / examined["seconds"]
    say("", f"Examining one file after the other, each a minute of two channels: {rate:.1f} files a second")


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
