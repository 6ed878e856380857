"""The simulated switch against a portal that goes away, forgets its token and hands out commands."""

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from django.db import connection

from cdr.models import LiveSession
from pbx.management.commands.simulate import hang_up_lost_calls, new_token
from pbx.simulator import switch as module
from pbx.simulator.switch import Portal, Simulator
from pbx.simulator.world import Number, World, worlds
from tenants.models import InboundRule, Switch, Tenant, Trunk
from tenants.switches import switch_of_token
from tests.pbx.simulator.test_flows import WORLD


class FakePortal:
    """Speaks the Switch API and keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.confirmed: dict[str, dict[str, str]] = {}
        self.commands_to_come: list[dict[str, Any]] = []
        self.files: dict[str, tuple[str, bytes]] = {}
        self.refusals: list[int] = []
        self.refusals_of_files: list[int] = []
        self.tokens = 0
        self.hosts: set[str] = set()

    async def take(self, request: web.Request) -> web.Response:
        self.hosts.add(request.headers["Host"])
        if request.headers["Authorization"] != f"Bearer token-{self.tokens}":
            return web.json_response({}, status=401)
        if self.refusals:
            return web.Response(status=self.refusals.pop(0), text="<html>")
        body = await request.json()
        self.events += body["events"]
        results = [{"id": event["id"], "status": "applied"} for event in body["events"]]
        return web.json_response({"results": results, "commands": self.pending()})

    def pending(self) -> list[dict[str, Any]]:
        return [command for command in self.commands_to_come if command["id"] not in self.confirmed]

    async def commands(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer token-{self.tokens}":
            return web.json_response({}, status=401)
        await asyncio.sleep(0.05)
        return web.json_response({"commands": self.pending()})

    async def confirm(self, request: web.Request) -> web.Response:
        said = await request.json()
        assert self.confirmed.setdefault(request.match_info["id"], said) == said
        return web.json_response({})

    async def file(self, request: web.Request) -> web.Response:
        content = await request.read()
        if self.refusals_of_files:
            return web.json_response({}, status=self.refusals_of_files.pop(0))
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert request.headers["Content-Digest"] == f"sha-256=:{digest}:"
        self.files[f"{request.match_info['id']}/{request.match_info['number']}"] = (request.content_type, content)
        return web.json_response({}, status=201)

    async def new_token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"


@pytest.fixture
async def portal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[FakePortal, Portal]]:
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)
    fake = FakePortal()
    app = web.Application()
    app.router.add_post("/api/switch/v1/events", fake.take)
    app.router.add_get("/api/switch/v1/commands", fake.commands)
    app.router.add_post("/api/switch/v1/commands/{id}", fake.confirm)
    app.router.add_put("/api/switch/v1/recordings/{id}/segments/{number}/file", fake.file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield fake, Portal(f"http://127.0.0.1:{port}", "portal.test", fake.new_token)
    await runner.cleanup()


def command(command_id: str, word: str, recording_id: str, **more: Any) -> dict[str, Any]:
    common = {"session_id": "7", "segment": 1, "medium": "audio", "options": {}}
    return {"id": command_id, "command": word, "recording_id": recording_id} | common | more


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def one_world() -> Sequence[World]:
    return [WORLD]


async def test_calls_are_told_and_hung_up_when_it_stops(portal: tuple[FakePortal, Portal]) -> None:
    fake, known = portal
    fake.commands_to_come = [command("5", "start_recording", "1", session_id="unknown")]
    simulator = Simulator(known, 6000, one_world, random.Random(1))
    running = asyncio.create_task(simulator.run())
    await until(lambda: len(fake.events) > 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    started = {event["session_id"] for event in fake.events if event["type"] == "call.started"}
    ended = {event["session_id"] for event in fake.events if event["type"] in {"call.ended", "session.merged"}}
    assert started == ended
    assert len({event["id"] for event in fake.events}) == len(fake.events)
    assert (fake.hosts, fake.tokens) == ({"portal.test"}, 1)
    assert fake.confirmed == {"5": {"status": "failed", "reason": "There is no such call."}}


async def test_nothing_is_lost_while_the_portal_stumbles(portal: tuple[FakePortal, Portal]) -> None:
    fake, known = portal
    fake.refusals = [500, 502, 429]
    known.token = "of a former portal"
    simulator = Simulator(known, 0, one_world)
    running = asyncio.create_task(simulator.run())
    for number in range(5):
        simulator._say({"type": "x", "session_id": "7"}, str(number))
    await until(lambda: len(fake.events) == 5)
    assert [event["id"] for event in fake.events] == ["0", "1", "2", "3", "4"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_it_waits_for_a_portal_that_is_not_there(unused_tcp_port: int) -> None:
    async def token() -> str:
        return "token"

    simulator = Simulator(Portal(f"http://127.0.0.1:{unused_tcp_port}", "portal.test", token), 6000, one_world)
    running = asyncio.create_task(simulator.run())
    await asyncio.sleep(0.5)
    assert not running.done()
    assert simulator._waiting
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_is_recorded_is_delivered(portal: tuple[FakePortal, Portal]) -> None:
    fake, known = portal
    fake.refusals_of_files = [507, 503, 404]  # full, away, and then one that nobody wants: that one is left out
    simulator = Simulator(known, 0, one_world)
    running = asyncio.create_task(simulator.run())
    video = {"type": "call.started", "session_id": "7", "media": ["audio", "video"]}
    for number, event in enumerate([video, {"type": "target.answered", "session_id": "7", "target_id": "t"}]):
        simulator._say(event, str(number))
    fake.commands_to_come = [
        command("1", "start_recording", "41"),
        command("2", "start_recording", "42"),
        command("3", "start_recording", "43", medium="video"),
    ]
    await until(lambda: len(fake.confirmed) == 3)
    await asyncio.sleep(0.3)
    fake.commands_to_come += [command("4", "stop_recording", "41")]
    await until(lambda: "4" in fake.confirmed)
    simulator._say({"type": "call.ended", "session_id": "7"}, "9")
    await until(lambda: len(fake.files) == 2)
    assert {name: (kind, content[4:8]) for name, (kind, content) in fake.files.items()} == {
        "42/1": ("audio/wav", fake.files["42/1"][1][4:8]),
        "43/1": ("video/mp4", b"ftyp"),
    }
    assert {said["status"] for said in fake.confirmed.values()} == {"done"}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def launch(command_id: str, session_id: str, **options: str) -> dict[str, Any]:
    whom = {"domain": "acme.test", "caller": "101", "callee": "5551000", "user_data": "ticket 77"} | options
    return command(command_id, "launch_call", "", session_id=session_id, medium="", options=whom)


async def test_a_call_is_launched_once_and_told_under_its_session(portal: tuple[FakePortal, Portal]) -> None:
    fake, known = portal
    simulator = Simulator(known, 0, one_world, random.Random(1))
    fake.commands_to_come = [
        launch("1", "launched"),
        launch("2", "x", caller="777"),
        launch("3", "y", domain="other.test"),
    ]
    running = asyncio.create_task(simulator.run())
    await until(lambda: any(event["type"] == "target.added" for event in fake.events))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    refused = {"status": "failed", "reason": "The simulator knows no such extension."}
    assert {name: said if said["status"] == "failed" else "done" for name, said in fake.confirmed.items()} == {
        "1": "done", "2": refused, "3": refused,
    }  # fmt: skip
    assert {event["session_id"] for event in fake.events} == {"launched"}
    (started,) = [event for event in fake.events if event["type"] == "call.started"]
    assert (started["caller"]["number"], started["caller"]["kind"], started["callee"]["number"]) == (
        "101", "extension", "5551000",
    )  # fmt: skip
    assert (started["user_data"], started["trunk"]) == ("ticket 77", "Acme line")


async def test_a_switch_that_stops_delivers_what_it_recorded(portal: tuple[FakePortal, Portal]) -> None:
    fake, known = portal
    simulator = Simulator(known, 6000, one_world, random.Random(1))
    running = asyncio.create_task(simulator.run())
    await until(lambda: any(event["type"] == "target.answered" for event in fake.events))
    answered = next(event for event in fake.events if event["type"] == "target.answered")
    fake.commands_to_come = [command("1", "start_recording", "41", session_id=answered["session_id"])]
    await until(lambda: "1" in fake.confirmed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert list(fake.files) == ["41/1"]


def test_a_command_handed_out_twice_is_done_once() -> None:
    async def token() -> str:
        return "token"

    simulator = Simulator(Portal("http://127.0.0.1:1", "portal.test", token), 0, one_world)
    simulator._say({"type": "call.started", "session_id": "7"}, "1")
    answers = [
        simulator._do(command("1", "start_recording", "41")),
        simulator._do(command("2", "pause_recording", "41")),
        simulator._do(command("3", "resume_recording", "41")),
    ]
    assert simulator._do(command("2", "pause_recording", "41")) == answers[1]
    simulator._say({"type": "call.ended", "session_id": "7"}, "2")
    (take,) = simulator._takes
    assert [span.until is not None for span in take.pauses] == [True]


def test_the_world_is_that_of_simulated_tenants(acme: Tenant, globex: Tenant) -> None:
    from accounts.models import Extension

    for number in ("101", "102"):
        Extension.objects.create(number=number, display_name=f"Name {number}", record_video=number == "102")
    Extension.objects.create(number="103", enabled=False)
    Trunk.objects.create(name="Acme line", tenant=acme)
    InboundRule.objects.create(number="12025550110", tenant=acme)
    connection.set_schema_to_public()
    assert worlds() == []
    Tenant.objects.filter(pk__in=[acme.pk, globex.pk]).update(simulated=True, pause_recording_code="*58")
    (world,) = worlds()  # globex has nobody to talk to
    assert (world.domain, world.trunk, list(world.dids)) == ("acme.test", "Acme line", ["12025550110"])
    assert list(world.extensions) == [Number("101", "Name 101"), Number("102", "Name 102", records_video=True)]
    assert (world.pause_code, world.resume_code) == ("*58", "*49")


def test_a_simulator_makes_itself_known(tenants: None) -> None:
    first = new_token()
    made = switch_of_token(first)
    assert made is not None
    assert (made.name, made.kind) == ("Simulator", Switch.Kind.SIMULATOR)
    second = new_token()
    assert (switch_of_token(first), switch_of_token(second)) == (None, made)


def test_calls_of_a_simulator_that_was_killed_are_closed(acme: Tenant) -> None:
    from pbx import intake
    from tests.pbx.conftest import call

    connection.set_schema_to_public()
    Tenant.objects.filter(pk=acme.pk).update(simulated=True)
    new_token()
    switch = Switch.objects.get()
    assert {result.status for result in intake.take_documents(switch, call()[:4])} == {"applied"}
    hang_up_lost_calls()
    connection.set_schema("acme")
    closed = LiveSession.objects.get()
    assert (closed.incomplete, closed.ended_time is None) == (True, False)
