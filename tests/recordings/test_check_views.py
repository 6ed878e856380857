"""What would happen if somebody called now, on a tenant's page, over REST, and on the system's page."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import Extension, User
from accounts.roles import Role
from accounts.tokens import create_token
from tenants.changes import SYSTEM
from tenants.models import SystemSettings, Tenant
from tenants.schemas import in_schema

OUTSIDE = "+49301234"


@pytest.fixture
def browser(acme: Tenant, make_user: Callable[..., User]) -> Client:
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(make_user())
    Extension.objects.create(number="101", record_audio=True)
    Extension.objects.create(number="102")
    return client


def answers(page: str) -> list[str]:
    """Headings of the moments, and each medium's word."""
    found = re.finditer(r'<h2 id="s\d">([^<]*)</h2>|class="label">(?:Audio|Video)</span><p>([^<]*)</p>', page)
    return [each[1] or each[2] for each in found]


def told(client: Client, **asked: str) -> list[str]:
    response = client.get("/company/recording-check", asked)
    assert response.status_code == 200
    return answers(response.content.decode())


BY_USER = "Recorded: “Record Audio Calls” was on for extension 101."
NO_VIDEO = "No video recorded: the call had no video."


def test_a_call_from_outside_is_told_for_each_medium(browser: Client) -> None:
    assert told(browser, caller=OUTSIDE, callee="101") == [f"101 answers {OUTSIDE}", BY_USER, NO_VIDEO]
    assert told(browser, caller=OUTSIDE, callee="102", video="on") == [
        f"102 answers {OUTSIDE}",
        "Not recorded: “Record Audio Calls” was off for each extension in the call, and for the company.",
        "Not recorded: “Record Video Calls” was off for each extension in the call, and for the company.",
    ]


@pytest.mark.parametrize(("switch", "goes_on"), [(True, True), (False, False)])
def test_it_is_then_transferred_out(browser: Client, switch: bool, goes_on: bool) -> None:
    SystemSettings.objects.update_or_create(pk=1, defaults={"record_external_calls": switch})
    said = told(browser, caller=OUTSIDE, callee="101", transferred_to="+49170")
    assert said[:2] == [f"101 answers {OUTSIDE}", BY_USER]
    assert said[3] == "101 transfers the call to +49170"
    assert said[4].startswith("Recorded on:" if goes_on else "Not recorded:")
    assert "between external numbers" in said[4]


def test_an_outbound_call_is_transferred_by_its_caller(browser: Client) -> None:
    assert told(browser, caller="101", callee=OUTSIDE, transferred_to="102")[3:] == [
        "101 transfers the call to 102",
        "Not recorded: “Record Audio Calls” was off for each extension in the call, and for the company.",
        NO_VIDEO,
    ]


def test_nobody_can_transfer_a_call_between_outside_numbers(browser: Client) -> None:
    asked = {"caller": OUTSIDE, "callee": "+49170", "transferred_to": "101"}
    page = browser.get("/company/recording-check", asked).content.decode()
    assert answers(page)[1] == "Not recorded: no extension was in the call."
    assert "Nobody could transfer this call" in page


def test_the_company_switch_is_told(acme: Tenant, browser: Client) -> None:
    Tenant.objects.filter(pk=acme.pk).update(enable_extension_video_recording=True)
    assert told(browser, caller=OUTSIDE, callee="102", video="on")[2] == (
        "Recorded: “Enable extension video recording” was on for the company."
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"caller": "", "callee": "101"}, "This field is required."),
        ({"caller": "101", "callee": "101"}, "Nobody calls himself"),
        ({"caller": "101", "callee": "102", "transferred_to": "101"}, "who is not in the call yet"),
        ({"caller": "1" * 65, "callee": "102"}, "at most 64 characters"),
        ({"caller": "1\x002", "callee": "102"}, "Null characters are not allowed."),
        ({"caller": "1\x012", "callee": "102"}, "Leave out control characters"),
    ],
)
def test_a_question_that_is_none_is_told_so(browser: Client, asked: dict[str, str], said: str) -> None:
    page = browser.get("/company/recording-check", asked).content.decode()
    assert (said in page, answers(page)) == (True, [])
    assert browser.get("/api/v1/recording-check", asked).status_code == 400


def test_the_empty_page_asks(browser: Client) -> None:
    page = browser.get("/company/recording-check").content.decode()
    assert (answers(page), 'value="101"' in page) == ([], True)
    assert browser.post("/company/recording-check", {"caller": "1", "callee": "2"}).status_code == 405


@pytest.mark.parametrize("role", [Role.USER, Role.QUEUE_MANAGER])
def test_only_who_may_change_the_company_asks(
    acme: Tenant, acme_client: Client, make_user: Callable[..., User], role: Role
) -> None:
    acme_client.force_login(make_user("ann", role))
    for path in ("/company/recording-check", "/api/v1/recording-check"):
        assert acme_client.get(path, {"caller": "1", "callee": "2"}).status_code == 403


def test_rest_answers_the_same(acme: Tenant, make_user: Callable[..., User]) -> None:
    Extension.objects.create(number="101", record_audio=True)
    _, secret = create_token(SYSTEM, make_user(), {"name": "script"})
    program = Client(headers={"host": "acme.portal.test", "authorization": f"Bearer {secret}"})
    asked = {"caller": OUTSIDE, "callee": "101", "video": "true"}
    assert program.get("/api/v1/recording-check", asked).json() == {
        "steps": [
            {
                "step": f"101 answers {OUTSIDE}",
                "media": [
                    {"medium": "audio", "record": True, "rule": "user_switch", "extension": "101", "message": BY_USER},
                    {
                        "medium": "video", "record": False, "rule": "switches_off", "extension": "",
                        "message": "Not recorded: “Record Video Calls” was off for each extension in the call,"
                        " and for the company.",
                    },
                ],
            }
        ]
    }  # fmt: skip
    missing = program.get("/api/v1/recording-check").json()["error"]
    assert (missing["code"], sorted(missing["details"])) == ("not_valid", ["callee", "caller"])


def test_the_system_asks_for_a_tenant(browser: Client, globex: Tenant, acme: Tenant) -> None:
    with in_schema("globex"):
        Extension.objects.create(number="101")
    with in_schema("public"):
        root = User.objects.create_user("root", "correct horse", role=Role.SYSTEM)
        desk = Client(headers={"host": "portal.test"})
        desk.force_login(root)

    def said(tenant: Any) -> list[str]:
        page = desk.get("/settings/recording-check", {"tenant": tenant, "caller": OUTSIDE, "callee": "101"})
        return answers(page.content.decode())

    assert said(acme.pk)[1] == BY_USER
    assert said(globex.pk)[1].startswith("Not recorded: “Record Audio Calls” was off")
    assert said("0") == []
    assert said("x") == []
    assert answers(desk.get("/settings/recording-check").content.decode()) == []
