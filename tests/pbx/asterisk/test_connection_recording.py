"""A connector that records: from a call's answer over the portal's order to the file in the portal."""

import asyncio
import re
import struct
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from pbx.connectors import portal
from recordings import vault
from recordings.models import Recording, RecordingFile, Segment
from tenants import outbox
from tenants.models import Switch, SwitchCommand, Tenant
from tenants.schemas import in_schema
from tests.pbx.asterisk.fake import FakeAsterisk, fake_asterisk, told_now
from tests.pbx.asterisk.test_connection import running, split, switch_of, until, until_state, up
from tests.pbx.asterisk.test_tracks import wav

pytestmark = pytest.mark.django_db(transaction=True)

VOICE = [100] * 800


@pytest.fixture(autouse=True)
def acme_records(tenants: None) -> None:
    Tenant.objects.filter(schema_name="acme").update(enable_extension_audio_recording=True)


def commands() -> list[tuple[str, str, str]]:
    return [(row.command, row.state, row.reason) for row in SwitchCommand.objects.order_by("id")]


def done(*words: str) -> list[tuple[str, str, str]]:
    return [(f"{word}_recording", "done", "") for word in words]


def file_of(state: str = "stored") -> bytes:
    with in_schema("acme"):
        file = RecordingFile.objects.filter(state__in=(state, "ready")).first()
        return b"".join(vault.read(file)) if file else b""


def problem() -> str:
    with in_schema("acme"):
        recording = Recording.objects.first()
        return recording.problem if recording else ""


def segment_problems() -> list[str]:
    with in_schema("acme"):
        return list(Segment.objects.order_by("number").values_list("problem", flat=True))


def store_files(fake: FakeAsterisk, sound: bytes) -> None:
    """As Asterisk does at the end of a MixMonitor."""
    for _, options in fake.monitors.values():
        name = re.search(r"recording/(voxledger/[^.]+)\.wav", options)
        assert name
        fake.stored[name[1]] = sound
    fake.monitors.clear()


async def until_commands(expected: list[tuple[str, str, str]]) -> None:
    await until(lambda: commands() == expected)


async def test_an_answered_call_is_recorded_and_its_file_is_fetched(tenants: None) -> None:
    talking, ending = split(told_now("extension_to_extension"), "BridgeEnter")
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            await fake.play(talking)
            await until_commands(done("start"))
            assert sorted(channel.partition("-")[0] for channel, _ in fake.monitors.values()) == [
                "PJSIP/101@acme.test", "PJSIP/102@acme.test",
            ]  # fmt: skip
            store_files(fake, wav(VOICE))
            await fake.play(ending)
            content = await until(file_of)
            await until(lambda: not fake.stored)
    assert max(struct.unpack(f"<{len(content) // 2 - 22}h", content[44:])) == 200  # both voices together


async def test_the_portal_says_what_a_file_lacks(tenants: None) -> None:
    """Asterisk lost one party's track: the file has the other's voice, and says so."""
    talking, ending = split(told_now("extension_to_extension"), "BridgeEnter")
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            await fake.play(talking)
            await until_commands(done("start"))
            await until(lambda: len(fake.stored) == 2)
            store_files(fake, wav(VOICE))
            del fake.stored[next(name for name in fake.stored if "-other-" in name)]
            await fake.play(ending)
            content = await until(file_of)
    lack = "Segment 1 is not whole. Of its 2 tracks: 1 missing on Asterisk."
    assert await sync_to_async(problem)() == lack
    assert await sync_to_async(segment_problems)() == [lack]
    assert max(struct.unpack(f"<{len(content) // 2 - 22}h", content[44:])) == 100


async def test_a_party_that_asterisk_will_not_record_ends_the_segment(tenants: None) -> None:
    """Somebody holds, all begin new tracks, and Asterisk refuses: what follows is another segment, or a problem."""
    talking, holding = split(told_now("hold_unhold"), "BridgeEnter")
    until_held, _ = split(holding, "Hold")
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            await fake.play(talking)
            await until_commands(done("start"))
            fake.refusals = {"MixMonitor": "Permission denied"}
            await fake.play(until_held)
            said = "Asterisk refused MixMonitor: Permission denied."
            await until(lambda: said in problem())
            await until(lambda: not fake.monitors)
    assert (await sync_to_async(segment_problems)())[0] == said


