"""One recording with its segments and open gaps, locked while it is changed: the steps it can take.

Each step keeps the ledger and the decision behind it, and puts the command into the switch's outbox.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cdr.callevents import Medium
from cdr.models import LiveSession
from events.recording_messages import RecordingFact, RecordingType, tell
from recordings.models import Decision, Gap, Recording, Segment
from tenants import outbox
from tenants.changes import SYSTEM, Actor
from tenants.models import Switch, SwitchCommand, Tenant

Command = SwitchCommand.Command
_AT_ONCE = timedelta(seconds=10)  # a segment that fails so soon counts as one that could not be started
NAMED = 200  # characters of an actor's name that are kept


class Via(StrEnum):
    """How somebody, or something, asked."""

    POLICY = "policy"
    FEATURE_CODE = "feature_code"
    REST = "rest"
    LIVE_CALLS = "live_calls"
    SIP_MESSAGE = "sip_message"
    LONGEST_PAUSE = "longest_pause"
    SWITCH = "switch"


class Cause(StrEnum):
    """What a decision rests on that no rule of the policy made."""

    PAUSED = "paused"
    RESUMED = "resumed"
    TRANSFER = "transfer"
    PAUSE_FAILED = "pause_failed"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step is taken, as the decision keeps it."""

    at: datetime
    rule: str
    record: bool
    actor: Actor = SYSTEM
    via: Via = Via.POLICY
    extension: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    parties: Sequence[Mapping[str, str]] = ()
    decision: Decision | None = None  # one that is not saved yet: the first command belongs to it


