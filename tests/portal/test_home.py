"""Home of a tenant: the day beside the same weekday, whoever waits to be called back, storage and pushes."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Extension, User
from accounts.roles import Role
from cdr import tallies
from cdr.models import CDR, LiveSession
from events.models import Delivery, Endpoint, Event
from tenants.models import Tenant
from tests.cdr.rows import make_call, make_target

NOON = datetime(2026, 3, 25, 12, 5, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The day's hours and days are told from here."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    return NOON


@pytest.fixture
def sign_in(acme: Tenant, make_user: Callable[..., User]) -> Callable[[Role], Client]:
    def enter(role: Role) -> Client:
        user = make_user(role.value, role)
        if role is Role.USER:
            Extension.objects.create(number="102", user=user)
        client = Client(headers={"host": "acme.portal.test"})
        client.force_login(user)
        return client

    return enter


def seen(client: Client) -> str:
    response = client.get("/")
    assert response.status_code == 200
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


def stats(client: Client) -> list[str]:
    page = client.get("/").content.decode()
    blocks = re.findall(r'<(?:a|div) class="stat".*?</(?:a|div)>\n', page, re.S)
    return [re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", block))).strip() for block in blocks]


def missed(number: int, at: datetime, caller: str = "18860000001", **given: object) -> CDR:
    return make_call(
        number, start_time=at, caller=caller, answered_time=None, talk_duration=0, status="noanswer", **given
    )


def count() -> None:
    tallies.recount(NOON - timedelta(days=400), NOON + timedelta(days=400))


def test_today_stands_beside_the_same_weekday_until_the_same_minute(
    clock: datetime, sign_in: Callable[[Role], Client]
) -> None:
    browser = sign_in(Role.ADMIN)
    make_target(make_call(1, start_time=NOON - timedelta(hours=2)))
    missed(2, NOON - timedelta(hours=1))
    week_ago = NOON - timedelta(days=7)
    make_target(make_call(3, start_time=week_ago - timedelta(hours=1)), answered_time=week_ago - timedelta(minutes=59))
    make_call(4, start_time=week_ago - timedelta(minutes=2))  # in the quarter that had just begun
    make_call(5, start_time=week_ago + timedelta(minutes=2))  # later that day
    LiveSession.objects.create(
        session_id="live", switch_id=1, caller="1", callee="2", direction="inbound",
        start_time=NOON - timedelta(seconds=74),
    )  # fmt: skip
    count()

    assert stats(browser) == [
        "Calls 2 beside 2",
        "Answered 50.0 % −50.0 beside 100.0 %",
        "Waiting, average 0:05 −0:55 beside 1:00",
        "Talking Time 1:00 beside 2:00",
        "Missed, not called back 1 1 missed today",
        "In progress 1 waiting for up to 1:14",
    ]
    page = browser.get("/").content.decode()
    assert "10:00 to 11:00, 1 answered, 0 not; Wednesday 18 March 0 calls" in page
    assert "12:00 to 13:00, 0 answered, 0 not; Wednesday 18 March 2 calls" in page
    assert '<tr><td>10:00</td><td class="num">1</td><td class="num">0</td><td class="num">0</td></tr>' in page


def test_a_day_of_25_hours_shows_each_of_them(
    monkeypatch: pytest.MonkeyPatch, acme: Tenant, sign_in: Callable[[Role], Client]
) -> None:
    now = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    Tenant.objects.update(time_zone="Europe/Berlin")
    browser = sign_in(Role.ADMIN)
    for number, hour in enumerate((0, 1)):  # 2:30 summer time and 2:30 winter time
        make_call(number, start_time=datetime(2026, 10, 25, hour, 30, tzinfo=UTC))
    tallies.recount(now - timedelta(days=30), now + timedelta(days=2))

    page = browser.get("/").content.decode()
    assert page.count("2:00 to 3:00, 1 answered, 0 not") == 3  # two columns, and the sentence
    assert page.count('<rect class="hit"') == 25


@pytest.mark.parametrize(("zone", "hour"), [("Asia/Kathmandu", 17), ("Australia/Adelaide", 22), ("UTC", 12)])
def test_hours_begin_where_the_zone_begins_them(
    monkeypatch: pytest.MonkeyPatch, acme: Tenant, sign_in: Callable[[Role], Client], zone: str, hour: int
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    Tenant.objects.update(time_zone=zone)
    browser = sign_in(Role.ADMIN)
    make_call(1, start_time=datetime(2026, 3, 25, 12, 0, tzinfo=UTC))
    make_call(2, start_time=datetime(2026, 3, 24, 12, 0, tzinfo=UTC))
    count()

    page = browser.get("/").content.decode()
    assert f"Busiest so far: {hour}:00 to {hour + 1}:00, 1 answered, 0 not." in page
    assert f"<title>Tue {hour}:00: 1 calls</title>" in page


def test_who_called_in_vain_waits_until_somebody_talked_to_them(
    clock: datetime, sign_in: Callable[[Role], Client]
) -> None:
    browser = sign_in(Role.ADMIN)
    missed(1, NOON - timedelta(hours=5), "18860000001")
    missed(2, NOON - timedelta(hours=4), "18860000001")
    missed(3, NOON - timedelta(hours=3), "18860000002")  # called back, in vain
    make_call(
        4, start_time=NOON - timedelta(hours=2), caller="101", callee="18860000002", direction="outbound",
        status="noanswer",
    )  # fmt: skip
    missed(5, NOON - timedelta(hours=3), "18860000003")  # called back, with a plus
    make_call(6, start_time=NOON - timedelta(hours=2), caller="101", callee="+18860000003", direction="outbound")
    missed(7, NOON - timedelta(hours=3), "18860000004")  # got through later
    make_call(8, start_time=NOON - timedelta(hours=1), caller="18860000004")
    missed(9, NOON - timedelta(hours=3), "18860000005")  # had been talked to only before
    make_call(10, start_time=NOON - timedelta(hours=4), caller="18860000005")
    missed(11, NOON - timedelta(days=8), "18860000006")  # too long ago
    make_call(12, start_time=NOON, caller="101", callee="102", direction="internal", status="noanswer")

    section = browser.get("/").content.decode().partition('id="missed"')[2].partition("</section>")[0]
    waiting = re.findall(r'<a class="who" href="([^"]+)">(\d+)</a>(?:.*?title="Times[^>]+>(\d))?', section)
    assert waiting == [
        ("/call-statistics/cdr/690852418417590009", "18860000005", ""),
        ("/call-statistics/cdr/690852418417590003", "18860000002", ""),
        ("/call-statistics/cdr/690852418417590002", "18860000001", "2"),
    ]


def test_a_standard_user_sees_only_what_was_his_own(clock: datetime, sign_in: Callable[[Role], Client]) -> None:
    browser = sign_in(Role.USER)
    make_call(1, start_time=NOON - timedelta(hours=1), caller="+49301111111", extensions=["101"])
    make_call(2, start_time=NOON - timedelta(hours=2), caller="+49302222222", extensions=["102"])
    missed(3, NOON - timedelta(hours=3), "+49303333333", extensions=["101"])
    Endpoint.objects.create(url="https://crm.example.com/calls", secret="x", event_types=[])
    count()

    assert stats(browser) == [
        "Calls 1 +1 beside 0",
        "Answered 100.0 % no calls a week ago",
        "Talking Time 1:00 beside 0:00",
        "Missed, not called back 0 0 missed today",
    ]
    words = seen(browser)
    assert "+49302222222" in words
    for hidden in ("+49301111111", "+49303333333", "crm.example.com", "When calls come in", "Pushes"):
        assert hidden not in words


def test_pushes_tell_what_arrived_and_what_did_not(clock: datetime, sign_in: Callable[[Role], Client]) -> None:
    browser = sign_in(Role.ADMIN)
    fine = Endpoint.objects.create(url="https://u:secret@crm.example.com/calls?key=secret", secret="x", event_types=[])
    off = Endpoint.objects.create(
        url="https://off.example.com/", secret="x", event_types=[], enabled=False, disabled_reason="It answered 410."
    )
    event = Event.objects.create(id=1, type="call_cdr", session_id="s", sequence=1, body="{}")
    for state, step in (("delivered", 0), ("pending", 2), ("exhausted", 9)):
        Delivery.objects.create(
            endpoint=fine, event=event, session_id="s", profile="v16", state=state, step=step,
            created_at=NOON - timedelta(minutes=5),
        )  # fmt: skip

    words = seen(browser)
    assert "crm.example.com/calls 3 in the last 24 hours, 1 tried in vain so far, 1 given up." in words
    assert "off.example.com It answered 410." in words
    assert "secret" not in words
    assert off.pk


def test_another_tenants_day_is_not_counted(
    clock: datetime, globex: Tenant, acme: Tenant, sign_in: Callable[[Role], Client]
) -> None:
    connection.set_tenant(globex)
    missed(1, NOON - timedelta(hours=1), "18860000009", cost=Decimal(1))
    count()
    connection.set_tenant(acme)

    browser = sign_in(Role.ADMIN)
    assert stats(browser)[0] == "Calls 0 beside 0"
    assert "18860000009" not in seen(browser)


def test_home_asks_as_little_with_many_calls_as_with_one(
    clock: datetime, sign_in: Callable[[Role], Client], django_assert_max_num_queries: Callable[..., object]
) -> None:
    browser = sign_in(Role.ADMIN)
    browser.get("/")
    with django_assert_max_num_queries(34) as few:  # type: ignore[attr-defined]
        missed(1, NOON - timedelta(hours=1))
        browser.get("/")
    for number in range(2, 12):
        missed(number, NOON - timedelta(minutes=number), f"1886{number:07}")
    count()
    with django_assert_max_num_queries(len(few)):  # type: ignore[attr-defined]
        browser.get("/")
