"""Where subscriptions begin, as tables."""

import pytest

from events.beginnings import Beginning, Choice, beginning_of, beginning_of_one, choice_of
from events.log import Span
from events.protocol import ProtocolError, Subscribe

THERE = ["1", "2", "3"]
SPANS = {"1": Span(first=1, last=10), "2": Span(first=5, last=10), "3": Span(first=11, last=10)}


def all_of(*tenants: str, since: dict[str, int] | None = None) -> Subscribe:
    return Subscribe(("global_cdr_events",), tenants=tenants, since_by_tenant=since)


@pytest.mark.parametrize(
    ("wanted", "choice"),
    [
        (all_of(), Choice(("1", "2", "3"))),
        (all_of("3", "1"), Choice(("3", "1"))),
        (all_of(since={"1": 0}), Choice(("1", "2", "3"))),
        (all_of(since={"9": 4, "1": 0}), Choice(("1", "2", "3"), ("9",))),
        (all_of("1", "9", since={"9": 4}), Choice(("1",), ("9",))),
    ],
)
def test_which_tenants(wanted: Subscribe, choice: Choice) -> None:
    assert choice_of(wanted, THERE) == choice


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (all_of("9"), "there is no tenant 9"),
        (all_of("9", since={"8": 1}), "there is no tenant 9"),
        (all_of("1", since={"2": 1}), "since names tenant 2, which is not subscribed to"),
    ],
)
def test_no_such_tenants(wanted: Subscribe, error: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        choice_of(wanted, THERE)
    assert refused.value.message == error


@pytest.mark.parametrize(
    ("since", "beginning"),
    [
        (None, Beginning({"1": 10, "2": 10, "3": 10}, {})),
        ({}, Beginning({"1": 0, "2": 0, "3": 0}, {"2": 4, "3": 10})),
        ({"1": 3, "2": 4, "3": 10}, Beginning({"1": 3, "2": 4, "3": 10}, {})),
        ({"2": 3, "3": 9}, Beginning({"1": 0, "2": 3, "3": 9}, {"2": 4, "3": 10})),
    ],
)
def test_where_all_begin(since: dict[str, int] | None, beginning: Beginning) -> None:
    assert beginning_of(all_of(since=since), SPANS) == beginning


def test_no_tenant_begins_beyond_its_log() -> None:
    with pytest.raises(ProtocolError, match="since of tenant 2 is beyond its last event, 10"):
        beginning_of(all_of(since={"1": 10, "2": 11}), SPANS)


@pytest.mark.parametrize(
    ("since", "beginning"),
    [
        (None, Beginning({"2": 10}, {})),
        (10, Beginning({"2": 10}, {})),
        (4, Beginning({"2": 4}, {})),
        (3, Beginning({"2": 3}, {"2": 4})),
    ],
)
def test_where_one_begins(since: int | None, beginning: Beginning) -> None:
    assert beginning_of_one(Subscribe(("cdr_events",), since=since), "2", SPANS["2"]) == beginning


def test_one_begins_not_beyond_its_log() -> None:
    with pytest.raises(ProtocolError, match="since is beyond the last event, 10"):
        beginning_of_one(Subscribe(("cdr_events",), since=11), "2", SPANS["2"])


def test_events_follow_the_gap() -> None:
    assert beginning_of(all_of(since={"1": 3, "2": 3}), SPANS).places() == {"1": 3, "2": 4, "3": 10}
