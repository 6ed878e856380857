"""What happens to the recordings of a call: by the policy when the call changes, and by the word of a person in it.

All of it works inside the tenant's schema and in the transaction of what caused it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Extension
from cdr import calls
from cdr.callevents import CALLER_LEG, CallEvent, FeatureDialled, Medium, Party, PartyKind
from cdr.models import LiveSession
from cdr.session import Session
from recordings import completion, policy
from recordings.books import Book, Cause, Reason, Via, books_of, decision_of, named, paused_again, tell_all
from recordings.models import Decision, Gap, Recording
from recordings.policy import MEDIA, Rule, Settings, Situation, Switches, Verdict
from recordings.reports import MOST_TRIES, REPORTS, is_final, take_report
from recordings.watching import tell_watchers
from tenants.changes import SYSTEM, Actor
from tenants.models import SystemSettings, Tenant

log = structlog.get_logger(__name__)

_GAP_OF: dict[str, Gap.Reason] = {
    Rule.EXTERNAL_NUMBERS: Gap.Reason.EXTERNAL,
    Rule.STOPPED_BY_HAND: Gap.Reason.STOPPED,
}


class Operation(StrEnum):
    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"


class ControlError(Exception):
    """A person's command that cannot be carried out; `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class NoSuchCallError(ControlError):
    def __init__(self) -> None:
        super().__init__("call_not_found", "There is no such call in progress.")


class NotAPartyError(ControlError):
    def __init__(self) -> None:
        super().__init__("not_a_party", "Only an extension that is connected in this call may control its recording.")


class NotRecordingError(ControlError):
    def __init__(self, medium: str) -> None:
        super().__init__("not_recording", f"The {medium} of this call is not being recorded.")


class ForbiddenByPolicyError(ControlError):
    def __init__(self, message: str) -> None:
        super().__init__("forbidden_by_policy", message)


class UnsupportedError(ControlError):
    def __init__(self, medium: str, problem: str) -> None:
        why = problem.partition(":")[2].strip() or problem
        super().__init__("unsupported", f"The switch cannot record the {medium} of this call: {why}")


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the switch must still confirm before a person's command is carried out; nothing when it was so already."""

    commands: tuple[int, ...]


# --- The policy at work ------------------------------------------------------------------------------------


def react(tenant: Tenant, switch_id: int, sessions: Sequence[Session], told: Sequence[CallEvent]) -> None:
    """Listens to `cdr.calls`: brings the recordings of these calls to what the policy and the people in them want."""
    for session in sessions:
        if session.merged:  # their records go with them, those of a call that had ended too
            Recording.objects.filter(session_id__in=session.merged).update(session_id=session.session_id)
    by_session = _books_by_session(tenant, sessions)
    sessions = [each for each in sessions if each.connected_parties() or by_session[each.session_id]]
    if not sessions:
        return
    said: dict[str, list[CallEvent]] = defaultdict(list)
    root = {each: session.session_id for session in sessions for each in (session.session_id, *session.merged)}
    for event in told:
        if event.session_id in root:
            said[root[event.session_id]].append(event)
    settings = settings_now(tenant, {party.number for each in sessions for party in _extensions(each)})
    last = _last_decisions([each.session_id for each in sessions if not each.is_ended])
    decided: list[Decision] = []
    for session in sessions:
        scene = _Scene(tenant, switch_id, session, settings, last, by_session[session.session_id])
        scene.play(said[session.session_id])
        decided += scene.decided
        tell_all(tenant, scene.books)
    Decision.objects.bulk_create(decided)
    if ended := [session.session_id for session in sessions if session.is_ended]:
        completion.settle_soon(ended)


def settings_now(tenant: Tenant, numbers: Iterable[str]) -> Settings:
    users = Extension.objects.filter(number__in=set(numbers)).values_list("number", "record_audio", "record_video")
    return Settings(
        tenant=Switches(tenant.enable_extension_audio_recording, tenant.enable_extension_video_recording),
        users={number: Switches(audio, video) for number, audio, video in users},
        record_external_calls=SystemSettings.current().record_external_calls,
    )


def _books_by_session(tenant: Tenant, sessions: Sequence[Session]) -> dict[str, list[Book]]:
    root = {each: session.session_id for session in sessions for each in (session.session_id, *session.merged)}
    rows = Recording.objects.select_for_update().filter(
        Q(switch_session_id__in=list(root)) | Q(session_id__in=list(root)), ended_at=None
    )
    found: dict[str, list[Book]] = defaultdict(list)
    for book in books_of(tenant, rows.order_by("id")):
        found[root.get(book.recording.switch_session_id) or root[book.recording.session_id]].append(book)
    return found


