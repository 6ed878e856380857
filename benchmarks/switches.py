"""How soon a phone's MESSAGE pauses a recording on a real Asterisk, and how many events a second an adapter digests.

The pause: the whole portal by `manage.py up`, the tests' own Asterisk, a call that is recorded; a phone's MESSAGE with
its credentials until the 200 that says that the switch has confirmed. Beside it, on the same call, one action of the
manager interface alone. The events: recorded streams, as many calls of them as asked for, cut into reads as a socket
gives them; parsing alone, parsing and interpreting (what the connector's own thread does), and into the portal's
database as well. `make bench-switches` prints the tables; without the tests' Asterisk `--parts events` does one half.
"""

import argparse
import asyncio
import functools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.asterisk.sip import digest_answer
from tests.run.stack import PROJECT, Stack, eventually, stack

PARTS = ("pause", "events")
READ = 65_536  # bytes that a connector reads at once
FLOWS = ("extension_to_extension", "ivr_queue_agent", "blind_transfer_by_callee", "busy", "ring_group", "hold_unhold")
BATCH = 500  # events that a connector hands over at once
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b\d{10}\.\d+\b(?=\")")


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> str:
    return f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"


# --- The pause -----------------------------------------------------------------------------------------------


class Phone:
    """Sends MESSAGEs to the control listener, as extension 101 of a tenant; a nonce serves as long as it is taken."""

    def __init__(self, port: int, realm: str, password: str) -> None:
        self._realm, self._password, self._number, self._challenge = realm, password, 0, ""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(10)

    def command(self, word: str, session_id: str) -> float:
        """Seconds from the MESSAGE that carries credentials to its 200."""
        body = json.dumps({"operation": word, "session_id": session_id})
        for _ in range(3):
            began = time.perf_counter()
            answer = self._ask(body)
            took = time.perf_counter() - began
            if answer.startswith("SIP/2.0 200 "):
                return took
            found = re.search(r"Proxy-Authenticate: (.*)\r\n", answer)
            assert found, answer
            self._challenge = found[1]
        raise AssertionError(answer)

    def _ask(self, body: str) -> str:
        self._number += 1
        uri = f"sip:{self._realm}"
        lines = [
            f"MESSAGE {uri} SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1:{self._socket.getsockname()[1]};rport;branch="
            f"z9hG4bK-{self._number}", f"From: <sip:101@{self._realm}>;tag=1", f"To: <{uri}>",
            f"Call-ID: bench-{self._number}", f"CSeq: {self._number} MESSAGE", "Max-Forwards: 70",
            "Content-Type: application/x-media-control+json", f"Content-Length: {len(body)}",
        ]  # fmt: skip
        if self._challenge:
            who = {"username": "101", "password": self._password, "method": "MESSAGE", "uri": uri}
            lines.append(f"Proxy-Authorization: {digest_answer(self._challenge, **who)}")
            self._challenge = ""
        self._socket.send(("\r\n".join(lines) + f"\r\n\r\n{body}").encode())
        return self._socket.recv(65_535).decode()


def measure_pauses(pauses: int) -> None:
    from tests.asterisk.rig import HOST, prepare, running_asterisk

    prepare()
    with stack() as portal, running_asterisk() as asterisk:
        portal.environment["SIP_PORT"] = str(_free_udp_port())
        portal.start()
        opened = portal.opened
        tenant = next(each for each in opened["tenants"] if each["sip_domain"] == "acme.test")
        system = _client(portal, "localhost", opened["system"]["api_token"])
        acme = _client(portal, tenant["url"].split("//")[1].split(":")[0], tenant["api_token"])
        secret = {"ami_user": asterisk.username, "ami_password": asterisk.secret}
        address = {"host": HOST, "ami_port": asterisk.ami_port, "http_port": asterisk.http_port}
        fields = {"name": "Real Asterisk", "kind": "asterisk", "address": address, "credentials": secret}
        switch = system.post("/api/v1/switches", json=fields).raise_for_status().json()
        system.post("/api/v1/trunks", json={"name": "AudioCodes", "switch": switch["id"]}).raise_for_status()
        acme.patch("/api/v1/company", json={"enable_extension_audio_recording": True}).raise_for_status()
        state = f"/api/v1/switches/{switch['id']}"
        eventually(lambda: " by AMI and ARI." in system.get(state).json()["connector_message"], seconds=120)
        password = next(each["sip_password"] for each in tenant["extensions"] if each["number"] == "101")
        phone = Phone(int(portal.environment["SIP_PORT"]), tenant["sip_domain"], password)
        asyncio.run(_paused(asterisk, acme, phone, pauses))
        _say_where_it_goes(portal)


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _client(portal: Stack, host: str, token: str) -> httpx.Client:
    headers = {"Host": f"{host}:{portal.port}", "Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{portal.port}", headers=headers, timeout=15)


