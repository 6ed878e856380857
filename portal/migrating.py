"""Which schemas lack migrations, told in one query each, so that a start with nothing to do does nothing."""

from collections.abc import Callable
from typing import Any, cast

import psycopg.sql
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from tenants.models import Tenant
from tenants.schemas import enter_public

PUBLIC = "public"


def migrate_all(say: Callable[[str], None]) -> None:
    """Public first, then every tenant whose tables stand; one that is being created gets them from its own task."""
    enter_public()
    wanted = set(cast(Any, MigrationLoader(None)).disk_migrations)
    if _lacks(PUBLIC, wanted):
        say("Making the tables of the portal")
        call_command("migrate_schemas", schema_name=PUBLIC, interactive=False, verbosity=0)
    behind = [schema for schema in _tenant_schemas() if _lacks(schema, wanted)]
    for number, schema in enumerate(behind, start=1):
        say(f"Bringing the tables of {schema} up to date ({number} of {len(behind)})")
        call_command("migrate_schemas", schema_name=schema, interactive=False, verbosity=0)
    enter_public()


def _tenant_schemas() -> list[str]:
    states = [Tenant.State.ACTIVE, Tenant.State.SUSPENDED]
    return list(
        Tenant.objects.exclude(schema_name=PUBLIC).filter(state__in=states).values_list("schema_name", flat=True)
    )


def _lacks(schema: str, wanted: set[tuple[str, str]]) -> bool:
    table = psycopg.sql.Identifier(schema, "django_migrations")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [table.as_string(None)])
        if cursor.fetchone()[0] is None:
            return True
        cursor.execute(psycopg.sql.SQL("SELECT app, name FROM {}").format(table))
        return not wanted <= set(cursor.fetchall())
