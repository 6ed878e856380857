"""Whose calls and recordings are a person's own, once the number has gone to somebody else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.extensions import change_extension, create_extension, delete_extension
from accounts.models import Extension, NumberHolder, User
from accounts.numbers import Held, numbers_of
from accounts.roles import Role
from cdr.models import CDR
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tests.recordings.kept import make_cdr, make_recording

LATER = timedelta(minutes=1)


@pytest.fixture
def ann(acme: Tenant, make_user: Callable[..., User]) -> User:
    return make_user("ann", Role.USER)


@pytest.fixture
def bob(acme: Tenant, make_user: Callable[..., User]) -> User:
    return make_user("bob", Role.USER)


def sees(person: User) -> tuple[list[str], list[str]]:
    """Session ids of the calls and of the recordings, over REST."""
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(person)

    def listed(path: str) -> list[str]:
        answer: Any = client.get(path).json()
        return sorted(item["session_id"] for item in answer["items"])

    return listed("/api/v1/cdrs"), listed("/api/v1/recordings")


def make_call(session_id: str, after: timedelta, number: str = "101") -> None:
    at = timezone.now() + after
    make_cdr(session_id, start_time=at, extensions=[number])
    make_recording(session_id=session_id, at=at, extensions=[number], files=0)


def test_a_number_that_goes_over_leaves_each_his_own(ann: User, bob: User) -> None:
    extension, _ = create_extension(SYSTEM, {"number": "101", "user": ann})
    make_call("anns", -LATER)
    assert (sees(ann), sees(bob)) == ((["anns"], ["anns"]), ([], []))
    delete_extension(SYSTEM, extension)
    assert sees(ann) == (["anns"], ["anns"])
    create_extension(SYSTEM, {"number": "101", "user": bob})
    make_call("bobs", LATER)
    assert (sees(ann), sees(bob)) == ((["anns"], ["anns"]), (["bobs"], ["bobs"]))
    assert CDR.objects.count() == 2


def test_an_extension_given_to_another_user_goes_over_too(ann: User, bob: User) -> None:
    extension, _ = create_extension(SYSTEM, {"number": "101", "user": ann})
    make_call("anns", -LATER)
    change_extension(SYSTEM, extension, {"user": bob})
    make_call("bobs", LATER)
    assert (sees(ann), sees(bob)) == ((["anns"], ["anns"]), (["bobs"], ["bobs"]))
    assert [(held.number, held.until is None) for held in numbers_of(ann)] == [("101", False)]


def test_somebody_with_a_new_number_keeps_the_calls_of_the_old_one(ann: User) -> None:
    extension, _ = create_extension(SYSTEM, {"number": "101", "user": ann})
    make_call("old", -LATER)
    delete_extension(SYSTEM, extension)
    create_extension(SYSTEM, {"number": "102", "user": ann})
    make_call("new", LATER, "102")
    assert sees(ann) == (["new", "old"], ["new", "old"])


def test_an_extension_without_a_history_is_held_from_the_beginning(ann: User, bob: User) -> None:
    extension = Extension.objects.create(number="101", user=ann)
    assert numbers_of(ann) == [Held("101")]
    make_call("anns", -LATER)
    delete_extension(SYSTEM, extension)
    assert sees(ann) == (["anns"], ["anns"])
    assert NumberHolder.objects.get().since is None


def test_who_gets_the_same_number_again_sees_all_of_it(ann: User) -> None:
    extension, _ = create_extension(SYSTEM, {"number": "101", "user": ann})
    delete_extension(SYSTEM, extension)
    create_extension(SYSTEM, {"number": "101", "user": ann})
    make_call("before", -LATER)
    make_call("after", LATER)
    assert sees(ann) == (["after", "before"], ["after", "before"])


def test_without_a_number_there_is_nothing_of_ones_own(ann: User) -> None:
    make_call("theirs", -LATER)
    assert (sees(ann), numbers_of(ann), numbers_of(None)) == (([], []), [], [])
