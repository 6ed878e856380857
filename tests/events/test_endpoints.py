"""Endpoints: what they may be, their secrets, what the audit trail is told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from events import deliveries
from events.endpoints import (
    EndpointError,
    Settings,
    change_endpoint,
    create_endpoint,
    credentials_of,
    delete_endpoint,
    disable_endpoint,
    live_endpoints,
    rotate_secret,
    signing_keys,
)
from events.models import Delivery, Endpoint
from events.outgoing import Credentials
from tenants.changes import SYSTEM
from tenants.errors import StaleError
from tests.events.conftest import write

GOOD = Settings(url="http://127.0.0.1:9/", auth="basic", username="anna", password="secret1")


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        (replace(GOOD, url="ftp://127.0.0.1/"), "url", "url_scheme"),
        (replace(GOOD, url="http://10.0.0.1/"), "url", "url_inner_address"),
        (replace(GOOD, auth="ntlm"), "auth", "auth_unknown"),
        (replace(GOOD, profile="v99"), "profile", "profile_unknown"),
        (replace(GOOD, event_types=()), "event_types", "event_types_empty"),
        (replace(GOOD, event_types=("call_cdr", "nonsense")), "event_types", "event_type_unknown"),
        (replace(GOOD, username=""), "username", "username_missing"),
        (replace(GOOD, username="a:b"), "username", "username_malformed"),
        (replace(GOOD, username="x" * 65), "username", "username_malformed"),
        (replace(GOOD, password=None), "password", "password_missing"),
        (replace(GOOD, password="12345"), "password", "password_length"),
        (replace(GOOD, password="x" * 65), "password", "password_length"),
        (replace(GOOD, password="secret\n1"), "password", "password_length"),
        (replace(GOOD, auth="digest", password=None), "password", "password_missing"),
        (replace(GOOD, auth="bearer"), "token", "token_missing"),
        (replace(GOOD, auth="bearer", token="two words"), "token", "token_malformed"),
        (replace(GOOD, auth="bearer", token=""), "token", "token_malformed"),
    ],
)
def test_what_cannot_be_is_refused(
    make_endpoint: Callable[..., Endpoint], wanted: Settings, field: str, code: str
) -> None:
    with pytest.raises(EndpointError) as refused:
        create_endpoint(wanted, actor=SYSTEM)
    assert (refused.value.field, refused.value.code) == (field, code)
    assert live_endpoints().count() == 0


def test_secrets_are_encrypted_and_never_told(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint, secret = create_endpoint(GOOD, actor=SYSTEM)
    assert secret.startswith("whsec_")
    row = Endpoint.objects.values().get()
    assert not [value for value in row.values() if value in (secret, "secret1")]
    assert credentials_of(endpoint) == Credentials("basic", "anna", "secret1")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.after) == (
        "endpoint.created",
        "http://127.0.0.1:9/",
        {"url": "http://127.0.0.1:9/", "enabled": True, "auth": "basic", "username": "anna",
         "event_types": ["call_cdr"], "profile": "v16"},
    )  # fmt: skip


def test_a_secret_left_out_stays(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint, _ = create_endpoint(GOOD, actor=SYSTEM)
    endpoint = change_endpoint(endpoint, replace(GOOD, password=None, profile="v22"), actor=SYSTEM)
    assert credentials_of(endpoint).password == "secret1"
    endpoint = change_endpoint(endpoint, replace(GOOD, auth="bearer", password=None, token="tok"), actor=SYSTEM)
    assert credentials_of(endpoint) == Credentials("bearer", token="tok")
    assert [(entry.before, entry.after) for entry in AuditEntry.objects.order_by("id")[1:]] == [
        ({"profile": "v16"}, {"profile": "v22"}),
        (
            {"auth": "basic", "profile": "v22", "username": "anna"},
            {"auth": "bearer", "profile": "v16", "username": "", "credentials": "replaced"},
        ),
    ]


def test_a_save_over_someone_elses_is_refused(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    change_endpoint(endpoint, Settings(url=endpoint.url), actor=SYSTEM, version=1)
    with pytest.raises(StaleError):
        change_endpoint(endpoint, Settings(url=endpoint.url, profile="v22"), actor=SYSTEM, version=1)


def test_rotation_signs_with_both_for_a_day(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    new = rotate_secret(endpoint, actor=SYSTEM)
    endpoint.refresh_from_db()
    now = timezone.now()
    old = endpoint.__class__.objects.get()
    assert signing_keys(old, now)[0] == new
    assert len(signing_keys(old, now + timedelta(hours=23))) == 2
    assert signing_keys(old, now + timedelta(hours=25)) == [new]


def test_disabling_says_why_and_enabling_forgets_it(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    disable_endpoint(endpoint.pk, "410")
    disable_endpoint(endpoint.pk, "again")
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "410")
    endpoint = change_endpoint(endpoint, Settings(url=endpoint.url), actor=SYSTEM)
    assert (endpoint.enabled, endpoint.disabled_reason) == (True, "")
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "endpoint.created", "endpoint.disabled", "endpoint.changed",
    ]  # fmt: skip


def test_deleted_endpoint_is_gone_and_its_deliveries_follow(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a", "b", "c")
    delete_endpoint(endpoint, actor=SYSTEM)
    delete_endpoint(endpoint, actor=SYSTEM)
    assert list(live_endpoints()) == []
    assert Endpoint.objects.get().secret == ""
    write("d")
    assert [deliveries.prune_deleted(batch=2) for _ in range(3)] == [2, 1, 0]
    assert (Delivery.objects.count(), Endpoint.objects.count()) == (0, 0)
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "endpoint.created", "endpoint.deleted",
    ]  # fmt: skip
