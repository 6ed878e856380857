import io

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from accounts.roles import Role
from tenants.schemas import enter_public


def _run(username: str) -> str:
    out = io.StringIO()
    call_command("administrator", username, stdout=out)
    return out.getvalue().strip()


def test_a_new_administrator_gets_the_password_shown(tenants: None) -> None:
    password = _run("Karla")
    enter_public()
    user = User.objects.get(username="Karla")
    assert (user.role, user.check_password(password)) == (Role.SYSTEM, True)


def test_a_known_one_gets_a_new_password(tenants: None) -> None:
    first, second = _run("karla"), _run("KARLA")
    enter_public()
    assert first != second
    assert User.objects.get(username="karla").check_password(second)


def test_an_impossible_name_is_refused(tenants: None) -> None:
    with pytest.raises(CommandError, match="Leave out spaces"):
        _run("two words")
