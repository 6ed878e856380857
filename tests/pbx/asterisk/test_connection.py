"""The connector against an Asterisk that goes away, comes back, refuses, and talks nonsense."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from cdr.callevents import CallEvent, PartyUpdated
from cdr.models import CDR, LiveSession
from pbx.asterisk import connection as connector
from pbx.asterisk.ami import Message
from pbx.asterisk.connection import Connector
from pbx.connectors import portal
from pbx.connectors.backoff import Backoff
from pbx.connectors.base import SwitchGoneError
from tenants.crypto import encrypt
from tenants.models import Switch
from tenants.schemas import in_schema
from tests.pbx.asterisk.fake import PASSWORD, USER, FakeAsterisk, encoded, fake_asterisk, told_now

pytestmark = pytest.mark.django_db(transaction=True)

Row = dict[str, Any]
PATIENCE = 60.0  # seconds that a busy machine may take for what takes a moment


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may hear of a Call-ID late; only one test is about how long that is waited for."""
    if "never_comes" not in request.node.name:
        monkeypatch.setattr("pbx.asterisk.interpreter.WAIT_FOR_CALL_ID", timedelta(seconds=PATIENCE))


def make_switch(address: dict[str, Any], password: str = PASSWORD) -> Switch:
    credentials = orjson.dumps({"ami_user": USER, "ami_password": password}).decode()
    return Switch.objects.create(
        name="PBX", kind=Switch.Kind.ASTERISK, address=address, credentials=encrypt(credentials)
    )


async def switch_of(fake: FakeAsterisk, password: str = PASSWORD) -> Switch:
    # Without ARI its port is one where nothing listens.
    address = {"host": "127.0.0.1", "ami_port": fake.ami_port, "http_port": fake.http_port or 1}
    return await sync_to_async(make_switch)(address, password)


def quick() -> Backoff:
    return Backoff(first=0.02, limit=0.05)