def _last_decisions(session_ids: Sequence[str]) -> dict[tuple[str, str], tuple[str, bool, str]]:
    """What the policy said last of each call and medium."""
    rows = Decision.objects.filter(session_id__in=session_ids, via=Via.POLICY, rule__in=list(Rule))
    latest = rows.order_by("session_id", "medium", "-at", "-id").distinct("session_id", "medium")
    return {(row.session_id, row.medium): (row.rule, row.record, row.extension) for row in latest}


class _Scene:
    """One call with its recordings, under the settings now in force."""

    def __init__(
        self,
        tenant: Tenant,
        switch_id: int,
        session: Session,
        settings: Settings,
        last: Mapping[tuple[str, str], tuple[str, bool, str]],
        books: list[Book],
    ) -> None:
        self.tenant, self.switch_id, self.session, self.settings = tenant, switch_id, session, settings
        self.last = dict(last)
        self.books = books
        self.decided: list[Decision] = []  # not saved yet
        self.connected = session.connected_parties()
        self.at = timezone.now()

    def book(self, medium: Medium) -> Book | None:
        return next((each for each in self.books if self._is_own(each) and each.recording.medium == medium), None)

    def play(self, told: Sequence[CallEvent]) -> None:
        self.at = min(max((event.at for event in told), default=timezone.now()), timezone.now())
        for event in told:
            if isinstance(event, REPORTS):
                take_report(self.books, event)
        if self.session.is_ended:
            for book in self.books:
                book.finish(self.session.ended_time or self.at)
            return
        self._take_over_merged()
        for event in told:
            if isinstance(event, FeatureDialled):
                self._obey_code(event)
        for medium in MEDIA:
            self._steer(medium)

    # --- Policy ----------------------------------------------------------------------------------------------

    def _steer(self, medium: Medium, word: Reason | None = None) -> None:
        """By the policy; `word` is what a person has just said, and who it was."""
        book = self.book(medium)
        verdict = self._verdict(medium, book)
        why = self._why(verdict)
        decision = self._note(medium, verdict, why, book)
        why = replace(why, decision=decision)
        if book is None:
            if not verdict.record:
                return
            book = self._open(medium)
        if book.recording.is_wanted != verdict.record:
            book.recording.is_wanted = verdict.record
            book.recording.save(update_fields=["is_wanted"])
        self._add_extensions(book, verdict)
        if verdict.record:
            self._keep_recording(book, why)
        elif book.current:
            book.begin_gap(medium, _GAP_OF.get(verdict.rule, Gap.Reason.SWITCHES), word or why)
            book.stop(why, end_reason=_GAP_OF.get(verdict.rule, Gap.Reason.SWITCHES))
        if decision or verdict.record:
            book.settle()

    def _verdict(self, medium: Medium, book: Book | None) -> Verdict:
        override = book.recording.override if book else ""
        situation = Situation(
            connected=self.connected,
            has_video="video" in self.session.media,
            was_recording=bool(book and book.recording.is_wanted),
            override=override if override in ("start", "stop") else "",  # type: ignore[arg-type]
        )
        return policy.decide(medium, situation, self.settings)

    def _keep_recording(self, book: Book, why: Reason) -> None:
        current = book.current
        if current is not None and self._was_transferred(current.legs):
            moved = Reason(self.at, Cause.TRANSFER, record=True, parties=why.parties)
            book.stop(moved, end_reason="transfer")
            current = None
            why = moved
        if current is None and not book.is_held_back and self.connected and self._may_start(book):
            if any(segment.started_at for segment in book.segments):
                book.begin_gap(book.recording.medium, Gap.Reason.TRANSFER, why)
            self._carry_silence(book)
            book.start(why, self._legs())

    def _carry_silence(self, book: Book) -> None:
        """A film begun while the call's sound is paused begins without sound."""
        audio = self.book("audio")
        if book.medium == "video" and audio and audio.pause and audio.is_held_back and not book.holds_back("audio"):
            book.begin_gap("audio", Gap.Reason.PAUSED, paused_again(audio.pause, self.at))

    def _may_start(self, book: Book) -> bool:
        """Not again what the switch has failed at too often, or says that it never can: then a person must look."""
        last = book.segments[-1] if book.segments else None
        return book.failed_starts < MOST_TRIES and not (last and is_final(last.problem))

    def _was_transferred(self, legs: Sequence[Sequence[str]]) -> bool:
        """Somebody of those it began with has gone, and somebody new has come."""
        before, now = {tuple(leg) for leg in legs}, {tuple(leg) for leg in self._legs()}
        return bool(before - now) and bool(now - before)

    def _legs(self) -> list[tuple[str, str]]:
        legs = [key for key, leg in self.session.legs.items() if leg.is_connected]
        return [(self.session.session_id, CALLER_LEG), *legs] if self.session.caller_left is None else legs

    def _open(self, medium: Medium) -> Book:
        row = Recording.objects.create(
            session_id=self.session.session_id,
            switch_session_id=self.session.session_id,
            switch_id=self.switch_id,
            medium=medium,
            caller=self.session.caller.number,
            callee=self.session.started.callee.number,
            dual_tracks=self.tenant.record_dual_tracks,
            pause_style=self.tenant.pause_style,
            announced=self.tenant.announce_recording,
            created_at=self.at,
        )
        book = books_of(self.tenant, [row])[0]
        self.books.append(book)
        return book

    def _add_extensions(self, book: Book, verdict: Verdict) -> None:
        numbers = sorted({*book.recording.extensions, *(party.number for party in self._extensions())})
        if verdict.record and numbers != book.recording.extensions:
            book.recording.extensions = numbers
            book.recording.save(update_fields=["extensions"])

    def _extensions(self) -> list[Party]:
        return [party for party in self.connected if party.kind is PartyKind.EXTENSION]

    def _note(self, medium: Medium, verdict: Verdict, why: Reason, book: Book | None) -> Decision | None:
        """Writes down what was decided, when it differs from what was decided last."""
        if book is None and verdict.rule in (Rule.NOBODY_CONNECTED, Rule.NO_VIDEO):
            return None
        said = (str(verdict.rule), verdict.record, verdict.extension)
        if self.last.get((self.session.session_id, medium)) == said:
            return None
        self.last[self.session.session_id, medium] = said
        decision = decision_of(self.session.session_id, medium, why, book.recording if book else None)
        self.decided.append(decision)
        return decision

    def _why(self, verdict: Verdict) -> Reason:
        return Reason(
            at=self.at,
            rule=verdict.rule,
            record=verdict.record,
            extension=verdict.extension,
            settings=_told_settings(self.settings),
            parties=[{"number": party.number, "kind": party.kind} for party in self.connected],
        )

    # --- Merged calls ----------------------------------------------------------------------------------------

    def _is_own(self, book: Book) -> bool:
        return book.recording.switch_session_id == self.session.session_id

    def _take_over_merged(self) -> None:
        """What was recorded of a call merged into this one ends; a pause and a person's word go over to this one's."""
        for book in [each for each in self.books if not self._is_own(each)]:
            own = self.book(book.medium) or self._open(book.medium)
            own.recording.override = own.recording.override or book.recording.override
            own.recording.is_wanted = own.recording.is_wanted or book.recording.is_wanted
            own.recording.save(update_fields=["override", "is_wanted"])
            for medium in MEDIA:
                gap = book.open_gap(medium)
                if gap and book.holds_back(medium) and not own.holds_back(medium):
                    self._pause_in(own, medium, paused_again(gap, self.at))
            book.stop(Reason(self.at, Cause.TRANSFER, record=False), end_reason="transfer")
            book.finish(self.at)

    # --- People ----------------------------------------------------------------------------------------------

    def _obey_code(self, event: FeatureDialled) -> None:
        """An internal party's feature code acts on all media; whoever else dials one is not heard."""
        operation = operation_of_code(self.tenant, event.code)
        party = self._party_of(event)
        if operation is None:
            return
        if party is None or party.kind is not PartyKind.EXTENSION:
            log.info("feature code of a stranger", session_id=self.session.session_id, leg=event.leg)
            return
        why = Reason(
            event.at, operation, record=operation not in (Operation.STOP, Operation.PAUSE),
            actor=Actor(kind="phone", name=party.number), via=Via.FEATURE_CODE, settings={"code": event.code},
        )  # fmt: skip
        try:
            self.obey(operation, MEDIA, why)
        except ControlError as error:
            log.info("feature code had no effect", session_id=self.session.session_id, reason=error.code)

    def _party_of(self, event: FeatureDialled) -> Party | None:
        if event.leg == CALLER_LEG and self.session.caller_left is None:
            return self.session.caller if self.connected else None
        leg = self.session.leg_of(event.session_id, event.leg)
        return leg.callee if leg and leg.is_connected else None

    def obey(self, operation: Operation, media: Iterable[Medium], why: Reason) -> Ordered:
        """Carries out a person's command as far as it concerns each medium; says why not when it concerns none."""
        given = {id(book): len(book.commands) for book in self.books}
        wanted = [each for each in media if each == "audio" or "video" in self.session.media or self.book("video")]
        concerned, impossible = False, None
        for medium in wanted:
            try:
                concerned = self._obey_for(operation, medium, why) or concerned
            except UnsupportedError as error:
                impossible = error
        if not concerned:
            raise impossible or NotRecordingError(" and ".join(wanted or media))
        ordered = tuple(each for book in self.books for each in book.commands[given.get(id(book), 0) :])
        return Ordered(ordered or self._awaited(wanted))

    def _awaited(self, media: Iterable[Medium]) -> tuple[int, ...]:
        """What was commanded before and is not confirmed: what was asked for twice is no truer for that."""
        own = [book.recording for book in self.books]
        pending = Decision.objects.filter(recording__in=own, medium__in=media, outcome=Decision.Outcome.PENDING)
        return tuple(pending.exclude(command_id=None).order_by("id").values_list("command_id", flat=True))  # type: ignore[arg-type]

    def _obey_for(self, operation: Operation, medium: Medium, why: Reason) -> bool:
        match operation:
            case Operation.START:
                return self._start(medium, why)
            case Operation.STOP:
                return self._stop(medium, why)
            case Operation.PAUSE:
                return self._pause(medium, why)
            case Operation.RESUME:
                return self._resume(medium, why)

    def _start(self, medium: Medium, why: Reason) -> bool:
        has_video = "video" in self.session.media
        situation = Situation(self.connected, has_video, was_recording=False, override="start")
        verdict = policy.decide(medium, situation, self.settings)
        if not verdict.record:
            raise ForbiddenByPolicyError(policy.told(medium, verdict.rule))
        book = self.book(medium) or self._open(medium)
        last = book.segments[-1] if book.segments else None
        if book.current is None and last and is_final(last.problem):
            raise UnsupportedError(book.medium, last.problem)
        self._keep_word(book, "start", why)
        if book.pause:
            self._resume(medium, why)
        self._steer(medium)
        if book.current is None:  # the switch failed too often: a person may have it tried once more
            book.start(why, self._legs())
            book.settle()
        return True

    def _stop(self, medium: Medium, why: Reason) -> bool:
        book = self.book(medium)
        if book is None:
            return False
        self._keep_word(book, "stop", why)
        self._steer(medium, why)
        return True

    def _keep_word(self, book: Book, word: policy.Override, why: Reason) -> None:
        book.recording.override = word
        book.recording.save(update_fields=["override"])
        book.note(why)

    def _pause(self, medium: Medium, why: Reason) -> bool:
        books = self._with_the_sound(medium)
        concerned = [book for book in books if book.recording.is_wanted and (book.current or self._may_start(book))]
        for book in concerned:
            if not book.holds_back(medium):
                self._pause_in(book, medium, why)
        return bool(concerned)

    def _pause_in(self, book: Book, medium: Medium, why: Reason) -> None:
        book.order_pause(why, medium)
        book.settle()

    def _with_the_sound(self, medium: Medium) -> list[Book]:
        """What holds a medium: its own recording, and for the sound also the film, which has sound of its own."""
        books = [self.book(medium), self.book("video") if medium == "audio" else None]
        return [book for book in books if book]

    def _resume(self, medium: Medium, why: Reason) -> bool:
        concerned = False
        for book in self._with_the_sound(medium):
            gap = book.open_gap(medium)
            is_paused = gap is not None and gap.reason == Gap.Reason.PAUSED
            if is_paused and not book.recording.is_wanted and why.via == Via.LONGEST_PAUSE:
                self._end_idle_pause(book, medium, why)
                concerned = True
            elif book.recording.is_wanted and (is_paused or book.medium == medium):
                concerned = True
                if is_paused:
                    self._resume_in(book, medium, why)
        return concerned

    def _end_idle_pause(self, book: Book, medium: Medium, why: Reason) -> None:
        """A pause of what is not to be recorded any more: what keeps it from being recorded is told from now on."""
        book.end_gap(medium, why.at, by=named(why.actor), via=why.via)
        rule = self._verdict(book.medium, book).rule
        if medium == book.medium:
            book.begin_gap(medium, _GAP_OF.get(rule, Gap.Reason.SWITCHES), why)
        book.settle()

    def _resume_in(self, book: Book, medium: Medium, why: Reason) -> None:
        book.order_resume(why, medium)
        if medium != book.medium and (stopped := book.pause) and stopped.begun_via == Via.SWITCH:
            medium = book.medium  # it was stopped because its sound could not be paused
            book.order_resume(why, medium)
        if medium == book.medium and book.current is None:
            book.note(why)
            self._steer(medium)
        book.settle()


