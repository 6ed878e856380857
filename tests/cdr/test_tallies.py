"""What the tallies hold after calls were written, corrected and deleted, beside a count from the ledger itself."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction

from cdr import calls, ledger, tallies
from cdr.models import CDR, Direction, RateRule, Tally
from cdr.records import Record, TargetRecord
from tenants import schemas
from tenants.models import Tenant
from tests.cdr.tables import EPOCH, SESSION, events, ext, outside, spec_call

SWITCH = 7
LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
AMOUNTS = ("calls", "answered", "missed", "met", "wait_seconds", "talk_seconds", "billed", "cost")


def tallied() -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows = Tally.objects.values_list("subject", "value", "bucket", "direction", *AMOUNTS)
    return {row[:4]: row[4:] for row in rows}


def counted_again() -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What a count from the ledger gives; the tallies are left as they were."""
    with transaction.atomic():
        tallies.recount(LONG_AGO, FAR_AHEAD)
        found = tallied()
        transaction.set_rollback(True)
    return found


def apply(tenant: Tenant, told: list[Any]) -> None:
    with transaction.atomic():
        calls.apply(tenant, SWITCH, told)


def invented(chance: random.Random, number: int) -> Record:
    """A call of any kind, with targets of any kind."""
    start = datetime.fromtimestamp(EPOCH + chance.randrange(7200), UTC)
    people = [ext("101"), ext("102"), ext("103"), outside("1880001"), outside("1880002")]
    caller = chance.choice(people)["number"]
    targets = []
    for place in range(chance.randrange(4)):
        kind, callee = chance.choice(
            [("extension", "101"), ("extension", "102"), ("service", "8000"), ("external", "1880002")]
        )
        answered = start + timedelta(seconds=chance.randrange(60)) if chance.random() < 0.6 else None
        targets.append(
            TargetRecord(
                callee=callee, caller=chance.choice([caller, "101"]), kind=kind, start_time=start,
                answered_time=answered, target_id=str(place), ended_time=start + timedelta(seconds=60 + place),
                cost=chance.choice([None, Decimal("0.10000"), Decimal("1.23456")]),
            )
        )  # fmt: skip
    numbers = [caller, *(target.callee for target in targets), *(target.caller for target in targets)]
    return Record(
        session_id=f"session-{number}", direction=chance.choice(Direction.values),
        caller=caller, callee="8000", start_time=start, ended_time=start + timedelta(seconds=90),
        status=chance.choice(["answered", "noanswer", "failed"]), did=chance.choice(["", "18800606"]),
        trunk_name=chance.choice(["", "AudioCodes", "Other"]), end_reason=chance.choice(["", "cancelled"]),
        talk_duration=chance.randrange(100), cost=chance.choice([None, Decimal("2.50000")]),
        extensions=list(dict.fromkeys(each for each in numbers if len(each) == 3)), targets=targets,
    )  # fmt: skip


def test_a_call_counts_once_for_each_of_its_subjects(acme: Tenant) -> None:
    apply(acme, spec_call())

    bucket = datetime.fromtimestamp(EPOCH // 900 * 900, UTC)
    whole = (1, 1, 0, 1, 11, 19, 0, Decimal(0))  # an agent answered after 11 seconds
    assert tallied() == {
        ("", "", bucket, "inbound"): whole,
        ("did", "18800606", bucket, "inbound"): whole,
        ("trunk", "AudioCodes", bucket, "inbound"): whole,
        ("end_reason", "callee_disconnect", bucket, "inbound"): whole,
        ("extension", "102", bucket, "inbound"): (1, 0, 0, 0, 0, 0, 0, Decimal(0)),
        ("extension", "103", bucket, "inbound"): (1, 1, 0, 1, 11, 8, 0, Decimal(0)),
    }
    assert counted_again() == tallied()


def test_a_late_event_moves_what_was_counted(acme: Tenant) -> None:
    RateRule.objects.create(prefix="188", price_1=Decimal(6), price_n=Decimal(6), interval_1=1, interval_n=1)
    call = events(
        (0, "call.started", {"caller": ext("101"), "callee": outside("1880001")}),
        (1, "target.added", {"target_id": "t", "callee": outside("1880001"), "trunk": "AudioCodes"}),
        (9, "call.ended", {"ended_reason": "caller_disconnect"}),
        (4, "target.answered", {"target_id": "t"}),
    )
    apply(acme, call[:3])
    bucket = datetime.fromtimestamp(EPOCH // 900 * 900, UTC)
    assert tallied()[("", "", bucket, "outbound")][:6] == (1, 0, 0, 0, 0, 0)

    apply(acme, call[3:])

    assert tallied()[("", "", bucket, "outbound")] == (1, 1, 0, 1, 4, 5, 1, Decimal("0.50000"))
    assert tallied()[("extension", "101", bucket, "outbound")] == (1, 1, 0, 1, 4, 5, 1, Decimal("0.50000"))
    assert counted_again() == tallied()


def test_a_deleted_call_leaves_nothing_behind(acme: Tenant) -> None:
    apply(acme, spec_call())
    with transaction.atomic():
        ledger.delete(acme, [SESSION, "unknown"])
    assert tallied() == {}


@pytest.mark.parametrize("seed", range(3))
def test_tallies_equal_a_recount_after_anything_that_happens_to_records(acme: Tenant, seed: int) -> None:
    chance = random.Random(seed)
    written = [invented(chance, number) for number in range(60)]
    with transaction.atomic():
        ledger.write(acme, SWITCH, written)
        ledger.correct(acme, SWITCH, [invented(chance, number) for number in chance.sample(range(60), 30)])
        ledger.delete(acme, [f"session-{number}" for number in chance.sample(range(60), 20)])
    assert CDR.objects.count() == 40
    assert counted_again() == tallied()
    assert sum(row.calls for row in Tally.objects.filter(subject="")) == 40


def test_what_stood_before_there_were_tallies_is_counted_by_the_migration(acme: Tenant) -> None:
    chance = random.Random(5)
    with transaction.atomic():
        ledger.write(acme, SWITCH, [invented(chance, number) for number in range(30)])
        ledger.write(acme, SWITCH, [replaced_start(invented(chance, 100), timedelta(days=40))])
    kept = tallied()
    Tally.objects.all().delete()

    with connection.schema_editor() as editor:
        import_module("cdr.migrations.0007_count_calls").count_calls(apps, editor)

    assert tallied() == kept


def replaced_start(record: Record, later: timedelta) -> Record:
    return replace(record, start_time=record.start_time + later, ended_time=record.ended_time + later, targets=[])


@pytest.mark.django_db(transaction=True)
def test_tallies_equal_a_recount_when_many_write_at_once(acme: Tenant) -> None:
    def work(lane: int) -> None:
        chance = random.Random(lane)
        schemas.enter(acme)
        try:
            for step in range(8):
                first = (lane * 8 + step) * 10
                with transaction.atomic():
                    ledger.write(acme, SWITCH, [invented(chance, number) for number in range(first, first + 10)])
                with transaction.atomic():
                    # What another lane may be correcting or deleting at the same time.
                    ledger.correct(acme, SWITCH, [invented(chance, number) for number in range(20)])
                with transaction.atomic():
                    ledger.delete(acme, [f"session-{chance.randrange(320)}" for _ in range(3)])
                if step == 4:
                    tallies.recount(LONG_AGO, FAR_AHEAD)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, lane) for lane in range(4)]:
            done.result()

    assert counted_again() == tallied()
    assert sum(row.calls for row in Tally.objects.filter(subject="")) == CDR.objects.count()
