import pytest
from django.core.exceptions import ValidationError

from tenants.changes import SYSTEM
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.sip_domains import add_sip_domain, domains_of, make_primary, primary_domain, remove_sip_domain


@pytest.fixture
def acme_row(tenants: None) -> Tenant:
    return Tenant.objects.get(schema_name="acme")


def test_domains_are_added_made_primary_and_removed(acme_row: Tenant) -> None:
    added = add_sip_domain(SYSTEM, acme_row, "Two.acme.test")
    assert domains_of(acme_row) == ["acme.test", "two.acme.test"]
    make_primary(SYSTEM, added)
    assert (primary_domain(acme_row), domains_of(acme_row)) == ("two.acme.test", ["two.acme.test", "acme.test"])
    added.refresh_from_db()
    with pytest.raises(RefusedError) as caught:
        remove_sip_domain(SYSTEM, added)
    assert caught.value.code == "primary_domain"
    remove_sip_domain(SYSTEM, acme_row.sip_domains.get(domain="acme.test"))
    assert domains_of(acme_row) == ["two.acme.test"]


@pytest.mark.parametrize("domain", ["acme.test", "GLOBEX.test", "a b", "", "a\0"])
def test_domain_is_refused(acme_row: Tenant, domain: str) -> None:
    with pytest.raises(ValidationError) as caught:
        add_sip_domain(SYSTEM, acme_row, domain)
    assert list(caught.value.message_dict) == ["domain"]
