"""REST of users, extensions and the company: what a program gets, and what it is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.extensions import ha1
from accounts.models import AuditEntry, Extension, ExtensionCredential, User
from accounts.roles import Role
from tenants.models import SipDomain, Tenant

JSON = "application/json"
NAMES = ["Jürgen Groß", "北京办事处", "عَبْد الله", "👩‍👩‍👧 Familie", "Zoë & <b>Co</b>", 'O\'Neil "Q"']
BAD_TEXTS: list[Any] = ["nul\0", "a\nb", "tab\t", "\x7f", "\u202egnp", "\u2028", "x" * 121, 7, True, [], {}]


def _user(user: User, **more: Any) -> dict[str, Any]:
    row = {
        "id": str(user.pk), "username": user.username, "display_name": "", "email": "", "role": "user",
        "is_active": True, "may_sign_in": True, "time_zone": "", "extension": None,
        "created_at": user.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }  # fmt: skip
    return {**row, **more}


def _refused(response: Any, *fields: str) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (400, "not_valid"), response.content
    assert set(response.json()["error"]["details"]) == set(fields)


def test_users_are_listed_by_pages(program: Client, admin: User, make_user: Callable[..., User]) -> None:
    others = [make_user(name, Role.USER) for name in ("ann", "bob")]
    first = program.get("/api/v1/users?limit=2").json()
    assert first["items"] == [_user(admin, role="admin"), _user(others[0])]
    second = program.get("/api/v1/users", {"limit": 2, "cursor": first["next"]}).json()
    assert second == {"items": [_user(others[1])], "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=٣", "cursor=%21", "cursor=WzFd4oKs"])
def test_users_refuse_malformed_pages(program: Client, query: str) -> None:
    response = program.get(f"/api/v1/users?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["code"] in {"bad_limit", "bad_cursor"}


@pytest.mark.parametrize("name", NAMES)
def test_user_is_created_and_changed(program: Client, name: str) -> None:
    given = {"username": "ann", "display_name": name, "role": "queue_manager", "password": "a long enough one"}
    made = program.post("/api/v1/users", given, JSON)
    user = User.objects.get(username="ann")
    assert (made.status_code, made.json()) == (201, _user(user, display_name=name, role="queue_manager"))
    changed = program.patch(f"/api/v1/users/{user.pk}", {"email": "a@b.test", "role": "user"}, JSON)
    assert changed.json() == _user(user, display_name=name, email="a@b.test")
    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.actor_kind, entry.actor, entry.before, entry.after) == (
        "token", "script", {"email": "", "role": "queue_manager"}, {"email": "a@b.test", "role": "user"},
    )  # fmt: skip


def test_password_stands_nowhere_in_the_audit_trail(program: Client) -> None:
    program.post("/api/v1/users", {"username": "ann", "password": "Zaubertrank 7"}, JSON)
    user = User.objects.get(username="ann")
    program.patch(f"/api/v1/users/{user.pk}", {"password": "Zaubertrank 8"}, JSON)
    assert User.objects.get(pk=user.pk).check_password("Zaubertrank 8")
    assert "Zaubertrank" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_user_refuses_bad_display_names(program: Client, text: object) -> None:
    _refused(program.post("/api/v1/users", {"username": "ann", "display_name": text}, JSON), "display_name")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""), ("username", "a b"), ("username", "ADMIN"), ("username", None), ("username", "x" * 65),
        ("email", "nobody"), ("email", "a@b\n.test"), ("role", "system"), ("role", "owner"), ("role", None),
        ("is_active", "no"), ("time_zone", "Mars/Base"), ("time_zone", "../etc/passwd"),
        ("password", "short"), ("password", "password123"), ("password", 12345678901), ("password", "x" * 257),
        ("password", "nul\0nul\0nul\0"), ("id", "1"), ("is_superuser", True),
    ],
)  # fmt: skip
def test_user_refuses_bad_values(program: Client, field: str, value: object) -> None:
    _refused(program.post("/api/v1/users", {"username": "ann", "password": None, field: value}, JSON), field)
    assert User.objects.count() == 1


def test_every_fault_is_told_at_once(program: Client) -> None:
    response = program.post("/api/v1/users", {"username": "", "email": "x", "role": "x", "y": 1}, JSON)
    _refused(response, "username", "email", "role", "y")


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "user"}])
def test_last_administrator_stays(program: Client, admin: User, change: dict[str, Any]) -> None:
    response = program.patch(f"/api/v1/users/{admin.pk}", change, JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "last_administrator")
    assert User.objects.get(pk=admin.pk).may is not None
    assert User.objects.get(pk=admin.pk).role == Role.ADMIN


@pytest.mark.parametrize("user_id", ["0", "999999999999999999", "9" * 40, "-1", "x", "1e3", "%00", "٣"])
def test_user_that_is_not_there(program: Client, user_id: str) -> None:
    for response in (program.get(f"/api/v1/users/{user_id}"), program.patch(f"/api/v1/users/{user_id}", {}, JSON)):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"", 400, "not_valid"),
        (b"7", 400, "malformed_json"),
        (b"[]", 400, "not_an_object"),
        (b'{"username": NaN}', 400, "malformed_json"),
        (b'{"username": "\xff"}', 400, "malformed_json"),
        (b'{"username": "\\ud800"}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"username": "' + b"x" * 2_097_153 + b'"}', 413, "too_large"),
    ],
)
def test_malformed_bodies(program: Client, body: bytes, status: int, code: str) -> None:
    response = program.post("/api/v1/users", body, JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_other_content_types_are_refused(program: Client) -> None:
    assert program.post("/api/v1/users", {"username": "ann"}).status_code == 415


def test_wrong_method(program: Client) -> None:
    response = program.delete("/api/v1/users")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


def test_browser_needs_the_csrf_token(admin: User) -> None:
    client = Client(headers={"host": "acme.portal.test"}, enforce_csrf_checks=True)
    client.force_login(admin)
    assert client.get("/api/v1/users").status_code == 200
    response = client.post("/api/v1/users", {"username": "ann"}, JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


# --- Extensions --------------------------------------------------------------------------------------------


def _extension(**more: Any) -> dict[str, Any]:
    user = User.objects.get(username="101")
    row = {
        "number": "101", "display_name": "", "user": str(user.pk), "record_audio": False, "record_video": False,
        "outbound_caller_id": "", "enabled": True, "realms_without_password": [], "version": 1,
    }  # fmt: skip
    return {**row, **more}


@pytest.fixture
def extension(program: Client) -> str:
    """Extension 101 and its SIP password."""
    made = program.post("/api/v1/extensions", {"number": "101"}, JSON)
    assert made.status_code == 201
    password = made.json()["sip_password"]
    assert made.json() == {**_extension(), "sip_password": password}
    return str(password)


def test_sip_password_is_kept_as_digests_of_every_realm(acme: Tenant, program: Client) -> None:
    SipDomain.objects.create(tenant=acme, domain="second.acme.test")
    made = program.post("/api/v1/extensions", {"number": "101", "sip_password": "geheim!!"}, JSON)
    assert made.json()["sip_password"] == "geheim!!"
    assert set(ExtensionCredential.objects.values_list("realm", "ha1")) == {
        ("acme.test", ha1("101", "acme.test", "geheim!!")),
        ("second.acme.test", ha1("101", "second.acme.test", "geheim!!")),
    }
    assert "geheim" not in str(list(AuditEntry.objects.values()))


def test_domain_added_later_lacks_the_password_until_it_is_set_anew(
    acme: Tenant, program: Client, extension: str
) -> None:
    SipDomain.objects.create(tenant=acme, domain="later.test")
    row = program.get("/api/v1/extensions/101").json()
    assert row == _extension(realms_without_password=["later.test"])
    again = program.post("/api/v1/extensions/101/sip-password").json()
    assert again["sip_password"] != extension
    assert program.get("/api/v1/extensions/101").json() == _extension()


def test_recording_switches_are_changed_and_noted(program: Client, extension: str) -> None:
    response = program.patch("/api/v1/extensions/101", {"record_audio": True, "record_video": True}, JSON)
    assert response.json() == _extension(record_audio=True, record_video=True, version=2)
    entry = AuditEntry.objects.get(action="extension.changed")
    assert (entry.before, entry.after) == (
        {"record_audio": False, "record_video": False}, {"record_audio": True, "record_video": True},
    )  # fmt: skip


def test_extension_changed_meanwhile(program: Client, extension: str) -> None:
    program.patch("/api/v1/extensions/101", {"record_audio": True, "version": 1}, JSON)
    late = program.patch("/api/v1/extensions/101", {"display_name": "late", "version": 1}, JSON)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "changed_meanwhile")
    assert program.get("/api/v1/extensions/101").json() == _extension(record_audio=True, version=2)
    for version in ("1", True, 1.5, []):
        assert program.patch("/api/v1/extensions/101", {"version": version}, JSON).status_code == 400


def test_extension_belongs_to_a_user(program: Client, admin: User, extension: str) -> None:
    given = program.patch("/api/v1/extensions/101", {"user": str(admin.pk)}, JSON)
    assert given.json() == _extension(user=str(admin.pk), version=2)
    assert program.get(f"/api/v1/users/{admin.pk}").json()["extension"] == "101"
    second = program.post("/api/v1/extensions", {"number": "102", "user": str(admin.pk)}, JSON)
    _refused(second, "user")
    _refused(program.patch("/api/v1/extensions/101", {"user": None}, JSON), "user")


def test_extension_without_a_user_gets_one_who_cannot_sign_in(program: Client, extension: str) -> None:
    user = User.objects.get(username="101")
    shown = program.get(f"/api/v1/users/{user.pk}").json()
    assert (shown["extension"], shown["role"], shown["may_sign_in"]) == ("101", "user", False)
    program.post("/api/v1/users", {"username": "102"}, JSON)
    program.post("/api/v1/extensions", {"number": "102"}, JSON)
    assert Extension.objects.get(number="102").user == User.objects.get(username="102")
    program.delete("/api/v1/extensions/101")
    program.patch("/api/v1/extensions/102", {"user": str(user.pk)}, JSON)
    taken = program.post("/api/v1/extensions", {"number": "101"}, JSON)
    _refused(taken, "user")
    program.post("/api/v1/extensions", {"number": "300", "user": str(User.objects.get(username="admin").pk)}, JSON)
    assert set(User.objects.values_list("username", flat=True)) == {"admin", "101", "102"}


def test_extensions_are_listed_in_order(program: Client, extension: str) -> None:
    for number in ("100", "*44", "20"):
        program.post("/api/v1/extensions", {"number": number}, JSON)
    first = program.get("/api/v1/extensions?limit=3").json()
    second = program.get("/api/v1/extensions", {"cursor": first["next"]}).json()
    assert [row["number"] for row in first["items"] + second["items"]] == ["*44", "100", "101", "20"]
    assert second["next"] is None
    assert program.get("/api/v1/extensions/%2A44").json()["number"] == "*44"


def test_extension_is_deleted(program: Client, extension: str) -> None:
    assert program.delete("/api/v1/extensions/101").status_code == 204
    assert program.get("/api/v1/extensions/101").status_code == 404
    assert program.delete("/api/v1/extensions/101").status_code == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", ""), ("number", "10 1"), ("number", "١٠١"), ("number", "1" * 33), ("number", 101), ("number", "101"),
        ("display_name", "a\r\nb"), ("record_audio", "yes"), ("record_video", 1), ("enabled", None),
        ("outbound_caller_id", "anonymous"), ("outbound_caller_id", "1" * 33), ("user", "0"), ("user", [1]),
        ("user", "9" * 30), ("sip_password", "short"), ("sip_password", "mit leerzeichen"), ("sip_password", 7),
        ("sip_password", "größer!!"), ("version", 2), ("ha1", "x"),
    ],
)  # fmt: skip
def test_extension_refuses_bad_values(program: Client, extension: str, field: str, value: object) -> None:
    _refused(program.post("/api/v1/extensions", {"number": "102", field: value}, JSON), field)
    assert Extension.objects.count() == 1


def test_number_is_fixed(program: Client, extension: str) -> None:
    _refused(program.patch("/api/v1/extensions/101", {"number": "102"}, JSON), "number")


def test_nothing_is_changed_when_a_part_is_refused(program: Client, extension: str) -> None:
    before = set(ExtensionCredential.objects.values_list("ha1", flat=True))
    _refused(program.patch("/api/v1/extensions/101", {"sip_password": "geheim!!", "enabled": 7}, JSON), "enabled")
    assert set(ExtensionCredential.objects.values_list("ha1", flat=True)) == before


def test_other_tenants_extension_does_not_exist(program: Client, extension: str) -> None:
    from tenants.schemas import in_schema

    with in_schema("globex"):
        Extension.objects.create(number="900")
    assert program.get("/api/v1/extensions/900").status_code == 404
    assert [row["number"] for row in program.get("/api/v1/extensions").json()["items"]] == ["101"]


def test_extension_list_costs_the_same_at_one_row_and_at_three(
    program: Client, extension: str, django_assert_num_queries: Callable[[int], Any]
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    program.get("/api/v1/extensions")
    with CaptureQueriesContext(connection) as one:
        program.get("/api/v1/extensions")
    count = len(one)  # read now: the log is cleared with the next request
    for number in ("102", "103"):
        program.post("/api/v1/extensions", {"number": number}, JSON)
    with django_assert_num_queries(count):
        program.get("/api/v1/extensions")


# --- Company -----------------------------------------------------------------------------------------------


def _company(acme: Tenant, **more: Any) -> dict[str, Any]:
    row = {
        "id": str(acme.pk), "name": "Acme Inc.", "host": "acme", "sip_domain": "acme.test",
        "sip_domains": ["acme.test"], "time_zone": "UTC", "currency": "EUR",
        "enable_extension_audio_recording": False, "enable_extension_video_recording": False, "event_log_days": 30,
        "record_dual_tracks": False, "pause_style": "skip", "longest_pause_seconds": 0, "announce_recording": False,
        "recording_days": 180, "recording_quota_mb": 0, "when_quota_full": "keep", "ask_play_reason": False,
        "start_recording_code": "*44", "stop_recording_code": "*45", "pause_recording_code": "*48",
        "resume_recording_code": "*49", "version": 1,
    }  # fmt: skip
    return {**row, **more}


def test_company_is_read_and_changed(acme: Tenant, program: Client) -> None:
    assert program.get("/api/v1/company").json() == _company(acme)
    change = {"event_log_days": 365, "time_zone": "Europe/Berlin", "version": 1}
    changed = program.patch("/api/v1/company", change, JSON)
    assert changed.json() == _company(acme, event_log_days=365, time_zone="Europe/Berlin", version=2)
    late = program.patch("/api/v1/company", change, JSON)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "changed_meanwhile")
    entry = AuditEntry.objects.get(action="company.changed")
    assert (entry.subject_id, entry.before, entry.after) == (
        str(acme.pk),
        {"event_log_days": 30, "time_zone": "UTC"},
        {"event_log_days": 365, "time_zone": "Europe/Berlin"},
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Mine"), ("host", "mine"), ("id", "1"), ("state", "active"), ("simulated", True),
        ("time_zone", "Berlin"), ("time_zone", None), ("currency", "XYZ"), ("currency", 978),
        ("enable_extension_audio_recording", "on"), ("enable_extension_video_recording", None),
        ("event_log_days", 0), ("event_log_days", 366), ("event_log_days", "30"), ("event_log_days", True),
        ("record_dual_tracks", 1), ("pause_style", "loud"), ("longest_pause_seconds", -1),
        ("longest_pause_seconds", 86_401), ("announce_recording", None), ("recording_days", 0),
        ("recording_days", 3_651), ("recording_quota_mb", 5), ("when_quota_full", "drop"), ("ask_play_reason", "yes"),
        ("start_recording_code", "44"), ("stop_recording_code", "****4"), ("pause_recording_code", "*"),
        ("resume_recording_code", "*48"), ("resume_recording_code", None),
    ],
)  # fmt: skip
def test_company_refuses(acme: Tenant, program: Client, field: str, value: object) -> None:
    _refused(program.patch("/api/v1/company", {field: value}, JSON), field)
    assert program.get("/api/v1/company").json() == _company(acme)


@pytest.mark.parametrize("role", [Role.USER, Role.QUEUE_MANAGER])
@pytest.mark.parametrize("path", ["users", "extensions", "company"])
def test_only_administrators_enter(signed_in_as: Callable[[Role], Client], role: Role, path: str) -> None:
    response = signed_in_as(role).get(f"/api/v1/{path}")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
