"""What a switch says of its recordings: that it did what it was told, that it could not, or that one began or ended."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import structlog
from django.utils import timezone

from cdr import calls
from cdr.callevents import CallEvent, Medium, RecordingFailed, RecordingStarted, RecordingStopped
from cdr.models import LiveSession
from recordings.books import Book, Cause, Reason, Via, actor_named, books_of, named, tell_all
from recordings.models import Decision, Gap, Recording, Segment
from recordings.policy import MEDIA
from recordings.watching import tell_watchers
from tenants.changes import SYSTEM
from tenants.models import SwitchCommand, Tenant
from tenants.schemas import in_schema

log = structlog.get_logger(__name__)

Report = RecordingStarted | RecordingStopped | RecordingFailed
REPORTS = (RecordingStarted, RecordingStopped, RecordingFailed)
MOST_TRIES = 3  # of a start, a resume or a stop that the switch refuses, one after the other
UNSUPPORTED = "unsupported"  # a reason that begins so is final: the switch will never be able to
_STOPS = (Gap.Reason.EXTERNAL, Gap.Reason.STOPPED, Gap.Reason.SWITCHES)
_ENDS = {
    SwitchCommand.State.DONE: Decision.Outcome.DONE,
    SwitchCommand.State.FAILED: Decision.Outcome.FAILED,
    SwitchCommand.State.EXPIRED: Decision.Outcome.EXPIRED,
}


def on_command(row: SwitchCommand) -> None:
    """Listens to `tenants.outbox`: a command was confirmed, refused, or not answered in time."""
    tenant = Tenant.objects.filter(pk=row.tenant_id).first()
    if tenant is None or not row.recording_id.isdigit():
        return
    with in_schema(tenant.schema_name):
        Decision.objects.filter(command_id=row.pk).update(
            outcome=_ENDS[SwitchCommand.State(row.state)], outcome_reason=row.reason, answered_at=row.confirmed_at
        )
        books = books_of(tenant, Recording.objects.select_for_update().filter(pk=int(row.recording_id)))
        for book in books:
            _Answer(book, row).take()
        tell_all(tenant, books)
    tell_watchers(tenant)


class _Answer:
    """One command's end, and what it means for the recording it was about."""

    def __init__(self, book: Book, row: SwitchCommand) -> None:
        self.book, self.row = book, row
        self.at = row.confirmed_at or timezone.now()
        self.segment = next((each for each in book.segments if each.number == row.segment), None)
        self.medium = cast(Medium, row.medium)

    def take(self) -> None:
        if self.segment is None:
            return
        is_done = self.row.state == SwitchCommand.State.DONE
        if self.book.recording.ended_at is not None:  # the call was quicker; what ran has ended with it
            self._take_late(self.segment) if is_done else self._stop_what_was_merged()
            return
        match self.row.command:
            case SwitchCommand.Command.START:
                _began(self.book, self.segment, self.at) if is_done else self._start_failed(self.segment)
            case SwitchCommand.Command.PAUSE:
                self._paused() if is_done else self._pause_failed()
            case SwitchCommand.Command.RESUME:
                self._resumed() if is_done else self._resume_failed()
            case SwitchCommand.Command.STOP:
                _ended(self.book, self.segment, self.at) if is_done else self._stop_failed()
        self.book.settle()

    def _take_late(self, segment: Segment) -> None:
        """What was done before the call ended, and is only told now."""
        recording, end = self.book.recording, segment.ended_at or self.at
        gaps = Gap.objects.filter(recording=recording, medium=self.medium)
        match self.row.command:
            case SwitchCommand.Command.START:
                _began(self.book, segment, self.at)
            case SwitchCommand.Command.PAUSE if self.at < end and not gaps.filter(until__gt=self.at).exists():
                self._add_gap(Gap.Reason.PAUSED, end, Decision.objects.filter(command_id=self.row.pk).first())
            case SwitchCommand.Command.RESUME:
                gaps.filter(reason=Gap.Reason.PAUSED, since__lt=self.at, until__gt=self.at).update(until=self.at)
            case SwitchCommand.Command.STOP if segment.started_at and self.at < end:
                if segment.end_reason in _STOPS:
                    self._add_gap(Gap.Reason(segment.end_reason), end, _who_stopped(self.book, segment))
                segment.ended_at = max(segment.started_at, self.at)
                segment.save(update_fields=["ended_at"])
                recording.ended_at = max(each.ended_at for each in self.book.segments if each.ended_at)
                recording.save(update_fields=["ended_at"])

    def _add_gap(self, reason: Gap.Reason, until: datetime, asked: Decision | None) -> None:
        by, via = (asked.actor, asked.via) if asked else (named(SYSTEM), Via.POLICY)
        Gap.objects.create(
            recording=self.book.recording, medium=self.medium, reason=reason, since=self.at, until=until,
            begun_by=by, begun_via=via,
        )  # fmt: skip

    def _start_failed(self, segment: Segment) -> None:
        self._alarm("The switch could not start recording")
        _failed(self.book, segment, self.row.reason, self.at)
        is_wanted = self.book.recording.is_wanted and not self.book.is_held_back
        if self._may_try_again() and is_wanted and self.book.failed_starts < MOST_TRIES:
            self.book.start(self._why(Cause.RETRY), segment.legs)

    def _stop_what_was_merged(self) -> None:
        """Recorded under the id of a call that goes on as another one, it has not ended with its call."""
        if self.row.command != SwitchCommand.Command.STOP or self.segment is None:
            return
        root = calls.root_of(self.book.recording.switch_session_id)
        if not LiveSession.objects.filter(session_id=root, ended_time=None).exists():
            return
        self._alarm("The switch could not stop recording")
        if self._may_stop_again():
            self.book.stop_for_sure(self.segment, self._why(Cause.RETRY, record=False))

    def _paused(self) -> None:
        gap = self.book.open_gap(self.medium)
        if gap and gap.reason == Gap.Reason.PAUSED:
            self.book.confirm_gap(self.medium, self.at)
        self.book.say("recording_paused", self.at, segment=self.row.segment)

    def _pause_failed(self) -> None:
        """Somebody asked for privacy: what cannot be paused is stopped."""
        self._alarm("The switch could not pause, so the recording was stopped")
        if self.book.current is not None:
            self.book.begin_gap(self.book.medium, Gap.Reason.PAUSED, self._why(Cause.PAUSE_FAILED))
            self.book.stop(self._why(Cause.PAUSE_FAILED), end_reason=Gap.Reason.PAUSED)

    def _resumed(self) -> None:
        is_paused_again = self.book.holds_back(self.medium)
        gap = self.book.open_gap(self.medium)
        if gap is None or gap.reason != Gap.Reason.PAUSED:
            return  # it was stopped in between, and that has a gap of its own
        resumed = Decision.objects.filter(command_id=self.row.pk).first()
        by, via = (resumed.actor, resumed.via) if resumed else ("", "")
        self.book.end_gap(self.medium, self.at, by=by, via=via)
        self.book.say("recording_resumed", self.at, segment=self.row.segment)
        if is_paused_again:
            self._begin_later_pause()

    def _begin_later_pause(self) -> None:
        """Somebody paused while the resume was under way: what they asked for has a gap of its own."""
        later = Decision.objects.filter(
            recording=self.book.recording, medium=self.medium, command=SwitchCommand.Command.PAUSE,
            command_id__gt=self.row.pk,
        ).order_by("command_id").last()  # fmt: skip
        self.book.begin_gap(self.medium, Gap.Reason.PAUSED, self._why(Cause.PAUSED))
        if later and (gap := self.book.open_gap(self.medium)):
            gap.begun_by, gap.begun_via = later.actor, later.via
            gap.save(update_fields=["begun_by", "begun_via"])

    def _resume_failed(self) -> None:
        """A segment that cannot be resumed is given up for a new one."""
        self._alarm("The switch could not resume")
        segment = self.book.current
        if segment is None or self.book.holds_back(self.medium) or not self._may_try_again():
            return
        why = self._why(Cause.RETRY)
        self.book.stop(why, end_reason=Gap.Reason.FAILED, segment=segment)
        self.book.end_gap(self.medium, self.at)
        self.book.begin_gap(self.book.medium, Gap.Reason.FAILED, why)
        self.book.start(why, segment.legs)

    def _stop_failed(self) -> None:
        segment = self.segment
        if segment is None or segment.state != Segment.State.STOPPING:
            return
        self._alarm("The switch could not stop recording")
        if self._may_stop_again():
            self.book.stop(self._why(Cause.RETRY, record=False), end_reason=segment.end_reason, segment=segment)

    def _may_stop_again(self) -> bool:
        """A switch that was away is told again until it answers: what somebody wanted stopped must not run on."""
        tried = Decision.objects.filter(
            recording=self.book.recording, segment=self.row.segment, command=SwitchCommand.Command.STOP
        ).count()
        return tried < MOST_TRIES or self.row.state == SwitchCommand.State.EXPIRED

    def _alarm(self, what: str) -> None:
        problem = f"{what}: {self.row.reason or 'it did not say why'}"
        self.book.note_problem(problem if problem.endswith(".") else f"{problem}.")
        log.error(
            "recording command failed", session_id=self.row.session_id, command=self.row.command, reason=self.row.reason
        )

    def _may_try_again(self) -> bool:
        is_over = self.book.recording.ended_at is not None
        return not is_over and not is_final(self.row.reason)

    def _why(self, cause: Cause, *, record: bool = True) -> Reason:
        return Reason(at=self.at, rule=cause, record=record and cause != Cause.PAUSE_FAILED, via=Via.SWITCH)