async def _paused(asterisk: Any, acme: httpx.Client, phone: Phone, pauses: int) -> None:
    from tests.asterisk.flows import connect as talk
    from tests.asterisk.flows import hang_up, open_lab

    async with open_lab(asterisk) as lab:
        caller, callee = await lab.extension("101"), await lab.extension("102")
        ours, theirs = await talk(caller, "102", callee)
        await asyncio.to_thread(eventually, functools.partial(_is_recorded, acme), seconds=60)
        session_id = theirs.session_id
        took: dict[str, list[float]] = {"pause-audio-recording": [], "resume-audio-recording": []}
        for _ in range(pauses + 3):
            for word, times in took.items():
                times.append(await asyncio.to_thread(phone.command, word, session_id))
                await asyncio.sleep(0.05)
        alone = await _actions_alone(asterisk, pauses)
        await hang_up(ours, theirs)
    say("", f"From the MESSAGE's arrival to its 200, milliseconds ({pauses} of each, {machine()})")
    say("| | p50 | p95 | the slowest |", "|---|---|---|---|")
    rows = {"pause": took["pause-audio-recording"][3:], "resume": took["resume-audio-recording"][3:]}
    for name, times in (rows | {"one action of AMI alone": alone}).items():
        told = [1000 * each for each in (percentile(times, 0.5), percentile(times, 0.95), max(times))]
        say(f"| {name} | " + " | ".join(f"{each:.1f}" for each in told) + " |")


WAYS = """
import json
from tenants.models import SwitchCommand
rows = SwitchCommand.objects.filter(command__in=["pause_recording", "resume_recording"], state="done")
told = list(rows.order_by("-id").values_list("at", "handed_out_at", "confirmed_at"))
print(json.dumps([[(b - a).total_seconds(), (c - b).total_seconds()] for a, b, c in told]))
"""


def _say_where_it_goes(portal: Stack) -> None:
    fetched, done = zip(*_inside(portal, WAYS), strict=True)
    say("", "Of that, milliseconds", "| | p50 | p95 |", "|---|---|---|")
    for name, times in (("order written, until the connector has it", fetched), ("until Asterisk has done it", done)):
        say(f"| {name} | {1000 * percentile(times, 0.5):.1f} | {1000 * percentile(times, 0.95):.1f} |")


def _inside(portal: Stack, code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", code], env=portal.settings(LOG_LEVEL="ERROR"),
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def _is_recorded(acme: httpx.Client) -> bool:
    calls = acme.get("/api/v1/calls").json()["items"]
    return any(((call["recording"] or {}).get("audio") or {}).get("state") == "recording" for call in calls)


async def _actions_alone(asterisk: Any, count: int) -> list[float]:
    """MixMonitorMute, on and off, on a channel of the call, over a connection of its own."""
    from pbx.asterisk.access import Access
    from pbx.asterisk.manager import signed_in
    from tests.asterisk.rig import HOST

    access = Access(
        host=HOST, ami_port=asterisk.ami_port, ami_tls=False, ami_user=asterisk.username,
        ami_password=asterisk.secret, ari_url="", ari_user="", ari_password="",
    )  # fmt: skip
    took = []
    async with signed_in(access, lambda message: None) as ami:
        channel = str((await ami.list_all("CoreShowChannels"))[0]["Channel"])
        for number in range(2 * count):
            began = time.perf_counter()
            await ami.ask("MixMonitorMute", Channel=channel, Direction="both", State=str(1 - number % 2))
            took.append(time.perf_counter() - began)
    return took


# --- The events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """What a switch says over its socket, and how many events there are in it."""

    kind: str
    data: bytes
    events: int

    def reads(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), READ):
            yield self.data[start : start + READ]


def again(text: str, number: int) -> str:
    """The same call with ids of its own."""

    def own(found: re.Match[str]) -> str:
        told = found[0]
        if "-" in told:
            return f"{(int(told[:8], 16) + 7919 * number) % 2**32:08x}{told[8:]}"
        return f"{1_500_000_000 + number}.{told.partition('.')[2]}"

    return _ID.sub(own, text)


def asterisk_stream(folder: Path, calls: int) -> Stream:
    told, events = bytearray(b"Asterisk Call Manager/11.0.0\r\n"), 0
    for flow, number in _calls(folder, calls):
        for row in map(json.loads, again((folder / f"{flow}.jsonl").read_text(), number).splitlines()):
            if row["source"] == "ami":
                events += 1
                for key, value in row["event"].items():
                    for each in value if isinstance(value, list) else [value]:
                        told += f"{key}: {each}\r\n".encode()
                told += b"\r\n"
    return Stream("Asterisk", bytes(told), events)


