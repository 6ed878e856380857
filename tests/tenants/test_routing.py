"""The SIP domain finds the tenant, else the number dialled; every rule table here ends in one name or nobody."""

import pytest

from tenants.models import InboundRule, Tenant, Trunk
from tenants.routing import tenant_for


@pytest.fixture
def rules(tenants: None) -> None:
    acme, globex = Tenant.objects.get(schema_name="acme"), Tenant.objects.get(schema_name="globex")
    north = Trunk.objects.create(name="North", switch_name="trunk-north")
    rows = [
        ("prefix", "4930", None, acme),
        ("prefix", "493055", None, globex),
        ("did", "49305512", None, acme),
        ("prefix", "4940", north, globex),
        ("did", "494011", None, acme),
    ]
    for kind, number, trunk, tenant in rows:
        InboundRule.objects.create(kind=kind, number=number, trunk=trunk, tenant=tenant)


@pytest.mark.parametrize(
    ("domain", "did", "trunk", "expected"),
    [
        ("acme.test", "", "", "acme"),
        ("ACME.test.", "", "", "acme"),
        ("globex.test", "4930", "", "globex"),  # the domain comes first
        ("other.test", "49301", "", "acme"),
        ("", "+49301", "", "acme"),
        ("", "+49 (30) 1", "", "acme"),
        ("", "4930559", "", "globex"),  # the longer prefix
        ("", "49305512", "", "acme"),  # a whole number is longer still
        ("", "493055123", "", "globex"),  # no longer that number
        ("", "494011", "", "acme"),
        ("", "494011", "Unknown trunk", "acme"),
        ("", "494011", "North", "globex"),  # a rule of the trunk beats a longer general one
        ("", "494011", "trunk-north", "globex"),
        ("", "4950", "", None),
        ("", "", "North", None),
        ("", "anonymous", "", None),
        ("", "4" * 200, "", None),
        ("%", "%", "%", None),
    ],
)
def test_tenant_for(rules: None, domain: str, did: str, trunk: str, expected: str | None) -> None:
    found = tenant_for(domain, did, trunk)
    assert (found.schema_name if found else None) == expected