async def test_the_portal_says_why_nothing_was_recorded(tenants: None) -> None:
    talking, _ = split(told_now("extension_to_extension"), "BridgeEnter")
    async with fake_asterisk() as fake:
        fake.refusals = {"MixMonitor": "Permission denied"}
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            await fake.play(talking)
            refused = ("start_recording", "failed", "Asterisk refused MixMonitor: Permission denied.")
            await until_commands([refused] * 3)
    assert (
        await sync_to_async(problem)()
        == "The switch could not start recording: Asterisk refused MixMonitor: Permission denied."
    )


async def test_a_start_that_came_too_late_is_undone(tenants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal gave up waiting while Asterisk was slow: what began then must not go on."""
    confirm = portal.confirm

    def confirm_late(switch: Switch, order: Any, outcome: Any) -> bool:
        SwitchCommand.objects.filter(pk=order.id).update(state=SwitchCommand.State.EXPIRED)
        return confirm(switch, order, outcome)

    monkeypatch.setattr(portal, "confirm", confirm_late)
    talking, _ = split(told_now("extension_to_extension"), "BridgeEnter")
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            await fake.play(talking)
            await until(lambda: len(fake.done) == 4)
    assert [each.split()[0] for each in fake.done] == ["start", "start", "stop", "stop"]
    assert fake.monitors == {}


async def test_a_start_that_came_too_late_is_undone_after_a_reconnect(
    tenants: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network goes while the portal gives up: what runs on Asterisk is stopped as soon as there is one again."""
    talking, _ = split(told_now("extension_to_extension"), "BridgeEnter")
    async with fake_asterisk() as fake:
        confirm = portal.confirm

        def confirm_late(switch: Switch, order: Any, outcome: Any) -> bool:
            SwitchCommand.objects.filter(pk=order.id).update(state=SwitchCommand.State.EXPIRED)
            fake.cuts_before = "StopMixMonitor"
            return confirm(switch, order, outcome)

        monkeypatch.setattr(portal, "confirm", confirm_late)
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            fake.channels = up(talking)
            await fake.play(talking)
            await until(lambda: fake.signed_in == 2)
            await until(lambda: not fake.monitors)
    assert [each.split()[0] for each in fake.done] == ["start", "start", "stop", "stop"]


async def test_files_of_others_are_left_alone(tenants: None) -> None:
    """Another portal on the same Asterisk, and an order that is about to be obeyed again."""
    async with fake_asterisk() as fake:
        switch = await switch_of(fake)
        foreign = "voxledger/999-1-1-1700000000000-first-17_0"
        ours = "voxledger/42-1-1-1700000000000-first-17_0"
        acme = await sync_to_async(Tenant.objects.get)(schema_name="acme")
        row = await sync_to_async(outbox.enqueue)(
            switch, tenant_id=acme.pk, command=SwitchCommand.Command.START, session_id="gone", recording_id="42",
            medium="audio",
        )  # fmt: skip
        fake.stored = {foreign: wav(VOICE), ours: wav(VOICE), "voicemail": b"x"}
        async with running(switch):
            await until_commands([("start_recording", "failed", "Nobody is connected in this call any more.")])
            await asyncio.sleep(0.2)
        assert set(fake.stored) >= {foreign, "voicemail"}
        await sync_to_async(SwitchCommand.objects.filter(pk=row.pk).update)(state="done")
        async with running(switch):
            await until(lambda: set(fake.stored) == {foreign, "voicemail"})


async def test_a_recording_that_asterisk_does_not_write_has_failed(tenants: None) -> None:
    """Its folder is missing or full: MixMonitor says Success all the same."""
    talking, _ = split(told_now("extension_to_extension"), "BridgeEnter")
    async with fake_asterisk() as fake:
        fake.can_write = False
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected", " by AMI and ARI.")
            await fake.play(talking)
            said = "The switch failed to record: Asterisk does not write into its folder of recordings"
            await until(lambda: said in problem())
            await until(lambda: not fake.monitors)
