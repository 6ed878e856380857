"""What counts as one listening, and what is asked before it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from recordings import plays
from recordings.models import Play, Recording
from recordings.plays import ReasonNeededError, add_sent, note_play, open_listening
from tenants.changes import Actor
from tenants.models import Tenant
from tests.recordings.played import make_ready

pytestmark = pytest.mark.django_db
ADA = Actor("user", "ada", "7", "192.0.2.1")
PLAY, DOWNLOAD = Play.Kind.PLAY, Play.Kind.DOWNLOAD


@pytest.fixture
def recording(acme: Tenant) -> Recording:
    return make_ready()


def note(
    recording: Recording, actor: Actor = ADA, kind: Play.Kind = PLAY, *, start: bool = True, **more: object
) -> Play:
    given = {"is_beginning": start, "asks_reason": False, **more}
    return note_play(actor, recording, kind, **given)  # type: ignore[arg-type]


def rows() -> list[tuple[str, str, str, int, str]]:
    return [(row.kind, row.actor, row.address, row.sent, row.reason) for row in Play.objects.order_by("at", "id")]


def test_requests_of_one_player_are_one_listening(recording: Recording) -> None:
    for start, sent in ((True, 100), (False, 50), (True, 7)):
        add_sent(note(recording, start=start).pk, sent)
    assert rows() == [("play", "ada", "192.0.2.1", 157, "")]


def test_half_an_hour_later_it_is_another_one(recording: Recording) -> None:
    first = note(recording)
    Play.objects.filter(pk=first.pk).update(last_at=timezone.now() - plays.LISTENING - timedelta(seconds=1))
    assert note(recording).pk != first.pk


def test_a_long_listening_stays_one_while_it_goes_on(recording: Recording) -> None:
    first = note(recording)
    Play.objects.filter(pk=first.pk).update(at=timezone.now() - timedelta(hours=3))
    assert note(recording).pk == first.pk


def test_other_people_addresses_recordings_and_ways_are_others(recording: Recording) -> None:
    other = make_ready()
    found = {
        note(recording).pk,
        note(recording, Actor("user", "bob", "8", "192.0.2.1")).pk,
        note(recording, Actor("user", "ada", "7", "192.0.2.9")).pk,
        note(recording, Actor("user", "System administrator", "", "192.0.2.1", on_behalf="root")).pk,
        note(recording, Actor("token", "ada", "7", "192.0.2.1")).pk,
        note(recording, kind=DOWNLOAD).pk,
        note(other).pk,
    }
    assert len(found) == 7


def test_each_download_from_the_beginning_is_one(recording: Recording) -> None:
    first = note(recording, kind=DOWNLOAD)
    assert note(recording, kind=DOWNLOAD, start=False).pk == first.pk
    assert note(recording, kind=DOWNLOAD).pk != first.pk


def test_reason_is_asked_where_the_company_wants_one(recording: Recording) -> None:
    with pytest.raises(ReasonNeededError):
        note(recording, asks_reason=True)
    assert rows() == []


def test_reason_given_once_holds_for_the_listening_and_the_download_after(recording: Recording) -> None:
    open_listening(ADA, recording, "Complaint 17")
    note(recording, asks_reason=True)
    note(recording, kind=DOWNLOAD, asks_reason=True)
    assert rows() == [
        ("play", "ada", "192.0.2.1", 0, "Complaint 17"),
        ("download", "ada", "192.0.2.1", 0, "Complaint 17"),
    ]


def test_reason_holds_for_nobody_else_and_nothing_else(recording: Recording) -> None:
    open_listening(ADA, recording, "Complaint 17")
    with pytest.raises(ReasonNeededError):
        note(recording, Actor("user", "bob", "8", "192.0.2.1"), asks_reason=True)
    with pytest.raises(ReasonNeededError):
        note(make_ready(), asks_reason=True)


def test_another_reason_is_another_listening(recording: Recording) -> None:
    open_listening(ADA, recording, "Complaint 17")
    open_listening(ADA, recording, "Complaint 18")
    open_listening(ADA, recording, "Complaint 18")
    assert [row[4] for row in rows()] == ["Complaint 17", "Complaint 18"]


def test_long_reason_is_cut_and_known_again(recording: Recording) -> None:
    open_listening(ADA, recording, "x" * 400)
    open_listening(ADA, recording, "x" * 400)
    assert [row[4] for row in rows()] == ["x" * 300]


def test_plays_outlive_the_recording(recording: Recording) -> None:
    note(recording)
    recording.delete()
    assert Play.objects.count() == 1
