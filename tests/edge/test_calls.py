"""Calls through a real edge to a real Asterisk: one id on every leg, in every answer and on the record."""

from typing import Any

import pytest

from tests.asterisk.flows import ACME, CALLER, MOBILE, TONES
from tests.asterisk.phone import Call
from tests.asterisk.sip import Message
from tests.edge.phone import PATIENCE, EdgePhone, Transport, part, until_heard
from tests.edge.site import Site
from tests.run.stack import eventually

pytestmark = [pytest.mark.edge, pytest.mark.stack, pytest.mark.xdist_group("stack")]

FORGED = [("X-Session-Id", "5984923794364"), ("X-Edge-Trunk", "AudioCodes"), ("X-Forwarded-For", "203.0.113.1")]


def answers(phone: EdgePhone, call: Call) -> list[tuple[int, list[str]]]:
    """To the INVITE that was let through: status, and the ids in it."""
    got = [each for each in phone.got[call.call_id] if not each.is_request and each.method == "INVITE"]
    return [(each.status, each.all("x-session-id")) for each in got if each.status not in (100, 401)]


def invite(phone: EdgePhone, call: Call) -> Message:
    return next(each for each in phone.got[call.call_id] if each.is_request and each.method == "INVITE")


def record_of(site: Site, session_id: str) -> Any:
    path = f"/api/v1/cdrs/{session_id}"
    eventually(lambda: site.acme.knows(path), seconds=60)
    return site.acme.get(f"{path}?profile=v16")


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_call_has_one_id_on_every_leg_in_every_answer_and_on_the_record(
    site: Site, transport: Transport
) -> None:
    alice, bob = await site.phone("101", transport=transport), await site.phone("102", transport=transport)
    caller, callee = await alice.talk_to("102", bob, extra=FORGED)
    await part(callee, caller)  # the switch reaches the caller within the dialog, too
    rung = invite(bob, callee)
    session_id = rung.get("x-session-id")
    assert answers(alice, caller) == [(180, [session_id]), (200, [session_id])]
    assert rung.all("x-session-id") == [session_id]
    assert session_id != "5984923794364"
    assert len(rung.all("record-route")) == (1 if transport == "udp" else 2)  # it came by the edge
    assert rung.start_line == f"INVITE {bob.contact[1:-1]} SIP/2.0"  # as the phone calls itself
    record = record_of(site, session_id)
    assert (record["call_id"], record["direction"], record["ended_reason"], record["trunk_name"]) == (
        caller.call_id,
        "ext",
        "callee_disconnect",
        "",
    )


async def test_a_trunk_is_told_no_id(site: Site) -> None:
    alice, trunk = await site.phone("101"), await site.trunk()
    caller, mobile = await alice.talk_to(MOBILE, trunk)
    await part(mobile, caller)
    ((_, (session_id,)), *_) = told = answers(alice, caller)
    assert told[-1] == (200, [session_id])
    out = invite(trunk, mobile)
    assert (out.all("x-session-id"), len(out.all("record-route"))) == ([], 1)
    record = record_of(site, session_id)
    assert (record["call_id"], record["direction"], record["trunk_name"]) == (caller.call_id, "out", "AudioCodes")


async def test_a_call_from_a_trunk_gets_an_id_of_ours(site: Site) -> None:
    bob, trunk = await site.phone("101"), await site.trunk()
    caller, callee = await trunk.talk_to("18800101", bob, extra=FORGED)
    await part(caller, callee)
    session_id = invite(bob, callee).get("x-session-id")
    assert invite(bob, callee).all("x-session-id") == [session_id] != ["5984923794364"]
    assert dict(answers(trunk, caller)) == {180: [], 200: []}
    record = record_of(site, session_id)
    assert (record["caller"], record["direction"], record["trunk_name"]) == (CALLER, "in", "AudioCodes")


async def test_nobody_is_a_trunk_who_says_so(site: Site) -> None:
    """From an address that is no trunk's: it counts as a phone, and must prove that it is one."""
    stranger = await site.phone("101")
    stranger._password = "guessed"
    call = await stranger.dial("18800101", extra=[("X-Edge-Trunk", "AudioCodes")])
    await call.until_ended(PATIENCE)
    assert call.status == 401


async def test_two_devices_behind_the_edge_ring_at_once(site: Site) -> None:
    alice = await site.phone("101")
    desk, soft = await site.phone("102"), await site.phone("102", transport="tls")
    caller = await alice.dial("102")
    lost = await desk.incoming(PATIENCE)
    answered = await soft.answer(after=0.2)
    await lost.until_ended(PATIENCE)
    await caller.until_answered(PATIENCE)
    await until_heard(caller, TONES["102", ACME])
    await part(caller, answered)
    assert invite(desk, lost).get("x-session-id") == invite(soft, answered).get("x-session-id")


async def test_a_caller_gives_up(site: Site) -> None:
    alice, bob = await site.phone("101"), await site.phone("102", transport="tcp")
    caller = await alice.dial("102")
    callee = await bob.incoming(PATIENCE)
    await caller.until_ringing(PATIENCE)
    await caller.cancel()
    await callee.until_ended(PATIENCE)
    record = record_of(site, callee.session_id)
    assert (caller.status, callee.status) == (487, 487)
    assert (record["ended_reason"], record["status_code"]) == ("cancelled", "487")


async def test_nobody_has_himself_called_elsewhere(site: Site) -> None:
    """With his own right password: the second Contact would be a device of his, at the trunk."""
    alice, bob, trunk = await site.phone("101"), await site.phone("102"), await site.trunk()
    own = f"<sip:102@{ACME}>"
    for to in (own, f"{own};tag=2"):
        identity = (f"{own};tag=1", to, to)
        elsewhere = [("Contact", f"<sip:{MOBILE}@{trunk.socket.address[0]}:{trunk.socket.address[1]}>")]
        answer, _ = await bob.authenticated("REGISTER", f"sip:{ACME}", identity, 1, elsewhere)
        assert (answer.status, answer.get("server")) == (400, "")  # it is the edge that answers
    await bob.register(expires=0)
    caller = await alice.dial("102")
    await caller.until_ended(PATIENCE)
    assert (caller.status, trunk.calls) == (480, {})


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_phone_that_has_left_is_not_called(site: Site, transport: Transport) -> None:
    alice, bob = await site.phone("101"), await site.phone("102", transport=transport)
    await bob.register(expires=0)
    caller = await alice.dial("102")
    await caller.until_ended(PATIENCE)
    assert (caller.status, bob.calls) == (480, {})