@contextlib.asynccontextmanager
async def running(switch: Switch) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(Connector(switch, backoff=quick).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


async def until(is_so: Callable[[], Any]) -> Any:
    """What `is_so` (in the database, or in memory) answers as soon as it answers something."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if found := await sync_to_async(is_so)():
                return found
            await asyncio.sleep(0.02)


async def until_state(switch: Switch, state: str, message: str = "") -> str:
    def said() -> str:
        row = Switch.objects.get(pk=switch.pk)
        if row.connector_state == state and message in row.connector_message and row.connector_seen_at:
            return row.connector_message or "-"
        return ""

    return str(await until(said))


def records() -> list[dict[str, Any]]:
    with in_schema("acme"):
        return [
            {
                "session_id": cdr.session_id,
                "call_id": cdr.call_id,
                "callee": cdr.callee,
                "reason": (cdr.end_reason, cdr.status_code),
                "incomplete": cdr.incomplete,
                "targets": [(leg.callee, leg.end_reason, leg.status_code) for leg in cdr.targets.all()],
            }
            for cdr in CDR.objects.order_by("id")
        ]


def in_progress() -> list[str]:
    with in_schema("acme"):
        return list(LiveSession.objects.filter(ended_time=None).values_list("session_id", flat=True))


def split(rows: list[Row], event: str) -> tuple[list[Row], list[Row]]:
    """The rows up to the first such event, that event included, and the rest."""
    index = next(i for i, row in enumerate(rows) if row["event"].get("Event") == event)
    return rows[: index + 1], rows[index + 1 :]


def session_id_of(rows: list[Row]) -> str:
    return str(next(row["event"]["Linkedid"] for row in rows if row["event"].get("Event") == "Newchannel"))


def call_id_of(rows: list[Row]) -> str:
    caller = session_id_of(rows)
    channels = (row["event"].get("channel", {}) for row in rows if row["source"] == "ari")
    return next(str(each["protocol_id"]) for each in channels if each.get("id") == caller and each.get("protocol_id"))


def up(rows: list[Row]) -> list[Message]:
    """The channels of a call, as CoreShowChannels lists them once it was answered."""
    found: dict[str, Message] = {}
    for row in rows:
        event = row["event"]
        for prefix in ("", "Dest"):
            if uniqueid := event.get(f"{prefix}Uniqueid"):
                names = ("Channel", "CallerIDNum", "CallerIDName", "Exten", "Linkedid", "ChanVariable")
                told = {name: event[f"{prefix}{name}"] for name in names if f"{prefix}{name}" in event}
                found[uniqueid] = found.get(uniqueid, {}) | told | {"Uniqueid": uniqueid}
    return [
        {**channel, "ChannelState": "6", "BridgeId": "b1", "Duration": "00:00:05"}
        for channel in found.values()
        if "Channel" in channel
    ]


def finished(rows: list[Row], **more: Any) -> dict[str, Any]:
    """The record of the recorded call of 101 to 102."""
    return {
        "session_id": session_id_of(rows),
        "call_id": call_id_of(rows),
        "callee": "102",
        "reason": ("caller_disconnect", 0),
        "incomplete": False,
        "targets": [("102", "caller_disconnect", 0)],
        **more,
    }


# --- A call ---


async def test_a_call_becomes_its_record(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        async with running(switch):
            said = await until_state(switch, "connected", "ARI")
            assert said == "Connected to Asterisk 22.10.1 by AMI and ARI."
            await fake.play(rows)
            assert await until(records) == [finished(rows)]
        assert await until_state(switch, "stopped") == "-"
        assert fake.subscriptions == ["channel:"]
        assert fake.filters == [
            {
                "allowed": [
                    {"type": "ChannelStateChange"},
                    {"type": "ChannelUserevent"},
                    {"type": "ChannelHangupRequest"},
                    {"type": "ChannelDestroyed"},
                    {"type": "Dial"},
                ]
            }
        ]


async def test_the_same_events_twice_are_one_record(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(rows)
            await until(records)
            await fake.play(rows)
            await asyncio.sleep(0.3)
        assert await sync_to_async(records)() == [finished(rows)]


async def test_nonsense_in_the_stream_harms_no_call(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        nonsense = [
            b"\0\xff\xfe garbage without end " * 2000 + b"\r\n\r\n",
            b"Event: Hangup\r\nUniqueid: 1.1\r\n\r\n",
            b"Event: DialBegin\r\nUniqueid: \r\nDestUniqueid: \r\n\r\n",
            b"Event: Newchannel\r\nUniqueid: 9.9\r\nTimestamp: inf\r\nChannel: PJSIP/\r\n\r\n",
            b"Response: Error\r\nActionID: 999\r\n\r\n",
            b"Event: UserEvent\r\nUserEvent: VoxledgerTarget\r\n\r\n",
        ]
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            for index, row in enumerate(rows):
                fake.say_bytes(nonsense[index % len(nonsense)])
                await fake.play([row])
            await fake.say_by_ari({"type": "ChannelDestroyed", "channel": "none"})
            assert finished(rows) in await until(records)


async def test_a_wrong_clock_of_the_switch_is_corrected(tenants: None) -> None:
    async with fake_asterisk() as fake:
        fake.clock_ahead = 3600.0
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        for row in rows:
            if "Timestamp" in row["event"]:
                row["event"]["Timestamp"] = f"{float(row['event']['Timestamp']) + 3600:.6f}"
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(rows)
            assert await until(records) == [finished(rows)]


# --- Who may not come in, who is not there ---


async def test_a_wrong_password_is_said_and_tried_again(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake, "wrong")
        async with running(switch):
            assert await until_state(switch, "refused") == (
                "Asterisk refused the AMI user voxledger: check its name, secret and permit in manager.conf."
            )
            fake.password = "wrong"
            await until_state(switch, "connected")


async def test_an_asterisk_that_is_down_is_waited_for(tenants: None) -> None:
    async with fake_asterisk() as fake:
        await fake.stop_ami()
        switch = await switch_of(fake)
        async with running(switch):
            assert await until_state(switch, "unreachable") == (
                f"AMI at 127.0.0.1:{fake.ami_port} cannot be reached: Connect call failed "
                f"('127.0.0.1', {fake.ami_port})."
            )
            await fake.start_ami()
            await until_state(switch, "connected")
            await fake.stop_ami()
            await until_state(switch, "unreachable")


async def test_an_asterisk_that_falls_silent_is_left(tenants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "PING_EVERY", 0.1)
    monkeypatch.setattr("pbx.asterisk.manager.ANSWER_TIMEOUT", 0.3)
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected")
            await until(lambda: fake.pings > 3)
            fake.answers_pings = False
            await until_state(switch, "unreachable", "Asterisk did not answer Ping")


async def test_settings_that_lack_something_are_said(tenants: None) -> None:
    switch = await sync_to_async(make_switch)({})
    async with running(switch):
        assert await until_state(switch, "unconfigured") == "The switch PBX has no host: fill it in under Switches."


async def test_new_settings_are_used_at_once(tenants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.connectors.base.REPORT_EVERY", 0.1)
    async with fake_asterisk() as first, fake_asterisk() as second:
        switch = await switch_of(first)
        async with running(switch):
            await until(lambda: first.lists_by_ari)
            address = {"host": "127.0.0.1", "ami_port": second.ami_port, "http_port": second.http_port}
            await sync_to_async(Switch.objects.filter(pk=switch.pk).update)(address=address)
            await until(lambda: second.signed_in and second.lists_by_ari)


@pytest.mark.parametrize("how", ["deleted", "switched off"])
async def test_a_switch_that_is_gone_ends_the_connector(
    tenants: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("pbx.connectors.base.REPORT_EVERY", 0.1)
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        task = asyncio.create_task(Connector(switch, backoff=quick).run(asyncio.Event()))
        await until(lambda: fake.signed_in)
        rows = Switch.objects.filter(pk=switch.pk)
        await sync_to_async(rows.delete if how == "deleted" else lambda: rows.update(enabled=False))()
        with pytest.raises(SwitchGoneError, match=f"The switch PBX (was|is) {how}."):
            await asyncio.wait_for(task, 10)


async def test_without_ari_calls_have_no_call_id_and_it_is_said(tenants: None) -> None:
    async with fake_asterisk(ari=False) as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        async with running(switch):
            said = await until_state(switch, "connected", "ARI")
            assert said.startswith(
                "Connected to Asterisk 22.10.1 by AMI. ARI at http://127.0.0.1:1/ari does not answer: "
            )
            assert said.endswith(" Calls have no SIP Call-ID.")
            await fake.play(rows)
            assert await until(records) == [finished(rows, call_id="")]


async def test_a_call_id_that_comes_late_is_waited_for_a_moment(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play([row for row in rows if row["source"] == "ami"])
            await asyncio.sleep(0.2)
            assert await sync_to_async(records)() == []
            await fake.play([row for row in rows if row["source"] == "ari"])
            assert await until(records) == [finished(rows)]


async def test_a_call_id_that_never_comes_is_not_waited_for_longer(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play([row for row in rows if row["source"] == "ami"])
            assert await until(records) == [finished(rows, call_id="")]


# --- After a gap ---


async def test_a_call_that_ended_during_the_gap_is_incomplete(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        before, _ = split(rows, "BridgeEnter")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(before)
            await until(in_progress)
            fake.cut()
            lost = finished(rows, reason=("", 0), incomplete=True, targets=[("102", "", 0)])
            assert await until(records) == [lost]


async def test_a_call_that_lives_through_the_gap_goes_on(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        before, after = split(rows, "BridgeEnter")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(before)
            await until(in_progress)
            fake.channels = up(before)
            fake.cut()
            await until(lambda: fake.signed_in == 2)
            await asyncio.sleep(0.1)
            assert await sync_to_async(in_progress)() == [session_id_of(rows)]
            await fake.play(after)
            assert await until(records) == [finished(rows)]


async def test_a_call_found_in_progress_is_adopted(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        before, after = split(rows, "BridgeEnter")
        fake.channels = up(before)
        fake.call_ids = {session_id_of(rows): call_id_of(rows)}
        async with running(switch):
            assert await until(in_progress) == [session_id_of(rows)]
            await fake.play(after)
            assert await until(records) == [finished(rows)]


async def test_events_that_overtake_the_list_are_not_lost(tenants: None) -> None:
    async with fake_asterisk(ari=False) as fake:
        switch = await switch_of(fake)
        rows = [row for row in told_now("extension_to_extension") if row["source"] == "ami"]
        fake.said_before_list = [b"".join(encoded(row["event"]) for row in rows)]
        expected = finished(told_now("extension_to_extension"), call_id="")
        async with running(switch):
            assert await until(records) == [expected]


async def test_a_restarted_connector_goes_on_with_its_calls(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        before, after = split(rows, "BridgeEnter")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(before)
            await until(in_progress)
        fake.channels = up(before)
        async with running(switch):
            await until(lambda: fake.signed_in == 2)
            await until_state(switch, "connected")
            await fake.play(after)
            assert await until(records) == [finished(rows)]


async def test_a_restarted_connector_closes_what_is_gone(tenants: None) -> None:
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        before, _ = split(rows, "BridgeEnter")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(before)
            await until(in_progress)
        async with running(switch):
            lost = finished(rows, reason=("", 0), incomplete=True, targets=[("102", "", 0)])
            assert await until(records) == [lost]


# --- The database is away ---


async def test_events_wait_in_order_while_the_database_is_away(tenants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    is_away = True
    taken: list[str] = []
    take_for_real = portal.take

    def take(switch: Switch, events: Sequence[CallEvent]) -> None:
        if is_away:
            raise OperationalError("server closed the connection unexpectedly")
        taken.extend(event.id.rpartition(":")[2] for event in events if not isinstance(event, PartyUpdated))
        take_for_real(switch, events)

    monkeypatch.setattr(portal, "take", take)
    monkeypatch.setattr("pbx.connectors.base.REPORT_EVERY", 0.1)
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        rows = told_now("extension_to_extension")
        async with running(switch):
            await until(lambda: fake.lists_by_ari)
            await fake.play(rows)
            await until_state(switch, "connected", "The database does not take call events.")
            assert taken == []
            is_away = False
            assert await until(records) == [finished(rows)]
            assert taken == ["started", "added", "ringing", "answered", "ended", "ended"]
            rows_of_switch = Switch.objects.filter(pk=switch.pk)
            await until(
                lambda: rows_of_switch.filter(
                    connector_message="Connected to Asterisk 22.10.1 by AMI and ARI."
                ).exists()
            )


# --- manage.py connect ---


def test_connect_needs_a_switch_that_is_there(tenants: None) -> None:
    switch = make_switch({"host": "127.0.0.1"})
    with pytest.raises(CommandError) as refusal:
        call_command("connect", "nobody")
    assert str(refusal.value) == f"There is no switch 'nobody'. There are: PBX ({switch.pk})."


def test_connect_is_for_switches_that_the_portal_calls(tenants: None) -> None:
    Switch.objects.create(name="API", kind=Switch.Kind.HTTP)
    with pytest.raises(CommandError) as refusal:
        call_command("connect", "API")
    assert str(refusal.value) == "API is of the kind HTTP (Switch API): nothing has to be connected."


def test_connect_leaves_a_switch_alone_that_is_switched_off(tenants: None) -> None:
    switch = make_switch({"host": "127.0.0.1"})
    Switch.objects.update(enabled=False)
    with pytest.raises(CommandError) as refusal:
        call_command("connect", str(switch.pk))
    assert str(refusal.value) == "The switch PBX is switched off."


async def test_connect_follows_calls_until_it_is_told_to_stop(tenants: None) -> None:
    database = connection.settings_dict
    where = f"postgres://{database['USER']}@{quote(str(database['HOST']), safe='')}/{database['NAME']}"
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(settings.BASE_DIR / "manage.py"), "connect", "PBX"),
            env={**os.environ, "DATABASE_URL": where, "DJANGO_SETTINGS_MODULE": "portal.settings"},
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(2 * PATIENCE):
            while not fake.lists_by_ari:
                await asyncio.sleep(0.05)
        rows = told_now("extension_to_extension")
        await fake.play(rows)
        assert await until(records) == [finished(rows)]
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, b"Traceback" in said) == (0, False)
        await until_state(switch, "stopped")
