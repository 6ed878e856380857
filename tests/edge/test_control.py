"""A phone pauses and resumes the recording of its own call by MESSAGE, through a real edge; the file is listened to."""

import asyncio
import json
from typing import Any

import pytest

from tests.asterisk.flows import ACME, GLOBEX
from tests.asterisk.listening import Recorded
from tests.asterisk.phone import Call
from tests.asterisk.rig import extension_password
from tests.edge.phone import PATIENCE, EdgePhone, Transport, part, say
from tests.edge.site import Site
from tests.run.stack import eventually

pytestmark = [pytest.mark.edge, pytest.mark.stack, pytest.mark.xdist_group("stack")]

PLAIN = "plain/x-media-control"
ALICE, BOB = 500, 650
SECRETS, AFTER = (1250, 2000), (800, 1000)  # said while it is paused, and after


def order(operation: str, session_id: str) -> str:
    """The body as the specification prints it."""
    return f'{{ "operation" : "{operation}", "session_id" : "{session_id}"}}'


def audio_of(site: Site, session_id: str) -> Any:
    """What is recorded of a call in progress."""
    calls = [each for each in site.acme.get("/api/v1/calls")["items"] if each["session_id"] == session_id]
    return calls[0]["recording"]["audio"] if calls and calls[0]["recording"] else None


def until_recorded(site: Site, session_id: str) -> None:
    eventually(lambda: (audio_of(site, session_id) or {}).get("state") == "recording", seconds=60)


def recording_of(site: Site, session_id: str) -> Any:
    """Once its file is there."""
    found: list[Any] = []

    def is_ready() -> bool:
        found[:] = site.acme.get(f"/api/v1/recordings?session_id={session_id}")["items"]
        return [each["state"] for each in found] == ["ready"]

    eventually(is_ready, seconds=120)
    return site.acme.get(f"/api/v1/recordings/{found[0]['id']}")


async def recorded_call(site: Site, alice: EdgePhone, bob: EdgePhone) -> tuple[Call, Call]:
    caller, callee = await alice.talk_to(bob.number, bob)
    until_recorded(site, callee.session_id)
    return caller, callee


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_phone_pauses_and_resumes_its_own_call_by_both_messages(site: Site, transport: Transport) -> None:
    alice = await site.phone("101", transport=transport, tone_hz=ALICE)
    bob = await site.phone("102", transport=transport, tone_hz=BOB)
    caller, callee = await recorded_call(site, alice, bob)
    session_id = callee.session_id
    await say(caller, ALICE, callee)

    async def by_json(operation: str) -> int:
        return (await alice.message(PLAIN, order(operation, session_id))).status

    async def by_text(operation: str) -> int:
        return (await alice.message_within(caller, PLAIN, operation)).status

    for send, secret, after in ((by_json, SECRETS[0], AFTER[0]), (by_text, SECRETS[1], AFTER[1])):
        assert await send("pause-audio-recording") == 200
        assert audio_of(site, session_id)["state"] == "paused"
        await say(caller, secret, callee)
        await say(caller, after, callee)
        assert await send("resume-audio-recording") == 200
        assert audio_of(site, session_id)["state"] == "recording"
        await say(caller, after, callee)
    await part(caller, callee)

    recording = recording_of(site, session_id)
    said = [(gap["reason"], gap["begun_via"], gap["ended_via"]) for gap in recording["gaps"]]
    assert said == [("paused", "sip_message", "sip_message")] * 2
    sound = Recorded(site.acme.file(recording["file"]))
    assert set(sound.lines((ALICE, BOB, *SECRETS, *AFTER))) == {ALICE, BOB, *AFTER}


async def test_the_one_who_is_called_pauses_too(site: Site) -> None:
    alice, bob = await site.phone("101", tone_hz=ALICE), await site.phone("102", transport="tcp", tone_hz=BOB)
    caller, callee = await recorded_call(site, alice, bob)
    for operation, state in (("pause-audio-recording", "paused"), ("resume-audio-recording", "recording")):
        answer = await bob.message_within(callee, PLAIN, operation)
        assert (answer.status, audio_of(site, callee.session_id)["state"]) == (200, state)
    answer = await bob.message("application/x-media-control+json", order("pause-audio-recording", callee.session_id))
    assert (answer.status, audio_of(site, callee.session_id)["state"]) == (200, "paused")
    await part(caller, callee)


async def test_nobody_else_pauses_it(site: Site) -> None:
    """Not a colleague in another call, not a namesake of another tenant, and nobody with a wrong password."""
    alice, bob = await site.phone("101", tone_hz=ALICE), await site.phone("102", tone_hz=BOB)
    caller, callee = await recorded_call(site, alice, bob)
    carol, dave = await site.phone("103", transport="tcp"), await site.phone("201", tone_hz=1100)
    others = await carol.talk_to("201", dave)
    namesake = await site.phone("101", GLOBEX)
    pause = order("pause-audio-recording", callee.session_id)

    assert (await carol.message(PLAIN, pause)).status == 403
    assert (await carol.message_within(caller, PLAIN, "pause-audio-recording")).status == 403
    assert (await namesake.message(PLAIN, pause)).status == 403
    assert (await namesake.message_within(caller, PLAIN, "pause-audio-recording")).status == 404  # none of his tenant's
    alice._password = "guessed"
    assert (await alice.message(PLAIN, pause)).status == 407
    assert (await alice.message_within(caller, PLAIN, "pause-audio-recording")).status == 401

    assert audio_of(site, callee.session_id)["state"] == "recording"
    alice._password = extension_password("101", ACME)
    await part(*others)
    await part(caller, callee)
    assert recording_of(site, callee.session_id)["gaps"] == []


async def test_what_cannot_be_done_is_said(site: Site) -> None:
    alice, bob = await site.phone("101", tone_hz=ALICE), await site.phone("102", tone_hz=BOB)
    caller, callee = await recorded_call(site, alice, bob)
    session_id = callee.session_id
    assert (await alice.message(PLAIN, order("pause-video-recording", session_id))).status == 488
    assert (await alice.message(PLAIN, order("erase-audio-recording", session_id))).status == 400
    assert (await alice.message(PLAIN, order("pause-audio-recording", "5984923794364"))).status == 404
    assert (await alice.message(PLAIN, json.dumps([]))).status == 400
    other = await alice.message("text/plain", "hello")
    assert (other.status, other.get("server")) == (404, "Voxledger test rig")  # it is the switch that answers
    await part(caller, callee)
    async with asyncio.timeout(PATIENCE):  # until the portal has heard that it is over, she is no party of it any more
        while (status := (await alice.message_within(caller, PLAIN, "pause-audio-recording")).status) == 403:
            pass
    assert status == 404


async def test_who_guesses_at_one_address_locks_out_no_other(site: Site) -> None:
    alice, bob = await site.phone("101", tone_hz=ALICE), await site.phone("102", tone_hz=BOB)
    caller, callee = await recorded_call(site, alice, bob)
    pause = order("pause-audio-recording", callee.session_id)
    thief = await site.phone("101", host="127.0.0.9")
    thief._password = "guessed"
    statuses = [(await thief.message(PLAIN, pause)).status for _ in range(11)]
    assert statuses == [407] * 10 + [403]
    assert (await alice.message(PLAIN, pause)).status == 200
    await part(caller, callee)
