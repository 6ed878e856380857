"""What only two at once can show."""

import threading

import pytest
from django.db import connection

from accounts.models import User
from accounts.people import change_user
from accounts.roles import Role
from tenants.changes import SYSTEM
from tenants.errors import RefusedError


@pytest.mark.django_db(transaction=True)
def test_two_administrators_who_deactivate_each_other_leave_one(acme: object) -> None:
    users = [User.objects.create_user(name, "correct horse", role=Role.ADMIN) for name in ("ann", "bob")]
    told: list[str] = []
    start = threading.Barrier(2)

    def deactivate(user: User) -> None:
        try:
            connection.set_schema("acme")
            start.wait(60)
            change_user(SYSTEM, user, {"is_active": False})
            told.append("done")
        except RefusedError as refused:
            told.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=deactivate, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(told) == ["done", "last_administrator"]
    assert User.objects.filter(is_active=True).count() == 1
