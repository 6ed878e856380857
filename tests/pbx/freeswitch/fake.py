"""A FreeSWITCH that says what a test tells it to, and records: the event socket over TCP."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

STREAMS = Path(__file__).parent / "streams"
CDRS = Path(__file__).parent / "cdrs"
PASSWORD = "let me in"
WAV = b"RIFF" + (36 + 8).to_bytes(4, "little") + b"WAVEfmt " + b"\x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0"
WAV += b"data" + (8).to_bytes(4, "little") + b"\0" * 8
MP4 = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x0cmdat\1\2\3\4" + b"\0\0\0\x08moov"

Event = dict[str, Any]


def recorded(flow: str) -> list[Event]:
    """What a real FreeSWITCH told about a flow, in the order it arrived."""
    return [json.loads(line) for line in (STREAMS / f"{flow}.jsonl").read_text().splitlines()]


def told_now(flow: str) -> list[Event]:
    """The same as if it happened just now."""
    events = recorded(flow)
    shift = int(time.time() * 1_000_000) - int(events[-1]["Event-Date-Timestamp"])
    for event in events:
        for key, value in event.items():
            if key == "Event-Date-Timestamp" or (key.startswith("Caller-Channel-") and value != "0"):
                event[key] = str(int(value) + shift)
    return events


def as_dump(event: Event) -> Event:
    """What `uuid_dump` says of the leg that an event is about."""
    return {**event, "Event-Name": "CHANNEL_DATA"}


def frame(content_type: str, body: str) -> bytes:
    data = body.encode()
    return f"Content-Length: {len(data)}\nContent-Type: {content_type}\n\n".encode() + data


class FakeFreeSwitch:
    """Obeys uuid_record as 1.11.2 does; `commands` are those that it was given, pings and questions left out."""

    def __init__(self) -> None:
        self.password = PASSWORD
        self.port = 0
        self.lets_in = True
        self.signed_in = 0
        self.pings = 0
        self.answers_pings = True
        self.clock_ahead = 0.0
        self.live: dict[str, Event] = {}  # by uuid: all that its events told
        self.commands: list[str] = []
        self.subscriptions: list[str] = []
        self.refuses: Callable[[str], bool] = lambda command: False
        self.said_before_list: list[bytes] = []
        self.folder: Path | None = None  # where the files of recordings appear
        self.recording: dict[str, str] = {}  # path: uuid
        self.extensions: dict[str, str] = {}  # in its directory, with the context of each
        self.gone: list[str] = []  # legs that its list of channels still has
        self.closes_files = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    # --- up and down ---

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """The network is gone from one byte to the next."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    # --- what it says ---

    def play(self, events: list[Event]) -> None:
        for event in events:
            uuid, name = event.get("Unique-ID", ""), event["Event-Name"]
            if name == "CHANNEL_HANGUP_COMPLETE":
                self.live.pop(uuid, None)
            elif uuid and name.startswith("CHANNEL_") and name not in {"CHANNEL_HANGUP", "CHANNEL_DESTROY"}:
                self.live[uuid] = self.live.get(uuid, {}) | event  # not every event has all that is known
            self.say_bytes(frame("text/event-json", json.dumps(event)))

    def say_bytes(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)

    def end_recording(self, path: str, **more: str) -> None:
        """By itself, or because it was told to."""
        uuid = self.recording.pop(path)
        now = str(int(time.time() * 1_000_000))
        stop = {**self.live.get(uuid, {}), "Event-Name": "RECORD_STOP", "Event-Date-Timestamp": now, "Unique-ID": uuid}
        if self.folder:
            whole = MP4 if path.endswith(".mp4") else WAV
            (self.folder / Path(path).name).write_bytes(whole if self.closes_files else whole[:-4])
        self.say_bytes(frame("text/event-json", json.dumps(stop | {"Record-File-Path": path, **more})))

    def end_job(self, said: str) -> None:
        """How the latest bgapi ended."""
        arguments = self.commands[-1].removeprefix("bgapi originate ")
        job = {"Event-Name": "BACKGROUND_JOB", "Job-Command": "originate", "Job-Command-Arg": arguments, "_body": said}
        self.say_bytes(frame("text/event-json", json.dumps(job)))

    # --- the protocol ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.lets_in:
            writer.write(frame("text/rude-rejection", "Access Denied, go away.\n"))
            writer.close()
            return
        writer.write(b"Content-Type: auth/request\n\n")
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                command = (await reader.readuntil(b"\n\n")).decode().strip()
                self._answer(command, writer)
        self._writers.discard(writer)
        writer.close()

    def _answer(self, command: str, writer: asyncio.StreamWriter) -> None:
        verb, _, rest = command.partition(" ")
        if verb == "auth":
            self._let_in(rest, writer)
        elif writer not in self._writers:
            _reply(writer, "-ERR command not found")
        elif verb == "event":
            self.subscriptions.append(rest)
            _reply(writer, "+OK event listener enabled json")
        elif verb == "bgapi":
            self.commands.append(command)
            _reply(writer, "+OK Job-UUID: 7f4db78a-17d7-11dd-b7a0-db4edd065621")
        elif verb == "api":
            answer = self._api(rest, writer)
            if answer is not None:
                writer.write(frame("api/response", answer))
        else:
            _reply(writer, "-ERR command not found")

    def _let_in(self, password: str, writer: asyncio.StreamWriter) -> None:
        if password != self.password:
            _reply(writer, "-ERR invalid")
            writer.write(frame("text/disconnect-notice", "Disconnected, goodbye.\nSee you at ClueCon!\n"))
            writer.close()
            return
        self.signed_in += 1
        self._writers.add(writer)
        _reply(writer, "+OK accepted")

    def _api(self, command: str, writer: asyncio.StreamWriter) -> str | None:
        match command.split(" "):
            case ["strepoch"]:
                self.pings += 1
                return str(int(time.time() + self.clock_ahead)) if self.answers_pings else None
            case ["version"]:
                return "FreeSWITCH Version 1.11.2-release+git~20260809T000000Z~3f13ad1 (64bit)\n"
            case ["show", "channels", "as", "json"]:
                for data in self.said_before_list:
                    writer.write(data)
                rows = [{"uuid": uuid, "direction": event["Call-Direction"]} for uuid, event in self.live.items()]
                rows += [{"uuid": uuid, "direction": "inbound"} for uuid in self.gone]
                return json.dumps({"row_count": len(rows), **({"rows": rows} if rows else {})})
            case ["uuid_exists", uuid]:
                return "true" if uuid in self.live else "false"
            case ["uuid_dump", uuid, "json"]:
                return json.dumps(as_dump(self.live[uuid])) if uuid in self.live else "-ERR No such channel!\n"
            case ["user_exists", "id", number, _]:
                return "true" if number in self.extensions else "false"
            case ["user_data", address, "var", "user_context"]:
                return self.extensions[address.partition("@")[0]] or "-ERR no reply\n"
            case ["uuid_buglist", uuid]:
                bugs = "".join(f"<target>{path}</target>" for path, leg in self.recording.items() if leg == uuid)
                return f"<media-bugs>{bugs}</media-bugs>\n"
        self.commands.append(command)
        if self.refuses(command):
            return "-ERR Refused!\n"
        match command.split(" "):
            case ["uuid_setvar", uuid, *_]:
                return "+OK\n" if uuid in self.live else "-ERR No such channel!\n"
            case ["uuid_record", uuid, verb, path, *_]:
                return self._record(uuid, verb, path)
            case ["hupall", *_]:
                return "+OK hangup all channels matching\n"
        return "-ERR command not found\n"

    def _record(self, uuid: str, verb: str, path: str) -> str:
        if uuid not in self.live:
            return "-ERR Cannot locate session!\n"
        if verb == "start":
            self.recording[path] = uuid
        elif verb == "stop" and path == "all":
            for each in [each for each, leg in self.recording.items() if leg == uuid]:
                self.end_recording(each)
        elif self.recording.get(path) != uuid:
            return f"-ERR Cannot {verb} recording session!\n"
        elif verb == "stop":
            self.end_recording(path)
        return "+OK Success\n"


def _reply(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode())


@contextlib.asynccontextmanager
async def fake_freeswitch() -> AsyncIterator[FakeFreeSwitch]:
    fake = FakeFreeSwitch()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
