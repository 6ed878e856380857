"""A simulated call through the whole portal: what it commands is obeyed, what is delivered becomes a recording, and
who listens hears what the ledger says."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from accounts.models import Extension
from pbx import intake
from pbx.simulator import flows
from pbx.simulator.flows import Flow, Step, script_of
from pbx.simulator.recorder import Recorder, Take
from pbx.simulator.sound import RATE, VOICES
from pbx.simulator.switch import _file_of
from pbx.simulator.world import World, worlds
from recordings import completion, files, vault
from recordings.models import Decision, Gap, Recording, RecordingFile
from tenants import outbox
from tenants.models import InboundRule, Switch, SwitchCommand, SystemSettings, Tenant, Trunk
from tenants.schemas import in_schema
from tests.pbx.simulator.test_recorder import heard, samples_of, seen
from tests.recordings.people import browser

CALLER, FIRST, SECOND = VOICES[:3]
BEGUN = datetime.now(UTC).timestamp() - 600  # times of a confirmation lie in the past


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def door(request: pytest.FixtureRequest, acme: Tenant, settings: Any, tmp_path: Any) -> "Portal":
    settings.MEDIA_ROOT = tmp_path / "recordings"
    settings.RECORDING_ENCRYPTION = request.param
    Extension.objects.create(number="101")
    Extension.objects.create(number="102", record_audio=True)
    Extension.objects.create(number="103", record_audio=True, record_video=True)
    connection.set_schema_to_public()
    switch = Switch.objects.create(name="Simulator", kind=Switch.Kind.SIMULATOR)
    Trunk.objects.create(name="Acme line", tenant=acme, switch=switch)
    InboundRule.objects.create(number="12025550110", tenant=acme)
    SystemSettings.objects.update(record_external_calls=False)
    return Portal(acme, switch)


class Portal:
    """The doors a switch uses, and the recorder behind them, in the time of the call."""

    def __init__(self, tenant: Tenant, switch: Switch) -> None:
        self.tenant, self.switch = tenant, switch
        self.recorder = Recorder()
        self.takes: list[Take] = []

    @property
    def world(self) -> World:
        Tenant.objects.filter(pk=self.tenant.pk).update(simulated=True)
        (world,) = worlds()
        return world

    def place(self, flow: Flow, seed: int) -> None:
        steps = script_of(flow, self.world, "7", random.Random(seed))
        for number, step in enumerate(steps):
            self.tell(step, number)
        for take in self.takes:
            file = _file_of(take)
            files.receive(
                self.switch, take.recording_id, take.segment, [file.content], content_type=file.content_type,
                digests={}, expected_size=len(file.content),
            )  # fmt: skip
        connection.set_schema("acme")
        assert completion.probe_waiting() == len(self.takes)

    def tell(self, step: Step, number: int) -> None:
        moment = BEGUN + step.after
        written = datetime.fromtimestamp(moment, UTC).isoformat()
        (result,) = intake.take_documents(self.switch, [{"id": str(number), "at": written, **step.event}])
        assert result.status == "applied"
        self.takes += self.recorder.hear(step.event, moment)
        while rows := outbox.pending_for(self.switch):
            for row in rows:
                self.obey(row, moment)

    def obey(self, row: SwitchCommand, moment: float) -> None:
        command = {
            "command": row.command, "session_id": row.session_id, "recording_id": row.recording_id,
            "segment": row.segment, "medium": row.medium, "options": row.options,
        }  # fmt: skip
        refused, ended = self.recorder.obey(command, moment)
        assert refused == ""
        self.takes += ended
        outbox.confirm(self.switch, row.pk, SwitchCommand.State.DONE, at=datetime.fromtimestamp(moment, UTC))


def track_of(file: RecordingFile) -> Any:
    return samples_of(b"".join(vault.read(file)))[:, 0]


def gaps() -> list[tuple[str, float]]:
    ended = Gap.objects.exclude(until=None).order_by("since")
    return [(gap.reason, round((gap.until - gap.since).total_seconds(), 1)) for gap in ended]


def test_a_pause_by_feature_code_is_not_in_the_file(door: Portal) -> None:
    door.place(flows.recording_is_paused_for_a_card_number, 1)
    recording = Recording.objects.get()
    assert (recording.state, recording.problem, recording.medium) == ("ready", "", "audio")
    ((reason, paused),) = gaps()
    assert reason == "paused"
    segment = recording.segments.get()
    assert segment.started_at is not None
    assert segment.ended_at is not None
    ran = (segment.ended_at - segment.started_at).total_seconds()
    track = track_of(segment.file)
    assert len(track) / RATE == pytest.approx(ran - paused, abs=0.2)
    assert recording.duration_ms == pytest.approx(1000 * (ran - paused), abs=200)
    assert heard(track, 0, len(track) / RATE) == {CALLER, FIRST}


def test_a_pause_may_be_left_silent(door: Portal) -> None:
    Tenant.objects.filter(pk=door.tenant.pk).update(pause_style="silence", record_dual_tracks=True)
    door.place(flows.recording_is_paused_for_a_card_number, 2)
    recording = Recording.objects.get()
    gap, segment = Gap.objects.get(), recording.segments.get()
    assert gap.until is not None
    since, until = ((moment - segment.started_at).total_seconds() for moment in (gap.since, gap.until))
    samples = samples_of(b"".join(vault.read(segment.file)))
    assert [heard(track, 0, since) for track in samples.T] == [{CALLER}, {FIRST}]
    assert not samples[int(since * RATE) + 10 : int(until * RATE) - 10].any()
    assert recording.state == "ready"


def test_between_external_numbers_nothing_is_recorded(door: Portal) -> None:
    door.place(flows.transferred_to_a_mobile, 3)
    recording = Recording.objects.get()
    assert (recording.state, recording.segments.count()) == ("ready", 1)
    assert [reason for reason, _ in gaps()] == ["external_numbers"]
    track = track_of(recording.segments.get().file)
    assert heard(track, 0, len(track) / RATE) == {CALLER, FIRST}  # the mobile's voice is nowhere
    decision = Decision.objects.filter(rule="external_numbers").get()
    assert (decision.record, decision.command, decision.outcome) == (False, "stop_recording", "done")


def test_a_transfer_has_a_segment_for_each_and_all_voices(door: Portal) -> None:
    with in_schema("acme"):
        Extension.objects.update(record_audio=True)
    door.place(flows.blind_transfer, 4)
    recording = Recording.objects.get()
    assert (recording.state, recording.segments.count()) == ("ready", 2)
    tracks = [track_of(segment.file) for segment in recording.segments.all()]
    assert [heard(track, 0, len(track) / RATE) for track in tracks] == [{CALLER, FIRST}, {CALLER, SECOND}]


def test_its_pages_say_that_it_is_simulated_and_hand_out_what_was_delivered(door: Portal) -> None:
    door.place(flows.video_call, 6)
    reader = browser()
    marked = '<span class="badge" title="Placed by the simulator, not by a real switch.">Simulated</span>'
    assert reader.get("/call-statistics/recordings").content.decode().count(marked) == 2
    for recording in Recording.objects.all():
        page = reader.get(f"/call-statistics/recordings/{recording.pk}").content.decode()
        assert "Of a call of the simulator: the tones are its parties." in page
        answer = reader.get(f"/call-statistics/recordings/{recording.pk}/file")
        (take,) = [each for each in door.takes if each.is_video == (recording.medium == "video")]
        assert answer.getvalue() == _file_of(take).content


def test_a_video_call_is_a_film_and_a_sound(door: Portal) -> None:
    door.place(flows.video_call, 5)
    assert list(Recording.objects.order_by("medium").values_list("medium", "state", "problem")) == [
        ("audio", "ready", ""),
        ("video", "ready", ""),
    ]
    video = RecordingFile.objects.get(content_type="video/mp4")
    assert (video.video_codec, video.audio_codec, video.width, video.height) == ("h264", "aac", 320, 240)
    film = seen(b"".join(vault.read(video)))
    assert heard(film["tracks"][0], 0, film["tracks"].shape[1] / film["rate"], film["rate"]) == {CALLER, FIRST}
    audio = track_of(RecordingFile.objects.get(content_type="audio/wav"))
    assert heard(audio, 0, len(audio) / RATE) == {CALLER, FIRST}
