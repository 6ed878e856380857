import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry
from tenants.changes import SYSTEM
from tenants.inbound_rules import change_inbound_rule, create_inbound_rule, delete_inbound_rule
from tenants.models import InboundRule, Tenant, Trunk
from tenants.routing import tenant_for


@pytest.fixture
def acme_row(tenants: None) -> Tenant:
    return Tenant.objects.get(schema_name="acme")


def test_number_is_kept_as_it_is_compared(acme_row: Tenant) -> None:
    rule = create_inbound_rule(SYSTEM, {"number": "+49 (30) 12", "tenant": acme_row})
    assert (rule.number, rule.kind) == ("493012", "did")
    assert tenant_for("", "+493012") == acme_row


def test_a_number_leads_to_one_tenant(acme_row: Tenant) -> None:
    globex = Tenant.objects.get(schema_name="globex")
    create_inbound_rule(SYSTEM, {"number": "4930", "tenant": acme_row})
    with pytest.raises(ValidationError) as caught:
        create_inbound_rule(SYSTEM, {"number": "+4930", "tenant": globex})
    said = "The DID 4930 on any trunk leads to Acme Inc. already. A number leads to one tenant."
    assert caught.value.message_dict == {"number": [said]}
    north = Trunk.objects.create(name="North")
    create_inbound_rule(SYSTEM, {"number": "4930", "tenant": globex, "trunk": north})
    create_inbound_rule(SYSTEM, {"number": "4930", "tenant": globex, "kind": "prefix"})
    assert tenant_for("", "4930", "North") == globex
    assert tenant_for("", "4930") == acme_row
    assert tenant_for("", "49301") == globex


def test_change_into_a_taken_number_is_refused(acme_row: Tenant) -> None:
    first = create_inbound_rule(SYSTEM, {"number": "1", "tenant": acme_row})
    second = create_inbound_rule(SYSTEM, {"number": "2", "tenant": acme_row})
    with pytest.raises(ValidationError):
        change_inbound_rule(SYSTEM, second, {"number": "1"})
    second.refresh_from_db()
    assert second.number == "2"
    change_inbound_rule(SYSTEM, second, {"number": "3", "note": "Köln"})
    entry = AuditEntry.objects.get(action="inbound_rule.changed")
    assert (entry.subject, entry.before, entry.after) == (
        "3", {"number": "2", "note": ""}, {"number": "3", "note": "Köln"},
    )  # fmt: skip
    delete_inbound_rule(SYSTEM, first)
    assert list(InboundRule.objects.values_list("number", flat=True)) == ["3"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", ""), ("number", "abc"), ("number", "1" * 33), ("number", None), ("kind", "range"),
        ("tenant", None), ("tenant", "0"), ("tenant", "x"), ("trunk", "0"), ("note", "a\nb"), ("id", 1),
    ],
)  # fmt: skip
def test_rule_refuses(acme_row: Tenant, field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        create_inbound_rule(SYSTEM, {"number": "4930", "tenant": acme_row, field: value})
    assert list(caught.value.message_dict) == [field]
    assert InboundRule.objects.count() == 0


def test_public_is_no_tenant_to_lead_to(tenants: None) -> None:
    public = Tenant.objects.get(schema_name="public")
    with pytest.raises(ValidationError):
        create_inbound_rule(SYSTEM, {"number": "4930", "tenant": str(public.pk)})
