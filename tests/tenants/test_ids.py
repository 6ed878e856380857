"""Ids grow from one to the next, whatever the clock does and however many ask at once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from recordings.models import Decision
from tenants import ids
from tenants.ids import new_id
from tenants.models import Tenant

NOON_NS = 1_800_000_000_000_000_000


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)


def test_id_tells_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    told = (new_id() >> 22) + 1_577_836_800_000
    assert before <= told <= time.time_ns() // 1_000_000


def test_ids_of_one_millisecond_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOON_NS)
    made = [new_id() for _ in range(5_000)]
    assert made == sorted(set(made))
    assert made[-1] < 2**63


def test_ids_grow_while_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([NOON_NS, NOON_NS - 3_600_000_000_000, NOON_NS + 1_000_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    first, second, third = new_id(), new_id(), new_id()
    assert first < second < third


def test_ids_asked_for_at_once_are_of_different_places() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [new_id() for _ in range(500)], range(8)))
    assert all(each == sorted(each) for each in made)
    assert len({one for each in made for one in each}) == 4_000


def test_rows_of_one_moment_keep_the_order_in_which_they_were_made(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOON_NS)
    rules = [f"rule {number}" for number in range(50)]
    for rule in rules:
        Decision.objects.create(session_id="s", at="2026-01-01T00:00:00Z", medium="audio", rule=rule, record=True)
    assert list(Decision.objects.order_by("id").values_list("rule", flat=True)) == rules
