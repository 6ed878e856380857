"""The OpenAPI document names exactly the fields that the doors answer."""

import pytest
from django.db import connection

from accounts import openapi as here
from accounts.api import represent_company, represent_extension, represent_user
from accounts.models import Extension, User
from portal.system import openapi as system
from portal.system.api import represent_rule, represent_switch, represent_tenant, represent_trunk
from tenants.models import InboundRule, Switch, Tenant, Trunk


def _shown(shape: here.Shape) -> set[str]:
    return {name for name, field in shape().fields.items() if not field.write_only}


def test_shapes_of_a_tenants_doors(acme: Tenant) -> None:
    user = User.objects.create(username="ann")
    extension = Extension.objects.create(number="101", user=user)
    assert _shown(here.UserShape) == set(represent_user(user))
    assert _shown(here.ExtensionShape) == set(represent_extension(extension, []))
    assert _shown(here.CompanyShape) == set(represent_company(acme))
    connection.set_schema_to_public()


def test_shapes_of_the_systems_doors(acme_row: Tenant) -> None:
    assert _shown(system.TenantShape) == set(represent_tenant(acme_row))
    assert _shown(system.TrunkShape) == set(represent_trunk(Trunk(name="x")))
    assert _shown(system.InboundRuleShape) == set(represent_rule(InboundRule(number="1", tenant=acme_row)))
    assert _shown(system.SwitchShape) == set(represent_switch(Switch(name="x", kind="http")))


@pytest.mark.parametrize("shape", [here.NewExtensionShape, system.NewSwitchShape, system.NewTenantShape])
def test_what_is_told_once_is_read_only(shape: here.Shape) -> None:
    told = {"sip_password", "token", "administrator"} & set(shape().fields)
    assert len(told) == 1
    assert all(shape().fields[name].read_only for name in told)
