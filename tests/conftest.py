"""Two tenants, made once per run, and clients on their hosts.

`acme` and `globex` stand in every test database; each test runs in a transaction that is rolled back. A test marked
`django_db(transaction=True)` commits for real, and what it left is truncated afterwards.
"""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import setup_databases, teardown_databases

from accounts.models import User
from accounts.roles import Role
from tenants.models import Domain, SipDomain, Switch, SystemSettings, Tenant

NAMES = ("acme", "globex")
KEPT = ("django_migrations", "django_content_type", "auth_permission")


def _make_public_rows() -> None:
    connection.set_schema_to_public()
    public, _ = Tenant.objects.get_or_create(
        schema_name="public", defaults={"name": "Voxledger", "host": "public", "state": Tenant.State.ACTIVE}
    )
    Domain.objects.get_or_create(domain="portal.test", defaults={"tenant": public, "is_primary": True})
    SystemSettings.current()
    for name in NAMES:
        tenant, _ = Tenant.objects.get_or_create(
            schema_name=name, defaults={"name": f"{name.title()} Inc.", "host": name, "state": Tenant.State.ACTIVE}
        )
        Domain.objects.get_or_create(domain=f"{name}.portal.test", defaults={"tenant": tenant, "is_primary": True})
        SipDomain.objects.get_or_create(domain=f"{name}.test", defaults={"tenant": tenant, "is_primary": True})


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: pytest.FixtureRequest,
    django_db_modify_db_settings: None,  # xdist's suffix, without it the workers share one database
) -> Iterator[None]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        made = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
        _make_public_rows()
        for tenant in Tenant.objects.exclude(schema_name="public"):
            connection.set_schema_to_public()
            tenant.create_schema(check_if_exists=True, verbosity=0)
        connection.set_schema_to_public()
    yield
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        connection.set_schema_to_public()
        with connection.cursor() as cursor:  # threads of async tests leave connections behind
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        teardown_databases(made, verbosity=0)


@pytest.fixture(autouse=True)
def _clean_after_commit(request: pytest.FixtureRequest, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Needs no database itself, so it is set up first and finalised last, after Django's own flush of public."""
    yield
    mark = request.node.get_closest_marker("django_db")
    if not (mark and mark.kwargs.get("transaction")):
        return
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        for name in NAMES:
            connection.set_schema(name, include_public=False)
            with connection.cursor() as cursor:
                tables = [table for table in connection.introspection.table_names(cursor) if table not in KEPT]
                names = ", ".join(f'"{name}"."{table}"' for table in tables)
                cursor.execute(f"TRUNCATE {names} RESTART IDENTITY")
        _make_public_rows()


@pytest.fixture(autouse=True)
def _leave_in_public(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        connection.set_schema_to_public()


@pytest.fixture
def tenants(db: None) -> None:
    _make_public_rows()


@pytest.fixture
def acme(tenants: None) -> Tenant:
    """The first tenant; the connection is left in its schema."""
    tenant = Tenant.objects.get(schema_name="acme")
    connection.set_tenant(tenant)
    return tenant


@pytest.fixture
def globex(tenants: None) -> Tenant:
    """The second tenant; the connection is left where it was."""
    return Tenant.objects.get(schema_name="globex")


@pytest.fixture
def http_switch(tenants: None) -> Switch:
    """A switch of kind http with the token `switch-token`."""
    from tenants.crypto import token_hash

    return Switch.objects.create(name="Test switch", kind=Switch.Kind.HTTP, token_hash=token_hash("switch-token"))


@pytest.fixture
def make_user(tenants: None) -> Callable[..., User]:
    """Makes a user in the schema the connection is in."""

    def make(username: str = "admin", role: Role = Role.ADMIN, password: str = "correct horse") -> User:
        return User.objects.create_user(username, password, role=role)

    return make


@pytest.fixture
def acme_client(acme: Tenant) -> Client:
    return Client(headers={"host": "acme.portal.test"})


@pytest.fixture
def globex_client(tenants: None) -> Client:
    return Client(headers={"host": "globex.portal.test"})


@pytest.fixture
def system_client(tenants: None) -> Client:
    return Client(headers={"host": "portal.test"})
