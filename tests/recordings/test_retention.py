"""How long recordings are kept, what a full quota does, and what the audit trail says of it."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from recordings import quota, retention, tasks, trash
from recordings.models import Recording, RecordingFile
from recordings.quota import MEGABYTE, Level, Usage
from tenants.models import Tenant
from tests.recordings.kept import files_in_store, make_recording

DAY = timedelta(days=1)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def states() -> dict[str, str]:
    return dict(Recording.objects.values_list("session_id", "state"))


def resized(row: Recording, megabytes: int) -> Recording:
    """As if its file were that large."""
    RecordingFile.objects.filter(segment__recording=row).update(size=megabytes * MEGABYTE)
    row.size = megabytes * MEGABYTE
    row.save(update_fields=["size"])
    return row


# --- Retention ---------------------------------------------------------------------------------------------


def test_only_what_is_past_its_days_goes(acme: Tenant, now: datetime) -> None:
    acme.recording_days = 30
    make_recording(session_id="old", at=now - 31 * DAY)
    make_recording(session_id="old video", at=now - 31 * DAY, medium="video", state="failed", ready_at=None)
    make_recording(session_id="young", at=now - 29 * DAY)
    make_recording(session_id="held", at=now - 31 * DAY, legal_hold=True)
    make_recording(session_id="taken in", at=now - 31 * DAY, state="processing")
    make_recording(session_id="endless", at=now - 31 * DAY, state="failed")
    Recording.objects.filter(session_id="endless").update(ended_at=None)
    assert retention.would_expire(30, now) == 2
    assert retention.would_expire(29, now) == 2  # 29 days to the second are not past
    assert retention.expire(acme, now, 100) == 2
    assert states() == {
        "old": "trashed", "old video": "trashed", "young": "ready", "held": "ready", "taken in": "processing",
        "endless": "failed",
    }  # fmt: skip
    (entry,) = AuditEntry.objects.all()
    why = "Older than the 30 days that recordings are kept."
    assert (entry.action, entry.actor, entry.subject, entry.after["why"], entry.after["bytes"]) == (
        "recordings.trashed", "Voxledger", "2 recordings", why, 2000,
    )  # fmt: skip
    assert set(Recording.objects.filter(state="trashed").values_list("deletion", flat=True)) == {why}
    assert (retention.expire(acme, now, 100), files_in_store()) == (0, 6)


def test_what_was_put_away_by_mistake_is_gone_a_week_later(acme: Tenant, now: datetime) -> None:
    make_recording(at=now - 200 * DAY)
    assert retention.keep_house(acme, now) == 1
    assert retention.keep_house(acme, now + 6 * DAY) == 0
    assert retention.keep_house(acme, now + 8 * DAY) == 1
    assert (Recording.objects.get().state, files_in_store()) == ("deleted", 0)


def test_batches_are_bounded(acme: Tenant, now: datetime) -> None:
    for age in (183, 182, 181):
        make_recording(session_id=str(age), at=now - age * DAY)
    assert retention.expire(acme, now, 2) == 2
    assert states() == {"183": "trashed", "182": "trashed", "181": "ready"}


def test_the_task_does_all_of_it_and_leaves_other_tenants_alone(acme: Tenant, globex: Tenant, now: datetime) -> None:
    for _ in range(3):
        make_recording(at=now - 200 * DAY)
    assert tasks.keep_house_of(acme.schema_name) == 3
    assert set(states().values()) == {"trashed"}
    assert tasks.keep_house_of(globex.schema_name) == 0


def test_a_suspended_tenant_keeps_what_it_has(acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    Tenant.objects.filter(pk=globex.pk).update(state=Tenant.State.SUSPENDED)
    asked: list[str] = []
    monkeypatch.setattr(tasks.keep_house_of, "delay", asked.append)
    tasks.keep_house()
    assert asked == ["acme"]


# --- Quota -------------------------------------------------------------------------------------------------


def test_usage_counts_the_trash_and_forecasts_by_the_last_weeks(acme: Tenant, now: datetime) -> None:
    acme.recording_quota_mb = 100
    assert quota.usage_of(acme, now) == Usage(0, 0, 0, 100 * MEGABYTE, None)
    resized(make_recording(at=now - 40 * DAY), 10)
    resized(make_recording(at=now - 14 * DAY), 28)
    trashed = resized(make_recording(at=now - 2 * DAY), 4)
    trash.put_in_trash([trashed], now, "x")
    gone = resized(make_recording(at=now - 50 * DAY), 4)
    trash.put_in_trash([gone], now, "x")
    assert trash.purge_each([gone.pk], cause="trash") == 1
    usage = quota.usage_of(acme, now)
    # 32 MB came in four weeks and 4 MB older than these went: 1 MB a day
    assert usage == Usage(42 * MEGABYTE, 3, 4 * MEGABYTE, 100 * MEGABYTE, MEGABYTE)
    assert (usage.percent, usage.level, usage.days_until_full) == (42, "fine", 58)
    assert usage.forecast == "At the pace of the last four weeks it will be full in 58 days."


@pytest.mark.parametrize(
    ("used", "limit", "growth", "level", "days", "forecast"),
    [
        (5, 0, 1.0, "none", None, "No quota is set: recordings may take whatever the store has."),
        (79, 100, None, "fine", None, "A forecast needs recordings of at least a day."),
        (80, 100, 0.0, "warn", None,
         "At the pace of the last four weeks it will not fill up: as much goes as comes."),
        (99, 100, 0.9, "warn", 1, "At the pace of the last four weeks it will be full in 1 day."),
        (99, 100, 5.0, "warn", 0, "At the pace of the last four weeks it will be full today."),
        (1, 100, 0.001, "fine", None, "At the pace of the last four weeks it will not fill up within ten years."),
        (100, 100, 1.0, "full", None, "The quota is full."),
        (150, 100, -1.0, "full", None, "The quota is full."),
    ],
)  # fmt: skip
def test_the_forecast_in_words(
    used: int, limit: int, growth: float | None, level: str, days: int | None, forecast: str
) -> None:
    usage = Usage(used, 1, 0, limit, growth)
    assert (usage.level, usage.days_until_full, usage.forecast) == (level, days, forecast)


def test_a_full_quota_keeps_everything_unless_told_otherwise(acme: Tenant, now: datetime) -> None:
    acme.recording_quota_mb = 1
    resized(make_recording(), 5)
    assert (quota.make_room(acme, 100), set(states().values())) == (0, {"ready"})


def test_a_full_quota_empties_the_trash_first_and_then_deletes_the_oldest(acme: Tenant, now: datetime) -> None:
    acme.recording_quota_mb, acme.when_quota_full = 10, Tenant.QuotaFull.OLDEST
    resized(make_recording(session_id="held", at=now - 9 * DAY, legal_hold=True), 3)
    resized(make_recording(session_id="oldest", at=now - 8 * DAY), 3)
    resized(make_recording(session_id="old", at=now - 7 * DAY), 3)
    resized(make_recording(session_id="new", at=now - 6 * DAY), 3)
    assert quota.make_room(acme, 100) == 1
    assert states() == {"held": "ready", "oldest": "deleted", "old": "ready", "new": "ready"}
    assert Recording.objects.get(session_id="oldest").deletion == "Gone for good because the disk quota was full."
    trash.put_in_trash([resized(make_recording(session_id="trash"), 3)], now, "Deleted by admin.")
    assert quota.make_room(acme, 100) == 1
    assert states()["trash"] == "deleted"
    assert quota.make_room(acme, 100) == 0


def test_crossing_a_level_is_noted_once(acme: Tenant, now: datetime) -> None:
    acme.recording_quota_mb = 10
    assert quota.note_level(acme) is Level.FINE
    row = resized(make_recording(), 8)
    assert [quota.note_level(acme), quota.note_level(acme)] == [Level.WARN, Level.WARN]
    resized(row, 11)
    assert quota.note_level(acme) is Level.FULL
    resized(row, 1)
    assert quota.note_level(acme) is Level.FINE
    entries = AuditEntry.objects.filter(action="quota.level_changed").order_by("id")
    assert [(entry.before, entry.after) for entry in entries] == [
        ({"level": "fine"}, {"level": "warn", "used_mb": 8, "quota_mb": 10}),
        ({"level": "warn"}, {"level": "full", "used_mb": 11, "quota_mb": 10}),
        ({"level": "full"}, {"level": "fine", "used_mb": 1, "quota_mb": 10}),
    ]
