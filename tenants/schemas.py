"""Typed access to the schema that this thread's database connection is in."""

from contextlib import AbstractContextManager
from typing import Any, cast

from django.db import connection
from django_tenants.utils import schema_context

from tenants.models import Tenant


def enter_public() -> None:
    cast(Any, connection).set_schema_to_public()


def enter(tenant: Tenant) -> None:
    cast(Any, connection).set_tenant(tenant)


def current_schema() -> str:
    return str(cast(Any, connection).schema_name)


def in_schema(name: str) -> AbstractContextManager[None]:
    """Inside the block queries go to that schema; the former one is restored after."""
    return cast(AbstractContextManager[None], schema_context(name))
