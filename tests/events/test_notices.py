"""What administrators are told of an endpoint that fails: to whom, in which words, and how often."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.roles import Role
from events import tasks
from events.deliveries import lease_due, settle
from events.models import Endpoint
from events.notices import TELL_AFTER, tell_administrators
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import write
from tests.events.test_deliveries import answered

Make = Callable[..., Any]
SINCE = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
A_DAY_LATER = SINCE + TELL_AFTER
URL = "http://127.0.0.1:9/cdr"


@pytest.fixture
def people(acme: Tenant, make_user: Callable[..., User]) -> None:
    def person(username: str, role: Role = Role.ADMIN, **values: Any) -> None:
        user = make_user(username, role)
        User.objects.filter(pk=user.pk).update(email=f"{username}@acme.test", **values)

    person("ada", time_zone="Europe/Berlin")
    person("bob")
    person("left", is_active=False)
    person("carl", Role.USER)
    make_user("silent")


def fail(endpoint: Endpoint, now: datetime, status: int | None = 500) -> None:
    """One more event, and one more attempt that fails."""
    write(f"s{now.timestamp()}")
    (leased,) = lease_due(endpoint, most=1, now=max(now, timezone.now()) + timedelta(days=1))
    settle(endpoint.pk, [answered(leased, status)], now=now)


def told() -> list[tuple[list[str], str]]:
    sent = [(message.to, str(message.subject)) for message in mail.outbox]
    mail.outbox.clear()
    return sent


def test_a_day_of_nothing_but_failures_is_told_once(make_endpoint: Make, acme: Tenant, people: None) -> None:
    endpoint = make_endpoint(f"{URL}?key=geheim")
    make_endpoint()
    fail(endpoint, SINCE)
    tell_administrators(acme, A_DAY_LATER - timedelta(seconds=1))
    assert mail.outbox == []
    tell_administrators(acme, A_DAY_LATER)
    link = f"http://acme.portal.test:8000/company/event-url/{endpoint.pk}"
    assert [(message.to, message.subject, message.body) for message in mail.outbox] == [
        (
            [f"{name}@acme.test"],
            "Acme Inc.: Deliveries to 127.0.0.1 fail",
            f"Every attempt to deliver events to {URL} has failed since {since}.\nThe last one: 500\n\n"
            "Nothing is lost: each event is tried again for three days and can be sent again after that. If all"
            f" attempts go on failing, the endpoint is switched off on {end}.\n\nThe delivery log: {link}\n",
        )
        for name, since, end in [
            ("ada", "Mon 2 Mar 2026, 00:30 (Europe/Berlin)", "Sat 7 Mar 2026, 00:30 (Europe/Berlin)"),
            ("bob", "Sun 1 Mar 2026, 23:30 (UTC)", "Fri 6 Mar 2026, 23:30 (UTC)"),
        ]
    ]
    mail.outbox.clear()
    tell_administrators(acme, A_DAY_LATER + timedelta(days=2))
    assert mail.outbox == []


def test_the_next_failing_period_is_told_again(make_endpoint: Make, acme: Tenant, people: None) -> None:
    fail(make_endpoint(), SINCE)
    tell_administrators(acme, A_DAY_LATER)
    mail.outbox.clear()
    Endpoint.objects.update(failing_since=A_DAY_LATER + timedelta(hours=1))
    tell_administrators(acme, A_DAY_LATER + timedelta(hours=24))
    assert mail.outbox == []
    tell_administrators(acme, A_DAY_LATER + timedelta(hours=25))
    assert [to for to, _ in told()] == [["ada@acme.test"], ["bob@acme.test"]]


@pytest.mark.parametrize(
    ("status", "since", "reason"),
    [
        (410, None, "The receiver answered 410 Gone: it wants no more events.\n"
         "It has acknowledged nothing since Fri 6 Mar 2026, 23:31 (UTC).\n"),
        (500, SINCE, "Every attempt has failed for 5 days, the last one with: 500\n"
         "It has acknowledged nothing since Sun 1 Mar 2026, 23:30 (UTC).\n"),
    ],
)  # fmt: skip
def test_disabling_is_told_once(
    make_endpoint: Make, acme: Tenant, people: None, status: int, since: datetime | None, reason: str
) -> None:
    endpoint = make_endpoint(URL)
    now = SINCE + timedelta(days=5, minutes=1)
    Endpoint.objects.update(failing_since=since, failure_told_at=A_DAY_LATER)
    fail(endpoint, now, status)
    tell_administrators(acme, now)
    assert mail.outbox[1].body == (
        f"The endpoint {URL} was switched off.\n{reason}\n"
        "Nothing more is sent to it. What waits is kept; when you enable it again, it can be sent what it missed.\n\n"
        f"The delivery log: http://acme.portal.test:8000/company/event-url/{endpoint.pk}\n"
    )
    subject = "Acme Inc.: Deliveries to 127.0.0.1 are switched off"
    assert told() == [(["ada@acme.test"], subject), (["bob@acme.test"], subject)]
    tell_administrators(acme, now + timedelta(days=1))
    assert mail.outbox == []


def test_mail_that_cannot_go_is_tried_again(
    make_endpoint: Make, acme: Tenant, people: None, settings: Settings
) -> None:
    fail(make_endpoint(), SINCE)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    tell_administrators(acme, A_DAY_LATER)
    assert Endpoint.objects.get().failure_told_at is None
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    tell_administrators(acme, A_DAY_LATER)
    assert len(told()) == 2


def test_with_nobody_to_write_to_it_is_settled(make_endpoint: Make, acme: Tenant) -> None:
    fail(make_endpoint(), SINCE)
    tell_administrators(acme, A_DAY_LATER)
    assert Endpoint.objects.get().failure_told_at == A_DAY_LATER


def test_the_task_goes_where_something_is_untold(
    make_endpoint: Make, acme: Tenant, globex: Tenant, people: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tasks.tell_failing_of, "delay", asked.append)
    with in_schema("globex"):
        make_endpoint()
    fail(make_endpoint(), SINCE)
    tasks.tell_failing()
    assert asked == ["acme"]
    tasks.tell_failing_of("acme")
    assert [to for to, _ in told()] == [["ada@acme.test"], ["bob@acme.test"]]
    tasks.tell_failing()
    assert asked == ["acme"]


def test_the_page_says_that_they_were_told(
    make_endpoint: Make, acme: Tenant, acme_client: Client, make_user: Make
) -> None:
    endpoint = make_endpoint()
    acme_client.force_login(make_user(), "accounts.backends.PortalBackend")
    fail(endpoint, timezone.now() - TELL_AFTER)
    page = f"/company/event-url/{endpoint.pk}"
    assert "were told on" not in acme_client.get(page).content.decode()
    tell_administrators(acme, timezone.now())
    shown = acme_client.get(page).content.decode()
    assert "Administrators with an e-mail address were told on" in shown
    assert 'data-is="bad" role="alert"' in shown