def is_final(reason: str) -> bool:
    return reason.lower().startswith(UNSUPPORTED)


def take_report(books: Sequence[Book], event: CallEvent) -> None:
    """A switch tells by itself that a recording began, ended or failed."""
    if not isinstance(event, REPORTS):
        return
    book = next((each for each in books if str(each.recording.pk) == event.recording_id), None)
    segment = _segment_of(book, event) if book else None
    if book is None or segment is None:
        log.info("report of an unknown segment", recording=event.recording_id, segment=event.segment)
        return
    if isinstance(event, RecordingStarted):
        _began(book, segment, event.at)
    elif isinstance(event, RecordingStopped):
        unasked = segment.state == Segment.State.RUNNING
        _ended(book, segment, event.at, reason=event.reason)
        if unasked:
            book.begin_gap(book.medium, Gap.Reason.FAILED, Reason(event.at, Cause.RETRY, record=True, via=Via.SWITCH))
            book.note_problem(f"The switch stopped recording by itself{f': {event.reason}' if event.reason else ''}.")
            if not event.segment:  # it may have meant an earlier one
                book.stop_for_sure(segment, Reason(event.at, Cause.RETRY, record=False, via=Via.SWITCH))
    else:
        book.note_problem(f"The switch failed to record: {event.reason or 'it did not say why'}.")
        _failed(book, segment, event.reason, event.at)
    book.settle()


