"""An Asterisk that says what a test tells it to: AMI over TCP, ARI over HTTP and a WebSocket."""

import asyncio
import base64
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from pbx.asterisk.ami import Message, Parser, text

STREAMS = Path(__file__).parent / "streams"
USER, PASSWORD = "voxledger", "let me in"


def recorded(flow: str) -> list[dict[str, Any]]:
    """What a real Asterisk told about a flow: `{"t", "source", "event"}`, in the order it arrived."""
    return [json.loads(line) for line in (STREAMS / f"{flow}.jsonl").read_text().splitlines()]


def told_now(flow: str) -> list[dict[str, Any]]:
    """The same as if it happened just now, a minute ago at most."""
    rows = recorded(flow)
    shift = time.time() - rows[-1]["t"]
    for row in rows:
        row["t"] += shift
        if "Timestamp" in row["event"]:
            row["event"]["Timestamp"] = f"{float(row['event']['Timestamp']) + shift:.6f}"
    return rows


def encoded(message: Message) -> bytes:
    lines = []
    for key, value in message.items():
        lines += [f"{key}: {each}" for each in (value if isinstance(value, list) else [value])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class FakeAsterisk:
    def __init__(self) -> None:
        self.password = PASSWORD
        self.channels: list[Message] = []  # what CoreShowChannels lists
        self.call_ids: dict[str, str] = {}  # what ARI lists
        self.ami_port = 0
        self.http_port = 0
        self.signed_in = 0  # how often
        self.pings = 0
        self.answers_pings = True
        self.is_deaf = False  # to all actions
        self.cuts_before = self.cuts_after = ""  # the action at which the network goes: not carried out, or unanswered
        self.cuts_on = ""  # the channel of that action, if it matters
        self.held: list[tuple[Message, asyncio.StreamWriter]] | None = None  # actions that wait for `release`
        self.clock_ahead = 0.0
        self.said_before_list: list[bytes] = []  # goes out between the request for the list and its first line
        self.filters: list[Any] = []
        self.subscriptions: list[str] = []
        self.monitors: dict[str, tuple[str, str]] = {}  # MixMonitors that run: channel and options, by number
        self.reuses_numbers = False  # as Asterisk does, where they are addresses
        self.done: list[str] = []  # what was asked of MixMonitors and granted, in words
        self.variables: dict[tuple[str, str], str] = {}  # by channel and name
        self.functions: dict[str, str] = {}  # of the dialplan, as they are read outside of any call
        self.dialplan: list[Message] = []  # what ShowDialPlan lists
        self.originated: list[Message] = []
        self.hung_up: list[str] = []
        self.gone: set[str] = set()  # channels that have hung up
        self.refusals: dict[str, str] = {}  # by action: why it is refused
        self.stored: dict[str, bytes] = {}  # recordings that ARI has, by name
        self.can_write = True
        self.uniqueids: dict[str, str] = {}  # by channel, as its events tell them
        self.streams: dict[str, int] = {}  # by Uniqueid: the RTP stream that a channel receives
        self.lists_by_ari = 0  # a connector asks for one as soon as it follows ARI
        self._writers: set[asyncio.StreamWriter] = set()
        self._sockets: dict[str, web.WebSocketResponse] = {}  # by application
        self._server: asyncio.Server | None = None
        self._web: web.AppRunner | None = None

    # --- up and down ---

    async def start_ami(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.ami_port)
        self.ami_port = self._server.sockets[0].getsockname()[1]

    async def stop_ami(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """The network is gone from one byte to the next."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def start_ari(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/ari/events", self._events),
                web.get("/ari/channels", self._channels),
                web.get("/ari/channels/{channel}/rtp_statistics", self._rtp_statistics),
                web.get("/ari/recordings/stored", self._stored),
                web.get("/ari/recordings/stored/{name}", self._is_stored),
                web.get("/ari/recordings/stored/{name}/file", self._file),
                web.delete("/ari/recordings/stored/{name}", self._delete),
                web.put("/ari/applications/{app}/eventFilter", self._filter),
                web.post("/ari/applications/{app}/subscription", self._subscribe),
            ]
        )
        self._web = web.AppRunner(app, shutdown_timeout=0.1)
        await self._web.setup()
        site = web.TCPSite(self._web, "127.0.0.1", self.http_port)
        await site.start()
        self.http_port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop_ari(self) -> None:
        for socket in list(self._sockets.values()):
            await socket.close()
        if self._web is not None:
            await self._web.cleanup()

    # --- what it says ---

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.say_bytes(encoded(message))

    def say_bytes(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)

    async def say_by_ari(self, event: dict[str, Any]) -> None:
        for socket in list(self._sockets.values()):
            await socket.send_str(json.dumps(event))

    async def play(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["source"] == "ami":
                self.say(row["event"])
            else:
                await self.say_by_ari(row["event"])
        await asyncio.sleep(0)

    # --- AMI ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        parser = Parser()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                for action in parser.feed(data):
                    self._hear(action, writer)
        self._writers.discard(writer)
        writer.close()

    def release(self) -> None:
        """Carries out what waited, in its order."""
        held, self.held = self.held or [], None
        for action, writer in held:
            self._hear(action, writer)

    def _hear(self, action: Message, writer: asyncio.StreamWriter) -> None:
        if self.held is not None:
            self.held.append((action, writer))
            return
        name = text(action, "Action")
        if self.cuts_on not in ("", text(action, "Channel")):
            name = ""
        if name and name == self.cuts_before:
            self.cuts_before = ""
            self.cut()
            return
        is_last = bool(name) and name == self.cuts_after
        self._answer(action, writer, is_lost=is_last)
        if is_last:
            self.cuts_after = ""
            self.cut()

    def _answer(self, action: Message, writer: asyncio.StreamWriter, *, is_lost: bool) -> None:
        def reply(response: str, **fields: str) -> None:
            if not is_lost:
                writer.write(encoded({"Response": response, "ActionID": text(action, "ActionID"), **fields}))

        if self.is_deaf:
            return
        match text(action, "Action"):
            case "Challenge":
                reply("Success", Challenge="4711")
            case "Login":
                key = hashlib.md5(f"4711{self.password}".encode(), usedforsecurity=False).hexdigest()
                if (text(action, "Username"), text(action, "Key")) != (USER, key):
                    reply("Error", Message="Authentication failed")
                    return
                self.signed_in += 1
                self._writers.add(writer)
                reply("Success", Message="Authentication accepted")
                writer.write(encoded({"Event": "FullyBooted", "Status": "Fully Booted"}))
            case _ if writer not in self._writers:
                reply("Error", Message="Permission denied")
            case "Ping":
                self.pings += 1
                if self.answers_pings:
                    reply("Success", Ping="Pong", Timestamp=f"{time.time() + self.clock_ahead:.6f}")
            case "CoreSettings":
                reply("Success", AsteriskVersion="22.10.1", SystemName="")
            case "CoreShowChannels":
                for data in self.said_before_list:
                    writer.write(data)
                reply("Success", EventList="start", Message="Channels will follow")
                number = text(action, "ActionID")
                for channel in self.channels:
                    writer.write(encoded({"Event": "CoreShowChannel", "ActionID": number, **channel}))
                complete: Message = {"Event": "CoreShowChannelsComplete", "ActionID": number, "EventList": "Complete"}
                writer.write(encoded(complete | {"ListItems": str(len(self.channels))}))
            case "Getvar" if not text(action, "Channel"):
                reply("Success", Value=self.functions.get(text(action, "Variable"), ""))
            case "ShowDialPlan":
                reply("Success", EventList="start", Message="DialPlan list will follow")
                number = text(action, "ActionID")
                for step in self.dialplan:
                    writer.write(encoded({"Event": "ListDialplan", "ActionID": number, **step}))
                writer.write(encoded({"Event": "ShowDialPlanComplete", "ActionID": number, "EventList": "Complete"}))
            case "Originate" if "Originate" not in self.refusals:
                self.originated.append(action)
                reply("Success", Message="Originate successfully queued")
            case "Hangup":
                self.hung_up.append(text(action, "Channel"))
                reply("Success")
            case "MixMonitor" | "StopMixMonitor" | "Getvar" | "Originate" as asked if asked in self.refusals:
                reply("Error", Message=self.refusals[asked])
            case "MixMonitor" | "StopMixMonitor" | "Getvar" if text(action, "Channel") in self.gone:
                reply("Error", Message="No such channel")
            case "MixMonitor":
                reply("Success", MixMonitorID=self._monitor(text(action, "Channel"), text(action, "Options")))
            case "StopMixMonitor":
                number = text(action, "MixMonitorID")
                if self.monitors.get(number, ("", ""))[0] != text(action, "Channel"):
                    reply("Error", Message="Could not stop monitoring channel")
                    return
                stopped, _ = self.monitors.pop(number)
                self.done.append(f"stop {number} on {stopped}")
                uniqueid = self.uniqueids.get(stopped, "")
                if not is_lost:
                    writer.write(encoded({"Event": "MixMonitorStop", "Channel": stopped, "Uniqueid": uniqueid}))
                reply("Success")
            case "Getvar":
                variable = text(action, "Variable")
                value = self.variables.get((text(action, "Channel"), variable), "")
                reply("Success", Variable=variable, Value=value)
            case _:
                reply("Error", Message="Invalid/unknown command")

    def _monitor(self, channel: str, options: str) -> str:
        """Starts one: the option r() names its file, i() the variable that gets its number."""
        if self.can_write:
            path = options.partition("r(../recording/")[2].partition(".wav)")[0]
            self.stored[path] = b"RIFF"
        taken = {int(each, 16) for each in self.monitors} if self.reuses_numbers else range(len(self.done) + 1)
        number = f"{next(each for each in range(1, len(taken) + 2) if each not in taken):#x}"
        self.monitors[number] = channel, options
        self.done.append(f"start {number} on {channel}")
        self.variables[channel, options.rpartition("i(")[2].removesuffix(")")] = number
        return number

    # --- ARI ---

    def _is_known(self, request: web.Request) -> bool:
        expected = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        return request.headers.get("Authorization") == f"Basic {expected}"

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[request.query["app"]] = socket
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
        del self._sockets[request.query["app"]]
        return socket

    async def _channels(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        self.lists_by_ari += 1
        return web.json_response([{"id": key, "protocol_id": value} for key, value in self.call_ids.items()])

    async def _rtp_statistics(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        if (source := self.streams.get(request.match_info["channel"])) is None:
            raise web.HTTPNotFound
        return web.json_response({"remote_ssrc": source})

    async def _stored(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        return web.json_response([{"name": name, "format": "wav"} for name in self.stored])

    def _named(self, request: web.Request) -> str:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        if (name := request.match_info["name"]) not in self.stored:
            raise web.HTTPNotFound
        return name

    async def _is_stored(self, request: web.Request) -> web.Response:
        return web.json_response({"name": self._named(request), "format": "wav"})

    async def _file(self, request: web.Request) -> web.Response:
        return web.Response(body=self.stored[self._named(request)], content_type="audio/wav")

    async def _delete(self, request: web.Request) -> web.Response:
        del self.stored[self._named(request)]
        return web.Response(status=204)

    async def _filter(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        if request.match_info["app"] not in self._sockets:
            raise web.HTTPNotFound
        self.filters.append(await request.json())
        return web.json_response({})

    async def _subscribe(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            raise web.HTTPUnauthorized
        if request.match_info["app"] not in self._sockets:
            raise web.HTTPNotFound
        self.subscriptions.append(request.query["eventSource"])
        return web.json_response({})


@contextlib.asynccontextmanager
async def fake_asterisk(*, ari: bool = True) -> AsyncIterator[FakeAsterisk]:
    fake = FakeAsterisk()
    await fake.start_ami()
    if ari:
        await fake.start_ari()
    try:
        yield fake
    finally:
        await fake.stop_ami()
        if ari:
            await fake.stop_ari()
