import pytest

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
