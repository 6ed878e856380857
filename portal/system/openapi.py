"""How the REST doors of the system host stand in the OpenAPI document."""

from typing import Any

from rest_framework import serializers

from accounts.openapi import CompanyShape
from tenants.models import InboundRule, Switch, Tenant


class SettingsShape(serializers.Serializer[Any]):
    record_external_calls = serializers.BooleanField(required=False)
    version = serializers.IntegerField(required=False)


class TenantShape(CompanyShape):
    name = serializers.CharField(max_length=200)
    host = serializers.CharField(max_length=63)
    sip_domain = serializers.CharField(max_length=253, help_text="The primary one; given at creation.")
    url = serializers.CharField(read_only=True)
    state = serializers.ChoiceField(Tenant.State.values, read_only=True)
    progress = serializers.CharField(read_only=True)
    recording_quota_mb = serializers.IntegerField(
        required=False, min_value=0, max_value=10**9, help_text="MiB; 0: none."
    )
    simulated = serializers.BooleanField(required=False)
    created_at = serializers.DateTimeField(read_only=True)


class FirstAdministratorShape(serializers.Serializer[Any]):
    username = serializers.CharField()
    password = serializers.CharField(help_text="Told only here.")


class NewTenantShape(TenantShape):
    administrator = FirstAdministratorShape(read_only=True)


class DeletionShape(serializers.Serializer[Any]):
    confirm = serializers.CharField(help_text="The tenant's host.")
    without_export = serializers.BooleanField(required=False)


class SipDomainShape(serializers.Serializer[Any]):
    domain = serializers.CharField()
    primary = serializers.BooleanField(required=False)


class TrunkShape(serializers.Serializer[Any]):
    id = serializers.CharField(read_only=True)
    name = serializers.CharField(max_length=100)
    switch = serializers.CharField(required=False, allow_null=True)
    switch_name = serializers.CharField(max_length=100, required=False)
    host = serializers.CharField(max_length=253, required=False)
    tenant = serializers.CharField(required=False, allow_null=True)


class InboundRuleShape(serializers.Serializer[Any]):
    id = serializers.CharField(read_only=True)
    kind = serializers.ChoiceField(InboundRule.Kind.values, required=False)
    number = serializers.CharField()
    trunk = serializers.CharField(required=False, allow_null=True)
    tenant = serializers.CharField()
    note = serializers.CharField(max_length=200, required=False)


class SwitchShape(serializers.Serializer[Any]):
    id = serializers.CharField(read_only=True)
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(Switch.Kind.values)
    enabled = serializers.BooleanField(required=False)
    address = serializers.DictField(required=False)
    has_credentials = serializers.BooleanField(read_only=True)
    token_hint = serializers.CharField(read_only=True)
    connector_state = serializers.CharField(read_only=True)
    connector_message = serializers.CharField(read_only=True)
    connector_seen_at = serializers.DateTimeField(read_only=True, allow_null=True)
    last_event_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)
    credentials = serializers.DictField(write_only=True, required=False)


class NewSwitchShape(SwitchShape):
    token = serializers.CharField(read_only=True, help_text="Told only here.")
