"""Who listened to a recording, watched it or took it away: written down before the first byte leaves.

A listening is one row, however many requests a player makes: the requests of one person from one address for one
recording, each within half an hour of the one before. A download is one row for each request that starts at the
beginning; what continues a download that broke off belongs to it. A check that sends no bytes is no play.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from recordings.models import Bulk, Play, Recording
from tenants.changes import Actor

LISTENING = timedelta(minutes=30)  # between two requests of one listening at most
TOUCHED_EVERY = timedelta(minutes=1)
_MOST_REASON = 300


class ReasonNeededError(Exception):
    """The tenant wants to know why somebody listens."""

    code = "reason_required"
    message = "Say why you listen: this company keeps a reason with every play. Send it as the parameter reason."


def note_play(
    actor: Actor,
    recording: Recording,
    kind: Play.Kind,
    *,
    is_beginning: bool,
    asks_reason: bool,
    reason: str = "",
) -> Play:
    """The row that this request belongs to. A reason given once holds for what the same person does of it next."""
    now = timezone.now()
    last = _going_on(actor, recording, now).filter(kind=kind).first()
    if last and not _starts_anew(last, kind, reason, is_beginning=is_beginning):
        if now - last.last_at > TOUCHED_EVERY:  # a player that seeks need not wait for a commit each time
            Play.objects.filter(pk=last.pk).update(last_at=now)
        return last
    reason = reason or reason_given(actor, recording, now)
    if asks_reason and not reason:
        raise ReasonNeededError
    return _begin(actor, recording, kind, reason[:_MOST_REASON], is_beginning=is_beginning)


@transaction.atomic
def _begin(actor: Actor, recording: Recording, kind: Play.Kind, reason: str, *, is_beginning: bool) -> Play:
    """A player may send its first requests at once: the second of them finds the row of the first."""
    Recording.objects.select_for_update(no_key=True).filter(pk=recording.pk).order_by().values_list("pk").first()
    now = timezone.now()
    last = _going_on(actor, recording, now).filter(kind=kind).first()
    if last and not _starts_anew(last, kind, reason, is_beginning=is_beginning):
        return last
    return Play.objects.create(
        recording_id=recording.pk, session_id=recording.session_id, kind=kind, at=now, last_at=now, reason=reason,
        **_of(actor),
    )  # fmt: skip


def open_listening(actor: Actor, recording: Recording, reason: str) -> Play:
    """Somebody gave a reason on a page; the player's requests follow."""
    return note_play(actor, recording, Play.Kind.PLAY, is_beginning=True, asks_reason=True, reason=reason)


def reason_given(actor: Actor, recording: Recording, now: datetime) -> str:
    """What this person said last for this recording, while it holds."""
    given = _going_on(actor, recording, now).exclude(reason="").exclude(kind=Play.Kind.BULK)
    return given.values_list("reason", flat=True).first() or ""


def add_sent(play_id: int, count: int) -> None:
    if count:
        Play.objects.filter(pk=play_id).update(sent=F("sent") + count, last_at=timezone.now())


def note_bulk(bulk: Bulk, recordings: Sequence[Recording]) -> None:
    """Every recording that goes into a ZIP, with whoever asked for it and from where; once, however often made."""
    now = timezone.now()
    rows = [
        Play(
            recording_id=recording.pk, session_id=recording.session_id, kind=Play.Kind.BULK, at=now, last_at=now,
            reason=bulk.reason, bulk_id=bulk.pk, actor_kind=bulk.actor_kind, actor=bulk.actor,
            actor_id=bulk.actor_id, on_behalf=bulk.on_behalf, address=bulk.address,
        )
        for recording in recordings
    ]  # fmt: skip
    Play.objects.bulk_create(rows, ignore_conflicts=True)


def _starts_anew(last: Play, kind: Play.Kind, reason: str, *, is_beginning: bool) -> bool:
    if reason and reason[:_MOST_REASON] != last.reason:
        return True
    return kind == Play.Kind.DOWNLOAD and is_beginning


def _going_on(actor: Actor, recording: Recording, now: datetime) -> "QuerySet[Play]":
    rows = Play.objects.filter(recording_id=recording.pk, last_at__gt=now - LISTENING, **_of(actor))
    return rows.order_by("-at", "-pk")


def _of(actor: Actor) -> dict[str, str]:
    return {
        "actor_kind": actor.kind,
        "actor": actor.name[:200],
        "actor_id": actor.id[:64],
        "on_behalf": actor.on_behalf[:200],
        "address": actor.address[:64],
    }
