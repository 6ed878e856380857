"""Which CDRs a list holds, in which order, and who may see them."""

from collections.abc import Callable
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest

from accounts.callers import ApiError
from accounts.managing import ActingAdministrator
from accounts.models import Extension, User
from accounts.rest import encode_cursor
from accounts.roles import Role
from cdr.forms import CDRFilterForm
from cdr.models import CDR
from cdr.selectors import (
    MANY,
    count_since,
    last_id,
    narrowed,
    neighbours,
    page_of,
    visible_calls,
)
from tenants.models import Tenant
from tests.cdr.rows import NOON, make_call

pytestmark = pytest.mark.django_db


def found(**filters: str) -> list[int]:
    """The numbers of the calls that fit, oldest first."""
    form = CDRFilterForm({name.rstrip("_"): value for name, value in filters.items()}, zone=UTC)
    assert not form.errors
    calls = narrowed(CDR.objects.all(), form.filters()).order_by("start_time", "pk")
    return [int(call.session_id[-4:]) for call in calls]


@pytest.fixture
def calls(acme: Tenant) -> None:
    make_call(1)
    make_call(2, caller="1888999", callee="8000", did="", trunk_name="", talk_duration=600, recorded=True)
    make_call(3, direction="outbound", caller="101", caller_display_name="Ada Lindgren", callee="+49301234567")
    make_call(
        4,
        direction="internal",
        caller="102",
        callee="103",
        did="",
        trunk_name="",
        answered_time=None,
        talk_duration=0,
        status="noanswer",
        status_code=408,
        end_reason="",
        extensions=["102", "103"],
    )
    make_call(5, caller="anna-maria", status="failed", status_code=486, answered_time=None, talk_duration=0)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"from_": "2023-03-22T12:02:00Z"}, [2, 3, 4, 5]),
        ({"from_": "2023-03-22T13:02:00+01:00"}, [2, 3, 4, 5]),
        ({"from_": "2023-03-22T13:02:00 01:00"}, [2, 3, 4, 5]),
        ({"from_": str((NOON + timedelta(minutes=4)).timestamp())}, [4, 5]),
        ({"to": "2023-03-22T12:02:00"}, [1]),
        ({"to": "2023-03-22"}, [1, 2, 3, 4, 5]),
        ({"from_": "2023-03-23"}, []),
        ({"number": "101"}, [1, 3, 5]),
        ({"number": "1888*"}, [1, 2]),
        ({"number": "*722"}, [1]),
        ({"number": "+49 30 1234-567"}, [3]),
        ({"number": "*"}, [1, 2, 3, 4, 5]),
        ({"number": "%"}, []),
        ({"caller": "anna-maria"}, [5]),
        ({"caller": "101"}, [3]),
        ({"callee": "10*"}, [1, 4, 5]),
        ({"direction": "outbound"}, [3]),
        ({"extension": "103"}, [4]),
        ({"extension": "10"}, []),
        ({"trunk": "AudioCodes"}, [1, 3, 5]),
        ({"did": "188*"}, [1, 3, 5]),
        ({"session_id": "690852418417590002"}, [2]),
        ({"status": "failed"}, [5]),
        ({"end_reason": "None"}, [4]),
        ({"end_reason": "caller_disconnect", "status": "answered"}, [1, 2, 3]),
        ({"min_talk": "60", "max_talk": "60"}, [1, 3]),
        ({"recorded": "true"}, [2]),
        ({"recorded": "no"}, [1, 3, 4, 5]),
        ({"search": "lind"}, [3]),
        ({"search": "front DESK"}, [1, 2, 3, 4, 5]),
        ({"search": "desk ada"}, [3]),
        ({"search": "1888"}, [1, 2]),
        ({"search": "anna"}, [5]),
        ({"search": "690852418417590003"}, [3]),
        ({"search": "nobody"}, []),
        ({"search": "' | ! & ("}, []),
        ({"number": "101", "direction": "inbound", "status": "answered"}, [1]),
    ],
)
def test_narrowed_keeps_the_calls_that_fit(calls: None, filters: dict[str, str], expected: list[int]) -> None:
    assert found(**filters) == expected


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2023-13-01"}, "from"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "2023-03-22", "to": "2023-03-21"}, "to"),
        ({"direction": "sideways"}, "direction"),
        ({"status": "busy"}, "status"),
        ({"end_reason": "boredom"}, "end_reason"),
        ({"min_talk": "-1"}, "min_talk"),
        ({"min_talk": "1.5"}, "min_talk"),
        ({"min_talk": "9", "max_talk": "8"}, "max_talk"),
        ({"recorded": "maybe"}, "recorded"),
        ({"number": "1" * 65}, "number"),
        ({"trunk": "a\x00b"}, "trunk"),
        ({"search": "x" * 101}, "search"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(filters: dict[str, str], field: str) -> None:
    assert list(CDRFilterForm(filters, zone=UTC).errors) == [field]


def test_a_day_is_a_day_of_the_readers_zone() -> None:
    form = CDRFilterForm({"from": "2023-03-26", "to": "2023-03-26"}, zone=ZoneInfo("Europe/Berlin"))
    filters = form.filters() if form.is_valid() else None

    assert filters is not None
    assert (str(filters.since), str(filters.until)) == ("2023-03-25 23:00:00+00:00", "2023-03-26 22:00:00+00:00")


def test_pages_meet_without_gap_or_overlap_also_among_equal_times(acme: Tenant) -> None:
    for number in range(7):
        make_call(number, start_time=NOON + timedelta(minutes=number // 3))
    newest_first = list(CDR.objects.order_by("-start_time", "-pk"))

    for ascending, order in ((False, newest_first), (True, newest_first[::-1])):
        seen, cursor = [], ""
        while True:
            page = page_of(CDR.objects.all(), limit=2, ascending=ascending, after=cursor)
            seen += page.rows
            if page.next is None:
                break
            cursor = page.next
        assert seen == order


def test_the_page_before_a_cursor_ends_where_the_next_begins(acme: Tenant) -> None:
    for number in range(7):
        make_call(number)
    calls = CDR.objects.all()
    first = page_of(calls, limit=2)
    second = page_of(calls, limit=2, after=first.next or "")
    third = page_of(calls, limit=2, after=second.next or "")

    assert first.previous is None
    assert page_of(calls, limit=2, before=third.previous or "").rows == second.rows
    assert page_of(calls, limit=2, before=second.previous or "") == first


@pytest.mark.parametrize(
    "cursor", ["x", "!!!", encode_cursor("2023-03-22T12:00:00", 1), encode_cursor("noon", 1), encode_cursor(1, 1),
               encode_cursor("2023-03-22T12:00:00+00:00", "1"), encode_cursor("2023-03-22T12:00:00+00:00", 2**63),
               encode_cursor("2023-03-22T12:00:00+00:00")]
)  # fmt: skip
def test_a_cursor_of_someones_own_making_is_refused(acme: Tenant, cursor: str) -> None:
    with pytest.raises(ApiError) as refused:
        page_of(CDR.objects.all(), limit=2, after=cursor)
    assert refused.value.code == "bad_cursor"


def test_neighbours_are_the_calls_on_either_side(acme: Tenant) -> None:
    first, second, third = (make_call(number) for number in range(3))

    assert neighbours(CDR.objects.all(), second) == (third.session_id, first.session_id)
    assert neighbours(CDR.objects.all(), third) == (None, second.session_id)


def test_new_calls_are_counted_by_when_they_were_written_and_never_far(acme: Tenant) -> None:
    make_call(50)
    since = last_id()
    assert count_since(CDR.objects.all(), since) == 0

    for number in range(MANY + 5):
        make_call(100 + number, start_time=NOON - timedelta(days=1))
    assert count_since(CDR.objects.all(), since) == MANY + 1


def test_visible_calls_are_all_own_or_none(acme: Tenant, make_user: Callable[..., User]) -> None:
    make_call(1, extensions=["101"])
    own = make_call(2, extensions=["102", "101"])
    make_call(3, extensions=["1022"])
    admin, manager = make_user(), make_user("manager", Role.QUEUE_MANAGER)
    user, stranger = make_user("sam", Role.USER), make_user("new", Role.USER)
    Extension.objects.create(number="102", user=user)

    for person in (admin, manager, ActingAdministrator("root", 1)):
        assert visible_calls(person, person.may).count() == 3
    assert list(visible_calls(user, user.may)) == [own]
    assert list(visible_calls(stranger, stranger.may)) == []
    assert list(visible_calls(admin, lambda permission: False)) == []
