from typing import Any

from portal.hosts import align_hosts
from tenants.models import Domain, Tenant
from tenants.schemas import enter_public


def _domains() -> set[tuple[str, str, bool]]:
    return set(Domain.objects.values_list("tenant__schema_name", "domain", "is_primary"))


def test_hosts_follow_the_settings(tenants: None, settings: Any) -> None:
    enter_public()
    settings.SYSTEM_HOST = settings.TENANT_HOST_SUFFIX = "calls.example.org"
    align_hosts()
    assert _domains() == {
        ("public", "calls.example.org", True),
        ("acme", "acme.calls.example.org", True),
        ("globex", "globex.calls.example.org", True),
    }


def test_localhost_answers_by_its_number_too(tenants: None, settings: Any) -> None:
    enter_public()
    settings.SYSTEM_HOST = "localhost"
    align_hosts()
    align_hosts()
    assert {row[1:] for row in _domains() if row[0] == "public"} == {("localhost", True), ("127.0.0.1", False)}


def test_a_new_database_gets_its_public_row(tenants: None, settings: Any) -> None:
    enter_public()
    Domain.objects.all().delete()
    Tenant.objects.filter(schema_name="public").delete()
    align_hosts()
    assert Tenant.objects.get(schema_name="public").is_active