def _segment_of(book: Book, event: Report) -> Segment | None:
    """The segment that the switch names; when it names none, the one of which that was to be expected."""
    if event.segment:
        return next((each for each in book.segments if each.number == event.segment), None)
    stopping = [each for each in book.segments if each.state == Segment.State.STOPPING]
    if stopping and not isinstance(event, RecordingStarted):
        return stopping[0]
    return book.segments[-1] if book.segments else None


def _began(book: Book, segment: Segment, at: datetime) -> None:
    over = book.recording.ended_at
    is_stopping = segment.state == Segment.State.STOPPING
    if segment.started_at is not None or not (segment.state == Segment.State.STARTING or is_stopping or over):
        return
    segment.started_at, segment.problem = at, ""
    segment.state = Segment.State.STOPPING if is_stopping else Segment.State.RUNNING
    if over is not None:  # the call was quicker than the confirmation
        segment.state, segment.started_at, segment.ended_at = Segment.State.ENDED, min(at, over), over
        book.recording.state, book.recording.problem = Recording.State.PROCESSING, ""
        book.recording.save(update_fields=["state", "problem"])
    segment.save(update_fields=["state", "started_at", "ended_at", "problem"])
    if book.recording.started_at is None:
        book.recording.started_at = at
        book.recording.save(update_fields=["started_at"])
    if not book.is_held_back and not is_stopping:
        book.end_gap(book.medium, at)
    book.say("recording_started", at, segment=segment.number)


def _ended(book: Book, segment: Segment, at: datetime, *, reason: str = "") -> None:
    if segment.state not in (Segment.State.RUNNING, Segment.State.STOPPING):
        return
    segment.state, segment.ended_at = Segment.State.ENDED, at
    segment.end_reason = segment.end_reason or Gap.Reason.FAILED
    segment.save(update_fields=["state", "ended_at", "end_reason"])
    if not book.may_be_recorded:
        for medium in MEDIA:
            book.confirm_gap(medium, at)
    _account_for_stop(book, segment, at)
    book.say("recording_stopped", at, segment=segment.number, reason=reason or segment.end_reason)


def _account_for_stop(book: Book, segment: Segment, at: datetime) -> None:
    """A stop that came while a resume was under way: the pause ends here, and what stopped it begins."""
    if book.current is not None or segment.end_reason not in _STOPS:
        return
    gap = book.open_gap(book.medium)
    if gap and gap.reason == Gap.Reason.PAUSED and gap.ended_via:
        book.end_gap(book.medium, at)
    why, asked = Reason(at, Cause.RETRY, record=False), _who_stopped(book, segment)
    if asked:
        why = replace(why, actor=actor_named(asked.actor), via=Via(asked.via))
    book.begin_gap(book.medium, Gap.Reason(segment.end_reason), why)


def _who_stopped(book: Book, segment: Segment) -> Decision | None:
    """The person's word, where one stopped it."""
    if segment.end_reason != Gap.Reason.STOPPED:
        return None
    words = Decision.objects.filter(recording=book.recording, medium=book.medium, rule="stop")
    return words.order_by("id").last()


def _failed(book: Book, segment: Segment, reason: str, at: datetime) -> None:
    never_ran = segment.state == Segment.State.STOPPING and segment.started_at is None
    if segment.state == Segment.State.STARTING or never_ran:
        segment.state, segment.problem = Segment.State.FAILED, reason[:300]
    elif segment.state in (Segment.State.RUNNING, Segment.State.STOPPING):
        segment.state, segment.ended_at, segment.problem = Segment.State.ENDED, at, reason[:300]
        segment.end_reason = Gap.Reason.FAILED
    else:
        return
    segment.save(update_fields=["state", "ended_at", "end_reason", "problem"])
    book.begin_gap(book.medium, Gap.Reason.FAILED, Reason(at, Cause.RETRY, record=True, via=Via.SWITCH))
    book.say("recording_failed", at, segment=segment.number, reason=reason or "The switch did not say why.")
