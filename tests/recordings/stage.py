"""A call played second by second to a switch that obeys: what it was commanded, and what the portal kept of it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

from django.db import transaction

from accounts.models import Extension
from cdr import calls
from cdr.callevents import CallEvent
from recordings.models import Decision, Gap, Recording, Segment
from recordings.policy import Rule
from tenants import outbox
from tenants.models import Switch, SwitchCommand, SystemSettings, Tenant
from tests.cdr.tables import EPOCH, at, events, ext, outside, service

DELAY = 0.25  # so long the switch takes to obey
WORDS = {"start_recording": "start", "stop_recording": "stop", "pause_recording": "pause", "resume_recording": "resume"}
State = SwitchCommand.State


class Stage:
    """`refuses` maps a command's word to the reason that the switch gives instead of obeying."""

    def __init__(self, tenant: Tenant, switch: Switch) -> None:
        self.tenant, self.switch = tenant, switch
        self.second = 0.0
        self.ids = count()
        self.commands: list[str] = []
        self.refuses: dict[str, str] = {}
        self.obeys = True

    def extension(self, number: str, *, audio: bool = False, video: bool = False) -> None:
        Extension.objects.create(number=number, record_audio=audio, record_video=video)

    def external_calls(self, *, recorded: bool) -> None:
        SystemSettings.objects.update_or_create(pk=1, defaults={"record_external_calls": recorded})

    def play(self, *lines: tuple[float, str, dict[str, Any]]) -> list[str]:
        """Tells each second's events at once, lets the switch obey, and answers with all commands so far."""
        told = [replace(event, id=f"{next(self.ids)}") for event in events(*lines)]
        for batch in _by_second(told):
            self.second = batch[0].at.timestamp() - EPOCH
            with transaction.atomic():
                outcomes = calls.apply(self.tenant, self.switch.pk, batch)
            assert {outcome.status for outcome in outcomes} == {"applied"}
            self.obey()
        return self.commands

    def obey(self) -> None:
        while self.obeys and (rows := outbox.pending_for(self.switch)):
            for row in rows:
                word = WORDS[row.command]
                what = "" if Recording.objects.get(pk=int(row.recording_id)).medium == row.medium else " sound of video"
                self.commands.append(f"{self.second:g} {word} {row.medium}{what} {row.segment}")
                reason = self.refuses.get(word, "")
                state = State.FAILED if reason else State.DONE
                outbox.confirm(self.switch, row.pk, state, reason, at(self.second + DELAY))


def _by_second(told: Iterable[CallEvent]) -> Iterator[list[CallEvent]]:
    batch: list[CallEvent] = []
    for event in told:
        if batch and event.at != batch[-1].at:
            yield batch
            batch = []
        batch.append(event)
    yield batch


def shown(when: Any) -> float | None:
    return None if when is None else round((when - at(0)) / timedelta(seconds=1), 2)


def gaps() -> list[tuple[str, str, float | None, float | None, str, str]]:
    return [
        (gap.medium, gap.reason, shown(gap.since), shown(gap.until), gap.begun_by, gap.ended_by)
        for gap in Gap.objects.order_by("since", "id")
    ]


def segments() -> list[tuple[str, int, str, float | None, float | None, str]]:
    return [
        (each.recording.medium, each.number, each.state, shown(each.started_at), shown(each.ended_at), each.end_reason)
        for each in Segment.objects.select_related("recording").order_by("recording_id", "number")
    ]


def rules() -> list[tuple[float | None, str, str, bool]]:
    """The decisions of the policy."""
    rows = Decision.objects.filter(via="policy", rule__in=list(Rule)).order_by("at", "id")
    return [(shown(row.at), row.medium, row.rule, row.record) for row in rows]


# --- Calls to play -----------------------------------------------------------------------------------------

Line = tuple[float, str, dict[str, Any]]


def inbound(callee: str = "101", **more: Any) -> list[Line]:
    """From outside to an extension, answered at second 5."""
    return [
        (0, "call.started", {"caller": outside("1888722"), "callee": ext(callee), "did": "18800606", **more}),
        (0, "target.added", {"target_id": "a", "callee": ext(callee)}),
        (1, "target.ringing", {"target_id": "a"}),
        (5, "target.answered", {"target_id": "a"}),
    ]


def outbound(caller: str = "101", **more: Any) -> list[Line]:
    return [
        (0, "call.started", {"caller": ext(caller), "callee": outside("5550100"), "domain": "acme.test", **more}),
        (0, "target.added", {"target_id": "a", "callee": outside("5550100"), "trunk": "AudioCodes"}),
        (5, "target.answered", {"target_id": "a"}),
    ]


def joined(second: float, target_id: str, callee: dict[str, Any]) -> list[Line]:
    """Another target rings and answers a second later."""
    return [
        (second, "target.added", {"target_id": target_id, "callee": callee}),
        (second + 1, "target.answered", {"target_id": target_id}),
    ]


def left(second: float, target_id: str, reason: str = "referred") -> Line:
    return (second, "target.ended", {"target_id": target_id, "end_reason": reason})


def over(second: float) -> Line:
    return (second, "call.ended", {"ended_reason": "caller_disconnect", "status_code": 0})


MOBILE, QUEUE = outside("5550199"), service("8000")
