"""Users, company, profile, tokens and audit, as a person meets them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ApiToken, AuditEntry, Extension, User
from accounts.roles import Role
from tenants.models import SipDomain, Tenant

OPTIONS = {
    "version": "1", "time_zone": "UTC", "currency": "EUR", "pause_style": "skip", "longest_pause_seconds": "0",
}  # fmt: skip


def _secret(page: str, prefix: str = "") -> list[str]:
    return re.findall(rf'<code class="mono" id="secret-\d+">({prefix}[^<]+)</code>', page)


def test_user_with_extension_is_created_and_both_passwords_are_shown_once(browser: Client) -> None:
    given = {"display_name": "Käthe 北", "number": "101", "role": "user", "may_sign_in": "on"}
    made = browser.post("/users/new", given)
    user = User.objects.get(username="101")
    assert (made.status_code, made["Location"]) == (302, f"/users/{user.pk}")
    sip_password, password = _secret(browser.get(made["Location"]).content.decode())
    assert user.check_password(password)
    assert len(sip_password) == 20
    assert _secret(browser.get(made["Location"]).content.decode()) == []
    extension = Extension.objects.get()
    assert (extension.number, extension.user, extension.display_name) == ("101", user, "Käthe 北")


def test_user_without_sign_in_stands_in_the_list(browser: Client) -> None:
    browser.post("/users/new", {"display_name": "Meeting room", "number": "108", "role": "user"})
    assert not User.objects.get(username="108").has_usable_password()
    page = browser.get("/users").content.decode()
    assert "Meeting room" in page
    assert "No sign-in" in page


def test_half_a_user_is_not_kept(browser: Client) -> None:
    Extension.objects.create(number="101")
    response = browser.post("/users/new", {"username": "ann", "number": "101", "role": "user"})
    assert "Another extension has this number." in response.content.decode()
    assert not User.objects.filter(username="ann").exists()
    assert not AuditEntry.objects.filter(action="user.created").exists()


def test_list_shows_the_columns_and_filters(browser: Client, make_user: Callable[..., User]) -> None:
    for number, name in (("101", "ann"), ("205", "bob")):
        Extension.objects.create(number=number, user=make_user(name, Role.USER), record_audio=number == "205")
    User.objects.filter(username="ann").update(is_active=False)
    page = browser.get("/users").content.decode()
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", page)
    assert heads[:5] == ["Extension Number", "Display Name", "Role", "Email", "Status"]

    def shown(query: str) -> list[str]:
        found = browser.get(f"/users{query}").content.decode()
        return re.findall(r'data-slot="meta"[^>]*>([^<]+)</td>', found)

    assert shown("") == ["ann", "bob", "admin"]
    assert shown("?q=20") == ["bob"]
    assert shown("?q=AN") == ["ann"]
    assert shown("?state=recorded") == ["bob"]
    assert shown("?state=deactivated") == ["ann"]
    assert shown("?q=nobody") == []
    assert shown("?cursor=rubbish&q=%00") == ["ann", "bob", "admin"]


def test_marked_users_are_changed_together(browser: Client, make_user: Callable[..., User]) -> None:
    people = [make_user(name, Role.USER) for name in ("ann", "bob", "cy")]
    for number, user in zip(("101", "102"), people, strict=False):
        Extension.objects.create(number=number, user=user)
    marked = {"user": [str(user.pk) for user in people] + ["x", "9" * 30], "back": "/users?q=1"}

    done = browser.post("/users/marked", {"do": "audio_on", **marked})
    assert (done.status_code, done["Location"]) == (302, "/users?q=1")
    assert "Record Audio Calls: done for 2 users." in browser.get("/users").content.decode()
    recorded = Extension.objects.order_by("number").values_list("number", "record_audio", "record_video")
    assert list(recorded) == [("101", True, False), ("102", True, False)]
    assert AuditEntry.objects.filter(action="extension.changed").count() == 2

    browser.post("/users/marked", {"do": "deactivate", **marked})
    assert set(User.objects.filter(is_active=True).values_list("username", flat=True)) == {"admin"}


def test_marked_users_need_an_action_that_exists_and_users(browser: Client) -> None:
    assert browser.post("/users/marked", {"do": "promote"}).status_code == 404
    assert browser.get("/users/marked").status_code == 405
    assert browser.post("/users/marked", {"do": "audio_on", "back": "//example.com"})["Location"] == "/users"
    assert "Select users with an extension first." in browser.get("/users").content.decode()


def test_list_goes_on_by_keyset(browser: Client, make_user: Callable[..., User], monkeypatch: Any) -> None:
    from accounts.pages import users

    monkeypatch.setattr(users, "PAGE_SIZE", 2)
    for number, name in (("101", "ann"), ("102", "bob"), ("103", "cy")):
        Extension.objects.create(number=number, user=make_user(name, Role.USER))
    make_user("zoe", Role.USER)
    seen, address = [], "/users"
    while address:
        page = browser.get(address).content.decode()
        seen.append(re.findall(r'data-slot="meta"[^>]*>([^<]+)</td>', page))
        following = re.search(r'href="(\?[^"]+)" rel="next"', page)
        address = "/users" + following[1].replace("&amp;", "&") if following else ""
    assert seen == [["ann", "bob"], ["cy", "admin"], ["zoe"]]


def test_user_is_edited(browser: Client, make_user: Callable[..., User]) -> None:
    user = make_user("ann", Role.USER)
    given = {"username": "ann", "display_name": "Ann", "email": "ann@acme.test", "role": "queue_manager"}
    assert browser.post(f"/users/{user.pk}", given)["Location"] == f"/users/{user.pk}"
    user.refresh_from_db()
    assert (user.display_name, user.email, user.role) == ("Ann", "ann@acme.test", "queue_manager")
    refused = browser.post(f"/users/{user.pk}", {**given, "role": "system", "email": "x"})
    assert refused.status_code == 200
    user.refresh_from_db()
    assert (user.email, user.role) == ("ann@acme.test", "queue_manager")


def test_extension_switches_are_saved_under_their_version(browser: Client, make_user: Callable[..., User]) -> None:
    user = make_user("ann", Role.USER)
    Extension.objects.create(number="101", user=user)
    path = f"/users/{user.pk}/extension"
    assert browser.post(path, {"version": "1", "record_audio": "on", "enabled": "on"}).status_code == 302
    late = browser.post(path, {"version": "1", "record_video": "on", "enabled": "on"})
    assert "Somebody else changed this meanwhile." in late.content.decode()
    extension = Extension.objects.get()
    assert (extension.record_audio, extension.record_video, extension.enabled) == (True, False, True)


def test_domain_without_sip_password_is_named(acme: Tenant, browser: Client, make_user: Callable[..., User]) -> None:
    user = make_user("ann", Role.USER)
    assert browser.post(f"/users/{user.pk}/extension", {"number": "101"}).status_code == 302
    SipDomain.objects.create(tenant=acme, domain="later.test")
    assert "No SIP password for later.test." in browser.get(f"/users/{user.pk}/extension").content.decode()
    browser.post(f"/users/{user.pk}/sip-password")
    page = browser.get(f"/users/{user.pk}/extension").content.decode()
    assert "No SIP password for" not in page
    assert len(_secret(page)) == 1


def test_deactivation_disables_the_extension_and_spares_the_last_administrator(
    browser: Client, admin: User, make_user: Callable[..., User]
) -> None:
    user = make_user("ann", Role.USER)
    Extension.objects.create(number="101", user=user)
    browser.post(f"/users/{user.pk}/active", {"active": "no"})
    browser.post(f"/users/{admin.pk}/active", {"active": "no"})
    assert dict(User.objects.values_list("username", "is_active")) == {"ann": False, "admin": True}
    assert not Extension.objects.get().enabled
    browser.post(f"/users/{user.pk}/active", {"active": "yes"})
    assert Extension.objects.get().enabled


def test_new_password_ends_the_users_sessions(browser: Client, make_user: Callable[..., User]) -> None:
    user = make_user("ann", Role.USER)
    other = Client(headers={"host": "acme.portal.test"})
    other.force_login(user)
    assert other.get("/profile").status_code == 200
    browser.post(f"/users/{user.pk}/password")
    assert other.get("/profile").status_code == 302
    (password,) = _secret(browser.get(f"/users/{user.pk}").content.decode())
    assert User.objects.get(pk=user.pk).check_password(password)


@pytest.mark.parametrize("path", ["", "/extension", "/password", "/sip-password", "/active"])
@pytest.mark.parametrize("user_id", ["0", "9" * 18, "9" * 40])
def test_user_pages_of_nobody(browser: Client, path: str, user_id: str) -> None:
    assert browser.post(f"/users/{user_id}{path}").status_code == 404


def test_user_of_another_tenant_does_not_exist(browser: Client) -> None:
    from tenants.schemas import in_schema

    with in_schema("globex"):
        other = User.objects.create(pk=777, username="theirs")
    assert browser.get(f"/users/{other.pk}").status_code == 404
    assert browser.post(f"/users/{other.pk}/password").status_code == 404


# --- Company > General -------------------------------------------------------------------------------------


def test_company_switches_are_saved_and_say_who(acme: Tenant, browser: Client) -> None:
    page = browser.get("/company/general").content.decode()
    assert "Enable extension audio recording" in page
    assert "Enable extension video recording" in page
    assert "Never changed" in page
    saved = browser.post("/company/general", {**OPTIONS, "enable_extension_audio_recording": "on"})
    assert saved.status_code == 302
    acme.refresh_from_db()
    assert (acme.enable_extension_audio_recording, acme.version) == (True, 2)
    assert "by admin" in browser.get("/company/general").content.decode()


def test_company_recording_options_are_saved_and_say_what_they_do(acme: Tenant, browser: Client) -> None:
    def effects() -> list[str]:
        page = browser.get("/company/general").content.decode()
        return re.findall(r"<span>(Now[^<]*)</span>", page)

    Extension.objects.create(number="101", record_audio=True)
    assert effects() == [
        "Now off: only 101 by their own switch.",
        "Now off: no extension is recorded.",
        "Now off: recordings that begin have all voices on one track.",
        "Now: a pause takes no time in the file.",
        "Now: a pause lasts until somebody resumes it, or the call ends.",
        "Now off: nothing says that callers were told.",
        "Now off: who played it, when and from where is kept, but not why.",
    ]
    on = dict.fromkeys(
        ("enable_extension_audio_recording", "enable_extension_video_recording", "record_dual_tracks",
         "announce_recording", "ask_play_reason"), "on",
    )  # fmt: skip
    given = {**OPTIONS, **on, "pause_style": "silence", "longest_pause_seconds": "600"}
    assert browser.post("/company/general", given).status_code == 302
    acme.refresh_from_db()
    assert (
        acme.record_dual_tracks, acme.announce_recording, acme.ask_play_reason, acme.pause_style,
        acme.longest_pause_seconds,
    ) == (True, True, True, "silence", 600)  # fmt: skip
    assert effects() == [
        "Now on: the one extension is recorded.",
        "Now on: the one extension is recorded.",
        "Now on: recordings that begin have a track for each side.",
        "Now: a pause is heard as silence, where the switch can do it.",
        "Now: 10 minutes after it was paused, also in the calls in progress.",
        "Now on: recordings that begin are marked as announced.",
        "Now on: nothing is played without a reason.",
    ]
    assert browser.get("/company/general").content.decode().count("by admin") == 7


CODES = {
    "version": "1", "start_recording_code": "*1", "stop_recording_code": "*2", "pause_recording_code": "#31",
    "resume_recording_code": "##4444",
}  # fmt: skip


def test_feature_codes_are_saved_and_noted(acme: Tenant, browser: Client) -> None:
    page = browser.get("/company/feature-codes").content.decode()
    assert [code for code in ("*44", "*45", "*48", "*49") if f'value="{code}"' in page] == ["*44", "*45", "*48", "*49"]
    assert browser.post("/company/feature-codes", CODES)["Location"] == "/company/feature-codes"
    acme.refresh_from_db()
    assert {name: getattr(acme, name) for name in CODES} == {**CODES, "version": 2}
    entry = AuditEntry.objects.get(action="company.changed")
    assert (entry.actor, entry.before["pause_recording_code"], entry.after["pause_recording_code"]) == (
        "admin", "*48", "#31",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pause_recording_code": "48"}, "Use 2 to 7 signs: one to three of * and #, then up to four digits"),
        ({"pause_recording_code": ""}, "Use 2 to 7 signs"),
        ({"pause_recording_code": "*12345"}, "Use 2 to 7 signs"),
        ({"pause_recording_code": "*2"}, "It clashes with *2: no code may be the same as another, or begin with it."),
        ({"pause_recording_code": "*21"}, "It clashes with *2: no code may be the same as another, or begin with it."),
        ({"version": "7"}, "Somebody else changed this meanwhile."),
    ],
)
def test_feature_codes_refuse_in_words(acme: Tenant, browser: Client, wrong: dict[str, str], said: str) -> None:
    refused = browser.post("/company/feature-codes", {**CODES, **wrong})
    assert (refused.status_code, said in refused.content.decode()) == (200, True)
    acme.refresh_from_db()
    assert (acme.version, acme.pause_recording_code) == (1, "*48")


def test_company_changed_meanwhile_is_told(acme: Tenant, browser: Client) -> None:
    browser.post("/company/general", {**OPTIONS, "enable_extension_audio_recording": "on"})
    late = browser.post("/company/general", {**OPTIONS, "currency": "USD"})
    assert "Somebody else changed this meanwhile." in late.content.decode()
    acme.refresh_from_db()
    assert (acme.currency, acme.enable_extension_audio_recording) == ("EUR", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": ""},
        {"time_zone": "Mars"},
        {"currency": "ZZZ"},
        {"pause_style": "loud"},
        {"longest_pause_seconds": "-1"},
        {"longest_pause_seconds": "86401"},
        {"longest_pause_seconds": ""},
    ],
)
def test_company_refuses(acme: Tenant, browser: Client, wrong: dict[str, str]) -> None:
    assert browser.post("/company/general", {**OPTIONS, **wrong}).status_code == 200
    acme.refresh_from_db()
    assert acme.version == 1


# --- Profile -----------------------------------------------------------------------------------------------


def test_profile_is_saved_but_not_the_role(browser: Client, admin: User) -> None:
    given = {"display_name": "Ada", "email": "ada@acme.test", "time_zone": "Asia/Tokyo", "role": "user"}
    assert browser.post("/profile", given)["Location"] == "/profile"
    admin.refresh_from_db()
    assert (admin.display_name, admin.email, admin.time_zone, admin.role) == (
        "Ada", "ada@acme.test", "Asia/Tokyo", "admin",
    )  # fmt: skip


def test_own_password_is_changed_and_other_sessions_end(browser: Client, admin: User) -> None:
    other = Client(headers={"host": "acme.portal.test"})
    other.force_login(admin)
    new = "zwei kleine Katzen"
    given = {"current": "correct horse", "password": new, "again": new}
    assert browser.post("/profile/password", given)["Location"] == "/profile"
    assert (browser.get("/profile").status_code, other.get("/profile").status_code) == (200, 302)
    admin.refresh_from_db()
    assert admin.check_password(new)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"current": "wrong"}, "This is not your present password."),
        ({"again": "something else"}, "The two new passwords differ."),
        ({"password": "short", "again": "short"}, "at least 10 characters"),
        ({"password": "password123", "again": "password123"}, "too common"),
        ({"password": "blue.whale@acme", "again": "blue.whale@acme"}, "too similar"),
        ({"password": "", "again": ""}, "required"),
    ],
)
def test_own_password_is_refused(browser: Client, admin: User, given: dict[str, str], sentence: str) -> None:
    User.objects.filter(pk=admin.pk).update(email="blue.whale@acme.test")
    new = "zwei kleine Katzen"
    response = browser.post("/profile/password", {"current": "correct horse", "password": new, "again": new, **given})
    assert response.status_code == 200
    assert sentence in response.content.decode()
    admin.refresh_from_db()
    assert admin.check_password("correct horse")


# --- API tokens --------------------------------------------------------------------------------------------


def test_token_is_shown_once_and_works_within_its_scopes(browser: Client, admin: User) -> None:
    made = browser.post("/company/api-tokens", {"name": "CRM", "days": "30", "scopes": ["company", "users"]})
    assert made.status_code == 302
    (secret,) = _secret(browser.get("/company/api-tokens").content.decode(), "vla_")
    assert secret not in browser.get("/company/api-tokens").content.decode()
    token = ApiToken.objects.get()
    assert (token.scopes, token.user, token.last_used_at) == (["users", "company"], admin, None)
    assert secret not in str(list(ApiToken.objects.values()))
    program = Client(headers={"host": "acme.portal.test", "authorization": f"Bearer {secret}"})
    assert program.get("/api/v1/company").status_code == 200
    token.refresh_from_db()
    assert token.last_used_at is not None
    ApiToken.objects.update(scopes=["users"])
    assert program.get("/api/v1/company").status_code == 403


def test_token_never_may_more_than_its_owner(browser: Client, program: Client, admin: User) -> None:
    assert program.get("/api/v1/users").status_code == 200
    User.objects.filter(pk=admin.pk).update(role=Role.USER)
    assert program.get("/api/v1/users").status_code == 403


@pytest.mark.parametrize(
    "end",
    [
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"revoked_at": timezone.now()},
    ],
)
def test_token_that_ended_is_refused(program: Client, end: dict[str, Any]) -> None:
    ApiToken.objects.update(**end)
    response = program.get("/api/v1/users")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="Voxledger"'


def test_token_of_somebody_deactivated_is_refused(program: Client) -> None:
    User.objects.update(is_active=False)
    assert program.get("/api/v1/users").status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer vla_x", "bearer \xff", "Bearer a b"])
def test_authorization_that_names_nobody(acme_client: Client, header: str) -> None:
    assert acme_client.get("/api/v1/users", headers={"authorization": header}).status_code == 401


def test_token_is_revoked_once(browser: Client, program: Client) -> None:
    token = ApiToken.objects.get()
    path = f"/company/api-tokens/{token.pk}/revoke"
    assert browser.get(path).status_code == 405
    assert browser.post(path).status_code == 302
    assert program.get("/api/v1/users").status_code == 401
    browser.post(path)
    assert AuditEntry.objects.filter(action="api_token.revoked").count() == 1
    assert browser.post("/company/api-tokens/0/revoke").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a\u202eb"}, {"days": "9"},
        {"scopes": []}, {"scopes": ["system.tenants"]}, {"scopes": ["profile"]},
    ],
)  # fmt: skip
def test_token_refuses(browser: Client, wrong: dict[str, Any]) -> None:
    given = {"name": "CRM", "days": "30", "scopes": ["company"], **wrong}
    assert browser.post("/company/api-tokens", given).status_code == 200
    assert ApiToken.objects.count() == 0


# --- Audit -------------------------------------------------------------------------------------------------


def test_audit_is_filtered_and_goes_on_by_keyset(browser: Client, monkeypatch: Any) -> None:
    from accounts.pages import audit

    monkeypatch.setattr(audit, "PAGE_SIZE", 2)
    AuditEntry.objects.all().delete()
    at = timezone.now()
    for number, who in enumerate(("ann", "bob", "ann", "<i>cy</i>", "ann")):
        AuditEntry.objects.create(
            at=at, actor_kind="user", actor=who, action=f"thing.done{number}", subject=f"s{number}"
        )

    def walk(query: str) -> list[list[str]]:
        seen, address = [], f"/logs/audit{query}"
        while address:
            page = browser.get(address).content.decode()
            seen.append(re.findall(r'data-slot="title">thing\.(\w+)</td>', page))
            following = re.search(r'href="(\?[^"]+)" rel="next"', page)
            address = "/logs/audit" + following[1].replace("&amp;", "&") if following else ""
        return seen

    assert walk("") == [["done4", "done3"], ["done2", "done1"], ["done0"]]
    assert walk("?who=ANN") == [["done4", "done2"], ["done0"]]
    assert walk("?action=thing.done1") == [["done1"]]
    assert walk("?subject=S3") == [["done3"]]
    assert walk("?since=2999-01-01") == [[]]
    assert walk("?until=1999-01-01") == [[]]
    assert walk("?cursor=rubbish&since=nonsense&until=0001-01-01") == [
        ["done4", "done3"],
        ["done2", "done1"],
        ["done0"],
    ]
    assert "&lt;i&gt;cy&lt;/i&gt;" in browser.get("/logs/audit").content.decode()


def test_audit_says_values_in_words(browser: Client) -> None:
    AuditEntry.objects.all().delete()
    values = {
        "events": ["call_cdr", "call_ring"], "scopes": [], "enabled": True, "record": False, "token": None, "note": "",
        "limits": {"calls": 5, "tries": []}, "days": 30,
    }  # fmt: skip
    AuditEntry.objects.create(actor_kind="user", actor="ann", action="endpoint.changed", before=values)
    page = browser.get("/logs/audit").content.decode()

    assert [
        " ".join(cell.split()) for cell in re.findall(r'<td class="soft wrap"[^>]*>(.*?)</td>', page, re.DOTALL)
    ] == [
        "days: 30, note: –, token: –, events: call_cdr, call_ring, limits: calls: 5, tries: –, record: no, scopes: –,"
        " enabled: yes"
    ]
