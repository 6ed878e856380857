"""What all lists have in common: columns, saved views, totals."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts import lists
from accounts.lists import COUNTED, MOST_VIEWS, about, estimate, save_view, total_words
from accounts.models import SavedView, User
from accounts.roles import Role
from tenants.errors import RefusedError
from tenants.models import Tenant

pytestmark = pytest.mark.django_db
LIST = "/call-statistics/cdr"


@pytest.fixture
def person(acme: Tenant, make_user: Callable[..., User]) -> User:
    return make_user("someone", Role.QUEUE_MANAGER)


@pytest.fixture
def client(person: User) -> Client:
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(person)
    return client


def kept(user: User) -> list[tuple[str, str, str]]:
    return list(SavedView.objects.filter(user=user).values_list("list_name", "name", "query"))


def test_filters_are_saved_under_a_name_and_offered(client: Client, person: User) -> None:
    address = f"{LIST}?period=yesterday&status=noanswer&after=abc&nonsense=1"
    response = client.post("/lists/cdr/views", {"name": " Missed  yesterday ", "back": address})

    assert (response.status_code, response["Location"]) == (302, f"{LIST}?period=yesterday&status=noanswer")
    assert kept(person) == [("cdr", "Missed yesterday", "period=yesterday&status=noanswer")]
    page = client.get(f"{LIST}?status=noanswer&period=yesterday").content.decode()
    assert '<span class="only-read">View: </span>Missed yesterday</span>' in page
    assert '<a href="?period=yesterday&amp;status=noanswer" aria-current="true">' in page
    assert "This view is saved." in page


def test_same_name_takes_the_new_filters(client: Client, person: User) -> None:
    for query in ("status=noanswer", "status=failed"):
        client.post("/lists/cdr/views", {"name": "Trouble" if "no" in query else "TROUBLE", "back": f"{LIST}?{query}"})
    assert kept(person) == [("cdr", "TROUBLE", "status=failed")]


@pytest.mark.parametrize(
    ("name", "query", "sentence"),
    [
        ("", "status=failed", "Give the view a name of 1 to 60 characters."),
        ("x" * 61, "status=failed", "Give the view a name of 1 to 60 characters."),
        ("Empty", "after=abc", "There is no filter to save. Filter the list first."),
        ("Long", "search=" + "x" * 2100, "These filters are too long to be saved."),
    ],
)
def test_what_cannot_be_saved_is_said(person: User, name: str, query: str, sentence: str) -> None:
    with pytest.raises(RefusedError) as refused:
        save_view(person, lists.kinds["cdr"], name=name, query=query)
    assert refused.value.message == sentence
    assert kept(person) == []


def test_views_have_an_end(person: User) -> None:
    kind = lists.kinds["cdr"]
    for number in range(MOST_VIEWS):
        save_view(person, kind, name=f"View {number}", query="status=failed")
    with pytest.raises(RefusedError):
        save_view(person, kind, name="One more", query="status=failed")
    save_view(person, kind, name="View 0", query="status=noanswer")
    assert len(kept(person)) == MOST_VIEWS


def test_a_view_is_removed_by_whoever_keeps_it_only(
    client: Client, person: User, make_user: Callable[..., User]
) -> None:
    kind = lists.kinds["cdr"]
    own = save_view(person, kind, name="Own", query="status=failed")
    other = save_view(make_user("other"), kind, name="Not own", query="status=failed")

    assert client.post(f"/lists/cdr/views/{other.pk}/remove").status_code == 404
    assert client.post(f"/lists/recordings/views/{own.pk}/remove").status_code == 404
    assert client.get(f"/lists/cdr/views/{own.pk}/remove").status_code == 405
    assert b"Not own" not in client.get(LIST).content
    gone = client.post(f"/lists/cdr/views/{own.pk}/remove", {"back": LIST})
    assert (gone.status_code, gone["Location"]) == (302, LIST)
    assert list(SavedView.objects.values_list("name", flat=True)) == ["Not own"]


def test_views_of_another_tenant_are_not_there(client: Client, person: User, globex: Tenant) -> None:
    view = save_view(person, lists.kinds["cdr"], name="Acme's", query="status=failed")
    connection.set_tenant(globex)
    stranger = User.objects.create_user("someone", "a quiet meadow", role=Role.ADMIN)
    browser = Client(headers={"host": "globex.portal.test"})
    browser.force_login(stranger)
    assert browser.post(f"/lists/cdr/views/{view.pk}/remove").status_code == 404
    assert b"Acme&#x27;s" not in browser.get(LIST).content


def test_unknown_lists_and_foreign_addresses_are_refused(client: Client) -> None:
    assert client.post("/lists/nonsense/views", {"name": "A", "back": f"{LIST}?status=failed"}).status_code == 404
    assert client.post("/lists/nonsense/columns").status_code == 404
    for back in ("https://example.com/", "//example.com/", "javascript:alert(1)"):
        assert client.post("/lists/cdr/columns", {"back": back})["Location"] == "/"


def test_few_rows_are_counted_and_none_cost_no_query(person: User, django_assert_num_queries: Any) -> None:
    assert about(User.objects.all()) == (1, True)
    assert about(User.objects.filter(username="nobody")) == (0, True)
    with django_assert_num_queries(0):
        assert estimate(User.objects.none()) == 0
    assert COUNTED > 1


def test_totals_say_whether_they_are_counted() -> None:
    assert total_words(1, True, "user", "users") == "1 user"
    assert total_words(18_300, False, "call", "calls") == "about 18,300 calls"
