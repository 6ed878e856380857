"""Keys and display: what a browser keeps about the look of its pages."""

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from tenants.models import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(acme: Tenant, make_user: Callable[..., User]) -> Client:
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(make_user("someone", Role.USER))
    return client


def test_choices_are_kept_and_come_back(client: Client) -> None:
    response = client.post(
        "/display", {"theme": "dark", "density": "compact", "numbers": "national", "region": "DE", "keys": "off"}
    )
    assert (response.status_code, response["Location"]) == (302, "/display")
    page = client.get("/display").content.decode()
    assert '<html lang="en" data-theme="dark" data-density="compact" data-keys="off">' in page
    assert page.count(" checked") == 4
    assert '<option value="DE" selected>DE, +49</option>' in page
    assert "Single keys are off." in page


def test_what_is_as_usual_marks_nothing(client: Client) -> None:
    client.post("/display", {"theme": "system", "density": "normal", "numbers": "switch", "keys": "on"})
    assert '<html lang="en">' in client.get("/display").content.decode()


def test_an_unknown_choice_is_refused(client: Client) -> None:
    response = client.post("/display", {"theme": "pink", "density": "normal", "numbers": "switch", "keys": "on"})
    assert response.status_code == 422
    assert "pink is not one of the available choices" in response.content.decode()
    assert "theme" not in response.cookies
