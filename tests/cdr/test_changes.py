"""The feed of what became of the records."""

from django.db import transaction

from cdr import calls, ledger
from cdr.callevents import CallEvent
from cdr.changes import changes_after
from tenants.models import Tenant
from tests.cdr.tables import events, ext

STARTED = {"caller": ext("101"), "callee": ext("102")}


def apply(tenant: Tenant, told: list[CallEvent]) -> None:
    with transaction.atomic():
        calls.apply(tenant, 7, told)


def call(tenant: Tenant, session: str) -> None:
    apply(tenant, events((0, "call.started", STARTED), (9, "call.ended", {"status_code": 404}), session=session))


def seen(since: int = 0, limit: int = 10, until: int = 99) -> list[tuple[int, str, str]]:
    return [(change.place, change.kind, change.session_id) for change in changes_after(since, limit, until=until)]


def test_changes_tell_created_corrected_and_deleted_in_the_order_of_the_log(acme: Tenant) -> None:
    for session in ("one", "two", "three"):
        call(acme, session)
    assert seen() == [(1, "created", "one"), (2, "created", "two"), (3, "created", "three")]
    assert seen(limit=2) == [(1, "created", "one"), (2, "created", "two")]
    assert seen(since=2) == [(3, "created", "three")]

    (late,) = events((4, "party.updated", {"leg": "caller", "display_name": "Ann"}), session="late")
    object.__setattr__(late, "session_id", "one")
    apply(acme, [late])
    with transaction.atomic():
        assert ledger.delete(acme, ["two", "nobody"]) == 1

    assert seen() == [(3, "created", "three"), (4, "corrected", "one"), (5, "deleted", "two")]
    assert seen(since=5) == []
    # Somebody who had read the log's end before the deletion goes on from 4, and finds it there.
    assert seen(until=4) == [(3, "created", "three"), (4, "corrected", "one")]