def freeswitch_stream(folder: Path, calls: int) -> Stream:
    told, events = bytearray(), 0
    for flow, number in _calls(folder, calls):
        for line in again((folder / f"{flow}.jsonl").read_text(), number).splitlines():
            events += 1
            told += f"Content-Length: {len(line.encode())}\nContent-Type: text/event-json\n\n{line}".encode()
    return Stream("FreeSWITCH", bytes(told), events)


def _calls(folder: Path, calls: int) -> Iterator[tuple[str, int]]:
    flows = [flow for flow in FLOWS if (folder / f"{flow}.jsonl").exists()]
    for number in range(calls):
        yield flows[number % len(flows)], number


def streams(calls: int) -> list[Stream]:
    folder = PROJECT / "tests" / "pbx"
    return [
        asterisk_stream(folder / "asterisk" / "streams", calls),
        freeswitch_stream(folder / "freeswitch" / "streams", calls),
    ]


def parsed(stream: Stream) -> Iterator[Any]:
    from pbx.asterisk import ami
    from pbx.freeswitch import esl

    if stream.kind == "Asterisk":
        parser = ami.Parser()
        for read in stream.reads():
            yield from parser.feed(read)
        return
    frames = esl.Parser()
    for read in stream.reads():
        for frame in frames.feed(read):
            yield esl.message_of(frame.body)


def interpreted(stream: Stream) -> Iterator[Any]:
    from pbx.asterisk.interpreter import Interpreter as OfAsterisk
    from pbx.freeswitch.interpreter import Interpreter as OfFreeSwitch

    take: Callable[[Any, datetime], Sequence[Any]]
    interpreter = OfAsterisk() if stream.kind == "Asterisk" else OfFreeSwitch()
    take = interpreter.ami if isinstance(interpreter, OfAsterisk) else interpreter.take
    for message in parsed(stream):
        yield from take(message, datetime.now(UTC))


def stored(stream: Stream) -> int:
    """Hands what a switch means to the portal as its connector does; how many events that were."""
    from pbx.connectors.portal import with_database
    from pbx.intake import take
    from tenants.models import Switch

    kind = stream.kind.lower()
    switch, _ = with_database(Switch.objects.get_or_create, name=f"Replayed {kind}", defaults={"kind": kind})
    batch: list[Any] = []
    count = 0
    for event in interpreted(stream):
        batch.append(event)
        if len(batch) == BATCH:
            with_database(take, switch, batch)
            count, batch = count + len(batch), []
    with_database(take, switch, batch)
    return count + len(batch)


def rate(stream: Stream, work: Callable[[Stream], Any]) -> tuple[float, float]:
    """Events of the switch a second: by the clock, and by this process' own processor time."""
    began, worked = time.perf_counter(), time.process_time()
    found = work(stream)
    if isinstance(found, Iterator):
        for _ in found:
            pass
    return stream.events / (time.perf_counter() - began), stream.events / (time.process_time() - worked)


def rates_with_database(calls: int) -> None:
    """In a process of its own that knows the portal's database; prints JSON."""
    print(json.dumps({each.kind: rate(each, stored) for each in streams(calls)}))


def measure_events(calls: int, stored_calls: int) -> None:
    ready = streams(calls)
    with stack() as portal:
        portal.start()
        command = f"from benchmarks.switches import rates_with_database; rates_with_database({stored_calls})"
        with_database = _inside(portal, command)
    say("", f"Events of the switch a second, {calls} calls ({stored_calls} with the database), {machine()}")
    say("By processor time of the one process; in brackets by the clock")
    say("| | events | parsing | parsing and interpreting | of parsing | into the database as well |")
    say("|---|---|---|---|---|---|")
    for each in ready:
        alone, whole = rate(each, parsed), rate(each, interpreted)
        told = [f"{own:,.0f} ({clock:,.0f})" for clock, own in (alone, whole, with_database[each.kind])]
        say(f"| {each.kind} | {each.events:,} | {told[0]} | {told[1]} | {whole[1] / alone[1]:.0%} | {told[2]} |")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    asked.add_argument("--pauses", type=int, default=200)
    asked.add_argument("--calls", type=int, default=2_000, help="calls in the replayed streams")
    asked.add_argument("--stored-calls", type=int, default=400, help="of them into the database")
    given = asked.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    if "pause" in given.parts:
        measure_pauses(given.pauses)
    if "events" in given.parts:
        measure_events(given.calls, given.stored_calls)


if __name__ == "__main__":
    main()