@dataclass(slots=True)
class Book:
    """A recording, locked, with its segments in their order and the gaps that are open."""

    tenant: Tenant
    switch: Switch | None  # None: it was deleted, and nobody can be told anything
    recording: Recording
    segments: list[Segment]
    gaps: list[Gap]
    facts: list[RecordingFact] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)  # those that were given since it was opened

    @property
    def medium(self) -> Medium:
        return "video" if self.recording.medium == "video" else "audio"

    @property
    def current(self) -> Segment | None:
        """The segment that runs, or will as soon as the switch confirms."""
        last = self.segments[-1] if self.segments else None
        return last if last and last.state in (Segment.State.STARTING, Segment.State.RUNNING) else None

    def open_gap(self, medium: str) -> Gap | None:
        return next((gap for gap in self.gaps if gap.medium == medium and gap.until is None), None)

    @property
    def pause(self) -> Gap | None:
        gap = self.open_gap(self.medium)
        return gap if gap and gap.reason == Gap.Reason.PAUSED else None

    @property
    def is_held_back(self) -> bool:
        return self.holds_back(self.medium)

    def holds_back(self, medium: str) -> bool:
        """Somebody paused it, and nobody has asked yet to resume."""
        gap = self.open_gap(medium)
        return gap is not None and gap.reason == Gap.Reason.PAUSED and not gap.ended_via

    @property
    def failed_starts(self) -> int:
        """Segments in a row that never ran or failed at once, up to now."""
        count = 0
        for segment in reversed(self.segments):
            if not _failed_at_once(segment):
                break
            count += 1
        return count

    @property
    def may_be_recorded(self) -> bool:
        """As far as is known: nobody has confirmed that nothing runs."""
        running = (Segment.State.STARTING, Segment.State.RUNNING, Segment.State.STOPPING)
        return any(segment.state in running for segment in self.segments)

    # --- Commands --------------------------------------------------------------------------------------------

    def start(self, why: Reason, legs: Sequence[Sequence[str]]) -> None:
        number = self.segments[-1].number + 1 if self.segments else 1
        segment = Segment.objects.create(recording=self.recording, number=number, legs=[list(leg) for leg in legs])
        self.segments.append(segment)
        if self.recording.state in (Recording.State.STOPPED, Recording.State.FAILED):
            self._become(Recording.State.STARTING)
        options = {"pause_style": self.recording.pause_style, "dual_tracks": self.recording.dual_tracks}
        self._command(Command.START, segment, why, options=options)
        if self.medium == "video" and (gap := self.open_gap("audio")) and self.holds_back("audio"):
            self._command(Command.PAUSE, segment, paused_again(gap, why.at), medium="audio")  # its sound begins paused

    def stop(self, why: Reason, *, end_reason: str, segment: Segment | None = None) -> None:
        if segment := segment or self.current:
            segment.state, segment.end_reason = Segment.State.STOPPING, end_reason
            segment.save(update_fields=["state", "end_reason"])
            self._command(Command.STOP, segment, why)

    def stop_for_sure(self, segment: Segment, why: Reason) -> None:
        """Has the switch stop what has ended for us, lest it runs on there."""
        self._command(Command.STOP, segment, why)

    def order_pause(self, why: Reason, medium: Medium) -> None:
        """Opens a gap that the switch must confirm: from when it is silent in truth, it says."""
        if (gap := self.open_gap(medium)) and gap.ended_via:  # a resume is under way: it shall not stand
            gap.ended_by = gap.ended_via = ""
            gap.save(update_fields=["ended_by", "ended_via"])
        if (gap := self.open_gap(medium)) and gap.reason != Gap.Reason.PAUSED:
            self.end_gap(medium, why.at)
        self.begin_gap(medium, Gap.Reason.PAUSED, why)
        if self.current:
            self._command(Command.PAUSE, self.current, why, medium=medium)
        else:
            self.note(why, medium)

    def order_resume(self, why: Reason, medium: Medium) -> None:
        """The gap ends when the switch confirms it; at once, for the sound of a film of which nothing runs."""
        if gap := self.open_gap(medium):
            gap.ended_by, gap.ended_via = named(why.actor), why.via
            gap.save(update_fields=["ended_by", "ended_via"])
        if self.current:
            self._command(Command.RESUME, self.current, why, medium=medium)
        elif medium != self.medium:
            self.end_gap(medium, why.at)

    def note(self, why: Reason, medium: Medium | None = None) -> None:
        """A decision that asks nothing of the switch."""
        note_decision(self.recording.session_id, medium or self.medium, why, self.recording)

    def _command(
        self,
        command: SwitchCommand.Command,
        segment: Segment,
        why: Reason,
        *,
        medium: Medium | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if self.switch is None:
            return
        row = outbox.enqueue(
            self.switch,
            tenant_id=self.tenant.pk,
            command=command,
            session_id=self.recording.switch_session_id,
            recording_id=str(self.recording.pk),
            segment=segment.number,
            medium=medium or self.medium,
            options=options,
        )
        self.commands.append(row.pk)
        if why.decision and why.decision.command_id is None:
            _add_command(why.decision, self.recording, row)
            return
        note_decision(self.recording.session_id, medium or self.medium, why, self.recording, row)

    # --- Ledger ----------------------------------------------------------------------------------------------

    def begin_gap(self, medium: str, reason: Gap.Reason, why: Reason) -> None:
        """At most one is open for a medium; what paused it keeps its word until it is resumed."""
        if self.open_gap(medium):
            return
        self.gaps.append(
            Gap.objects.create(
                recording=self.recording, medium=medium, since=why.at, reason=reason,
                begun_by=named(why.actor), begun_via=why.via, is_confirmed=not self.may_be_recorded,
            )
        )  # fmt: skip

    def confirm_gap(self, medium: str, at: datetime) -> None:
        """Until then it was recorded, whatever had been commanded."""
        gap = self.open_gap(medium)
        if gap and not gap.is_confirmed:
            gap.since, gap.is_confirmed = max(gap.since, at), True
            gap.save(update_fields=["since", "is_confirmed"])

    def end_gap(self, medium: str, at: datetime, *, by: str = "", via: str = "") -> None:
        if gap := self.open_gap(medium):
            gap.until = max(gap.since, at)
            gap.ended_by, gap.ended_via = by or gap.ended_by, via or gap.ended_via
            gap.save(update_fields=["until", "ended_by", "ended_via"])

    def settle(self) -> None:
        """The recording's state as its segments and gaps now are, while the call lasts."""
        if self.recording.ended_at is not None:
            return
        current = self.current
        if self.pause:
            self._become(Recording.State.PAUSED)
        elif current and current.state == Segment.State.RUNNING:
            self._become(Recording.State.RECORDING)
        elif current:
            self._become(Recording.State.STARTING)
        elif any(segment.state == Segment.State.STOPPING for segment in self.segments):
            self._become(Recording.State.RECORDING)  # it runs until the switch says that it does not
        elif any(segment.started_at for segment in self.segments):
            self._become(Recording.State.STOPPED)
        elif self.segments:
            self._become(Recording.State.FAILED)

    def finish(self, at: datetime) -> None:
        """The call is over: whatever ran has ended with it, and its files are awaited."""
        for segment in self.segments:
            if segment.state in (Segment.State.RUNNING, Segment.State.STOPPING):
                segment.state, segment.ended_at = Segment.State.ENDED, segment.ended_at or at
                segment.end_reason = segment.end_reason or "call_ended"
            elif segment.state == Segment.State.STARTING:
                segment.state = Segment.State.FAILED
                segment.problem = "The call ended before the switch confirmed the start."
            else:
                continue
            segment.save(update_fields=["state", "ended_at", "end_reason", "problem"])
        for gap in [each for each in self.gaps if each.until is None]:
            if gap.is_confirmed:
                self.end_gap(gap.medium, at)
            else:  # the switch never said that it obeyed, so it is to be believed that it went on recording
                gap.delete()
                self.gaps.remove(gap)
        ran = [segment.ended_at for segment in self.segments if segment.started_at and segment.ended_at]
        self.recording.ended_at = max(ran, default=at)
        self.recording.is_wanted = False
        self.recording.save(update_fields=["ended_at", "is_wanted"])
        if ran:
            self._become(Recording.State.PROCESSING)
        else:
            self._become(Recording.State.FAILED)
            self.note_problem(self.recording.problem or "Nothing was recorded: no segment ever ran.")

    def note_problem(self, problem: str) -> None:
        self.recording.problem = problem[:300]
        self.recording.save(update_fields=["problem"])

    def say(
        self, what: RecordingType, at: datetime, *, actor: Actor = SYSTEM, segment: int | None = None, reason: str = ""
    ) -> None:
        """Keeps an event for `tell_all`, which writes it at the end of the transaction."""
        live = LiveSession.objects.filter(session_id=self.recording.session_id).values_list("cdr_id", flat=True).first()
        self.facts.append(
            RecordingFact(
                type=what,
                at=at,
                session_id=self.recording.session_id,
                cdr_id=live or 0,
                recording_id=str(self.recording.pk),
                medium=self.medium,
                actor=actor,
                segment=segment,
                reason=reason,
            )
        )

    def _become(self, state: Recording.State) -> None:
        if self.recording.state != state:
            self.recording.state = state
            self.recording.save(update_fields=["state"])


def paused_again(gap: Gap, at: datetime) -> Reason:
    """A pause goes on where something new begins: by whoever began it."""
    return Reason(at, Cause.PAUSED, record=False, actor=actor_named(gap.begun_by), via=Via(gap.begun_via))


def _failed_at_once(segment: Segment) -> bool:
    if segment.state == Segment.State.FAILED:
        return True
    if segment.end_reason != Gap.Reason.FAILED or segment.started_at is None or segment.ended_at is None:
        return False
    return segment.ended_at - segment.started_at < _AT_ONCE


def note_decision(
    session_id: str, medium: str, why: Reason, recording: Recording | None = None, command: SwitchCommand | None = None
) -> Decision:
    decision = decision_of(session_id, medium, why, recording, command)
    decision.save(force_insert=True)
    return decision


def decision_of(
    session_id: str, medium: str, why: Reason, recording: Recording | None = None, command: SwitchCommand | None = None
) -> Decision:
    """Not saved yet."""
    return Decision(
        session_id=session_id,
        recording=recording,
        at=why.at,
        medium=medium,
        rule=why.rule,
        record=why.record,
        extension=why.extension,
        settings=dict(why.settings),
        parties=list(why.parties),
        actor=named(why.actor),
        via=why.via,
        command=command.command if command else "",
        command_id=command.pk if command else None,
        segment=command.segment if command else 0,
        outcome=Decision.Outcome.PENDING if command else Decision.Outcome.NONE,
    )


def _add_command(decision: Decision, recording: Recording, command: SwitchCommand) -> None:
    decision.recording, decision.command, decision.command_id = recording, command.command, command.pk
    decision.segment, decision.outcome = command.segment, Decision.Outcome.PENDING


def named(actor: Actor) -> str:
    return f"{actor.kind} {actor.name}"[:NAMED]


def actor_named(text: str) -> Actor:
    """Whom `named` has named."""
    kind, _, name = text.partition(" ")
    return Actor(kind=kind if kind in ("user", "token", "phone") else "system", name=name)  # type: ignore[arg-type]


def books_of(tenant: Tenant, recordings: Iterable[Recording]) -> list[Book]:
    """For recordings that the caller has locked."""
    rows = list(recordings)
    if not rows:
        return []
    segments: dict[int, list[Segment]] = {row.pk: [] for row in rows}
    for segment in Segment.objects.filter(recording__in=rows).order_by("recording_id", "number"):
        segments[segment.recording_id].append(segment)
    gaps: dict[int, list[Gap]] = {row.pk: [] for row in rows}
    for gap in Gap.objects.filter(recording__in=rows, until=None):
        gaps[gap.recording_id].append(gap)
    switches = Switch.objects.in_bulk({row.switch_id for row in rows})
    return [Book(tenant, switches.get(row.switch_id), row, segments[row.pk], gaps[row.pk]) for row in rows]


def tell_all(tenant: Tenant, books: Iterable[Book]) -> None:
    tell(tenant, [fact for book in books for fact in book.facts])