def _extensions(session: Session) -> list[Party]:
    return [party for party in session.connected_parties() if party.kind is PartyKind.EXTENSION]


def _told_settings(settings: Settings) -> dict[str, Any]:
    return {
        "tenant": {"audio": settings.tenant.audio, "video": settings.tenant.video},
        "users": {number: {"audio": each.audio, "video": each.video} for number, each in settings.users.items()},
        "record_external_calls": settings.record_external_calls,
    }


# --- A person's command ------------------------------------------------------------------------------------


def operation_of_code(tenant: Tenant, code: str) -> Operation | None:
    return {
        tenant.start_recording_code: Operation.START,
        tenant.stop_recording_code: Operation.STOP,
        tenant.pause_recording_code: Operation.PAUSE,
        tenant.resume_recording_code: Operation.RESUME,
    }.get(code)


def command(
    tenant: Tenant,
    session_id: str,
    operation: Operation,
    media: Sequence[Medium],
    *,
    actor: Actor,
    via: Via,
    as_extension: str = "",
    paused_before: datetime | None = None,
) -> Ordered:
    """Start, stop, pause or resume a call's recording by the word of a person: an administrator, or, when
    `as_extension` is given, that extension, which must be connected in this very call. With `paused_before` it is
    refused when the pause is a later one."""
    try:
        return _command(tenant, session_id, operation, media, actor, via, as_extension, paused_before)
    except ControlError as error:
        log.info(
            "recording command refused",
            session_id=session_id,
            operation=operation,
            actor=actor.name,
            via=via,
            code=error.code,
        )
        raise


