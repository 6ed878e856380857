"""Records what a real Asterisk tells about each flow, for the adapter's tests.

One file per flow in tests/pbx/asterisk/streams: AMI and ARI events in the order they arrived, one JSON object a line.
`python -m tests.asterisk.capture [flow ...]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.asterisk.flows import FLOWS, open_lab
from tests.asterisk.rig import HOST, Asterisk, prepare, running_asterisk

STREAMS = Path(__file__).resolve().parents[1] / "pbx" / "asterisk" / "streams"
VARIABLES = ("SESSIONID", "TENANT_DOMAIN", "DID", "TRUNK_NAME", "FROM_DOMAIN")
# Registrations and device states are no part of a call; dialplan steps are most of the stream and say nothing that a
# UserEvent of deploy/asterisk does not say better.
AMI_NOISE = {
    "ContactStatus",
    "DeviceStateChange",
    "ExtensionStatus",
    "FullyBooted",
    "MusicOnHoldStart",
    "MusicOnHoldStop",
    "PeerStatus",
    "QueueMemberStatus",
}
ARI_NOISE = {"ChannelDialplan", "ContactStatusChange", "DeviceStateChanged", "EndpointStateChange", "PeerStatusChange"}
SETTLE = 1.0  # seconds from the last BYE until CEL has told the end

Event = dict[str, Any]


class Recorder:
    def __init__(self) -> None:
        self.lines: list[Event] = []

    def add(self, source: Literal["ami", "ari"], event: Event) -> None:
        self.lines.append({"t": round(time.time(), 4), "source": source, "event": event})

    async def follow_ami(self, reader: asyncio.StreamReader) -> None:
        await reader.readline()  # the greeting
        event: Event = {}
        while line := await reader.readline():
            name, separator, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
            if separator:
                _add_header(event, name, value.removeprefix(" "))
                continue
            if "Event" in event and event["Event"] not in AMI_NOISE:
                self.add("ami", event)
            event = {}

    async def follow_ari(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            event: Event = json.loads(message.data)
            is_other_variable = event["type"] == "ChannelVarset" and event["variable"].lstrip("_") not in VARIABLES
            if event["type"] not in ARI_NOISE and not is_other_variable:
                self.add("ari", event)


def _add_header(event: Event, name: str, value: str) -> None:
    """A repeated header (ChanVariable) becomes a list."""
    if name not in event:
        event[name] = value
    elif isinstance(event[name], list):
        event[name].append(value)
    else:
        event[name] = [event[name], value]


@contextlib.asynccontextmanager
async def recording_events(asterisk: Asterisk) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    reader, writer = await asyncio.open_connection(HOST, asterisk.ami_port)
    login = f"Action: Login\r\nUsername: {asterisk.username}\r\nSecret: {asterisk.secret}\r\n\r\n"
    writer.write(login.encode())
    application, key = f"capture-{secrets.token_hex(4)}", f"{asterisk.username}:{asterisk.secret}"
    # Not subscribeAll: Asterisk 22.10 hangs in it for good, ARI with it, when a phone registers at that moment.
    everything = {"eventSource": "channel:,bridge:", "api_key": key}
    async with (
        aiohttp.ClientSession(f"{asterisk.ari_url}/", timeout=aiohttp.ClientTimeout(connect=5)) as session,
        session.ws_connect("events", params={"app": application, "api_key": key}) as socket,
        session.post(f"applications/{application}/subscription", params=everything) as answer,
    ):
        answer.raise_for_status()
        tasks = [asyncio.create_task(recorder.follow_ami(reader)), asyncio.create_task(recorder.follow_ari(socket))]
        try:
            yield recorder
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    writer.close()


async def capture(asterisk: Asterisk, name: str, folder: Path) -> None:
    async with open_lab(asterisk) as lab, recording_events(asterisk) as recorder:
        await FLOWS[name](lab)
        await asyncio.sleep(SETTLE)
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in recorder.lines)
    (folder / f"{name}.jsonl").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flows", nargs="*", metavar="flow", help=f"default: all of {', '.join(FLOWS)}")
    parser.add_argument("--into", type=Path, default=STREAMS, metavar="FOLDER")
    options = parser.parse_args()
    prepare()
    with running_asterisk() as asterisk:
        for name in options.flows or FLOWS:
            started = time.monotonic()
            asyncio.run(capture(asterisk, name, options.into))
            sys.stdout.write(f"{name}: {time.monotonic() - started:.1f} s\n")


if __name__ == "__main__":
    main()
