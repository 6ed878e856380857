import pytest
from django.utils import timezone

from tenants import outbox
from tenants.models import Switch, SwitchCommand

Command = SwitchCommand.Command
pytestmark = pytest.mark.django_db


@pytest.fixture
def switch() -> Switch:
    return Switch.objects.create(name="Node", kind=Switch.Kind.HTTP)


def given(switch: Switch, command: SwitchCommand.Command, recording_id: str, **more: object) -> SwitchCommand:
    about = {"session_id": f"s-{recording_id}", "recording_id": recording_id, "medium": "audio"}
    return SwitchCommand.objects.create(switch=switch, tenant_id=1, command=command, **{**about, **more})


def told(switch: Switch) -> list[str]:
    return [str(row) for row in outbox.pending_for(switch)]


def test_few_come_in_the_order_in_which_they_were_given(switch: Switch) -> None:
    for command in (Command.START, Command.PAUSE, Command.RESUME, Command.STOP):
        given(switch, command, "1")
    assert told(switch) == [f"{word}_recording 1/1" for word in ("start", "pause", "resume", "stop")]


def test_only_what_no_switch_has_fetched_is_withdrawn(switch: Switch) -> None:
    command = given(switch, Command.LAUNCH, "", medium="")
    assert outbox.withdraw(command.pk)
    assert not outbox.withdraw(command.pk)
    assert told(switch) == []
    command = given(switch, Command.LAUNCH, "", medium="")
    assert told(switch) == ["launch_call /1"]
    assert not outbox.withdraw(command.pk)
    assert SwitchCommand.objects.get(pk=command.pk).state == "pending"


def test_a_pause_does_not_wait_behind_many_starts(switch: Switch) -> None:
    for number in range(200):
        given(switch, Command.START, str(number))
    given(switch, Command.PAUSE, "900")
    given(switch, Command.LAUNCH, "", session_id="launched", medium="")
    handed_out = told(switch)
    assert len(handed_out) == outbox.HANDED_OUT_AT_ONCE
    assert handed_out[:98] == [f"start_recording {number}/1" for number in range(98)]
    assert handed_out[98:] == ["pause_recording 900/1", "launch_call /1"]


def test_a_pause_comes_never_before_the_start_of_its_segment(switch: Switch) -> None:
    for number in range(150):
        given(switch, Command.START, str(number))
    given(switch, Command.PAUSE, "149")
    handed_out = told(switch)
    assert "pause_recording 149/1" not in handed_out
    SwitchCommand.objects.filter(recording_id__in=[str(number) for number in range(100)]).update(state="done")
    assert told(switch)[-2:] == ["start_recording 149/1", "pause_recording 149/1"]


def test_another_segment_of_the_recording_is_not_waited_for(switch: Switch) -> None:
    for number in range(150):
        given(switch, Command.START, str(number), segment=2)
    given(switch, Command.STOP, "149", segment=1)
    assert told(switch)[-1] == "stop_recording 149/1"


# --- Given up ----------------------------------------------------------------------------------------------


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(outbox, "listeners", [lambda row: found.append(str(row))])
    return found


def test_a_pause_is_given_up_before_the_starts_of_a_dead_switch(switch: Switch, given_up: list[str]) -> None:
    for number in range(150):
        given(switch, Command.START, str(number))
    given(switch, Command.PAUSE, "149")  # whose start waits: it is not recorded yet
    for command, recording_id in ((Command.RESUME, "900"), (Command.STOP, "901"), (Command.PAUSE, "902")):
        given(switch, command, recording_id)
    assert outbox.expire(timezone.now()) == 154
    assert given_up[:3] == ["stop_recording 901/1", "pause_recording 902/1", "start_recording 0/1"]
    assert given_up[151:] == ["start_recording 149/1", "pause_recording 149/1", "resume_recording 900/1"]
    assert outbox.expire(timezone.now()) == 0


def test_what_cannot_be_given_up_holds_up_nothing_and_is_tried_once(
    switch: Switch, given_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fails_at_first(row: SwitchCommand) -> None:
        tried.append(row.recording_id)
        if row.recording_id == "1":
            raise ValueError

    monkeypatch.setattr(outbox, "EXPIRED_AT_ONCE", 1)
    monkeypatch.setattr(outbox, "listeners", [fails_at_first])
    for number in "123":
        given(switch, Command.STOP, number)
    assert (outbox.expire(timezone.now()), tried) == (2, ["1", "2", "3"])
    assert told(switch) == ["stop_recording 1/1"]


def test_what_follows_from_one_that_was_given_up_has_its_own_time(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_it(row: SwitchCommand) -> None:
        given(switch, Command.STOP, row.recording_id)

    monkeypatch.setattr(outbox, "listeners", [stop_it])
    given(switch, Command.PAUSE, "1")
    assert outbox.expire(timezone.now()) == 1
    assert told(switch) == ["stop_recording 1/1"]


def test_it_ends_with_its_time(switch: Switch, given_up: list[str]) -> None:
    given(switch, Command.STOP, "1")
    assert (outbox.expire(timezone.now(), seconds=0), given_up) == (0, [])
