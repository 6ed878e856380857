import pytest
from django.db import connection

from portal.migrating import migrate_all
from tenants.models import Tenant
from tenants.schemas import enter_public

BEHIND = "portal.migrating.call_command"


@pytest.fixture
def migrated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which schemas would be migrated; doing it is Django's part."""
    schemas: list[str] = []
    monkeypatch.setattr(BEHIND, lambda _name, *, schema_name, **_: schemas.append(schema_name))
    return schemas


def test_with_nothing_to_do_nothing_is_done(tenants: None, migrated: list[str]) -> None:
    said: list[str] = []
    migrate_all(said.append)
    assert (said, migrated) == ([], [])


def test_only_what_lacks_a_migration_is_migrated(tenants: None, migrated: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM globex.django_migrations WHERE app = 'cdr'")
    said: list[str] = []
    migrate_all(said.append)
    assert (said, migrated) == (["Bringing the tables of globex up to date (1 of 1)"], ["globex"])


def test_a_tenant_being_created_is_left_to_its_task(tenants: None, migrated: list[str]) -> None:
    enter_public()
    Tenant.objects.create(schema_name="t_new", name="New", host="new", state=Tenant.State.CREATING)
    migrate_all(lambda _line: None)
    assert migrated == []