@transaction.atomic
def _command(
    tenant: Tenant,
    session_id: str,
    operation: Operation,
    media: Sequence[Medium],
    actor: Actor,
    via: Via,
    as_extension: str,
    paused_before: datetime | None,
) -> Ordered:
    root = calls.root_of(session_id)
    live = LiveSession.objects.select_for_update().filter(session_id=root, ended_time=None).first()
    session = next(iter(calls.sessions_now([root])), None) if live else None
    if live is None or session is None or session.is_ended:
        raise NoSuchCallError
    if as_extension and as_extension not in {party.number for party in _extensions(session)}:
        raise NotAPartyError
    books = _books_by_session(tenant, [session])[root]
    if paused_before and not any(gap.since < paused_before for book in books for gap in book.gaps):
        raise NotRecordingError(" and ".join(media))
    settings = settings_now(tenant, {party.number for party in _extensions(session)})
    scene = _Scene(tenant, live.switch_id, session, settings, _last_decisions([root]), books)
    why = Reason(
        scene.at, operation, record=operation not in (Operation.STOP, Operation.PAUSE), actor=actor, via=via,
    )  # fmt: skip
    ordered = scene.obey(operation, media, why)
    Decision.objects.bulk_create(scene.decided)
    tell_all(tenant, scene.books)
    tell_watchers(tenant)
    return ordered


def resume_long_pauses(tenant: Tenant, now: datetime) -> int:
    """Ends pauses that have lasted as long as the tenant allows."""
    if not tenant.longest_pause_seconds:
        return 0
    before = now - timedelta(seconds=tenant.longest_pause_seconds)
    open_gaps = Gap.objects.filter(until=None, reason=Gap.Reason.PAUSED, since__lt=before, recording__ended_at=None)
    waiting = open_gaps.filter(ended_via="").values_list("recording__session_id", "medium").distinct()[:500]
    return sum(_resume(tenant, session_id, medium, before) for session_id, medium in waiting)


def _resume(tenant: Tenant, session_id: str, medium: str, before: datetime) -> int:
    media: list[Medium] = ["video" if medium == "video" else "audio"]
    try:
        command(
            tenant, session_id, Operation.RESUME, media,
            actor=SYSTEM, via=Via.LONGEST_PAUSE, paused_before=before,
        )  # fmt: skip
    except ControlError:
        return 0
    return 1
