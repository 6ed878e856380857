"""REST on the system host: settings, tenants, trunks, inbound rules, switches."""

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.founding import FIRST_ADMINISTRATOR, found_tenant
from accounts.openapi import described
from accounts.rest import (
    ApiError,
    Door,
    actor_of,
    fields_of,
    page_by_id,
    page_response,
    rfc3339,
    row_or_404,
    take_version,
)
from accounts.roles import Permission
from portal.system.openapi import (
    DeletionShape,
    InboundRuleShape,
    NewSwitchShape,
    NewTenantShape,
    SettingsShape,
    SipDomainShape,
    SwitchShape,
    TenantShape,
    TrunkShape,
)
from portal.system.tenants import all_tenants
from tenants.addresses import tenant_address
from tenants.company import COMPANY_FIELDS, change_tenant
from tenants.inbound_rules import change_inbound_rule, create_inbound_rule, delete_inbound_rule
from tenants.lifecycle import reactivate_tenant, request_deletion, suspend_tenant
from tenants.models import InboundRule, Switch, SystemSettings, Tenant, Trunk
from tenants.sip_domains import add_sip_domain, make_primary, remove_sip_domain
from tenants.switches import change_switch, create_switch, delete_switch, rotate_token
from tenants.system_settings import change_system_settings
from tenants.trunks import change_trunk, create_trunk, delete_trunk


def represent_tenant(tenant: Tenant) -> dict[str, Any]:
    domains = [row.domain for row in tenant.sip_domains.all()]
    return {
        "id": str(tenant.pk),
        "name": tenant.name,
        "host": tenant.host,
        "url": tenant_address(tenant),
        "sip_domain": domains[0] if domains else "",
        "sip_domains": domains,
        "state": tenant.state,
        "progress": tenant.progress,
        **{name: getattr(tenant, name) for name in COMPANY_FIELDS},
        "recording_quota_mb": tenant.recording_quota_mb,
        "simulated": tenant.simulated,
        "version": tenant.version,
        "created_at": rfc3339(tenant.created_at),
    }


def represent_trunk(trunk: Trunk) -> dict[str, Any]:
    return {
        "id": str(trunk.pk),
        "name": trunk.name,
        "switch": str(trunk.switch_id) if trunk.switch_id else None,
        "switch_name": trunk.switch_name,
        "host": trunk.host,
        "tenant": str(trunk.tenant_id) if trunk.tenant_id else None,
    }


def represent_rule(rule: InboundRule) -> dict[str, Any]:
    return {
        "id": str(rule.pk),
        "kind": rule.kind,
        "number": rule.number,
        "trunk": str(rule.trunk_id) if rule.trunk_id else None,
        "tenant": str(rule.tenant_id),
        "note": rule.note,
    }


def represent_switch(switch: Switch) -> dict[str, Any]:
    return {
        "id": str(switch.pk),
        "name": switch.name,
        "kind": switch.kind,
        "enabled": switch.enabled,
        "address": switch.address,
        "has_credentials": bool(switch.credentials),
        "token_hint": switch.token_hint,
        "connector_state": switch.connector_state,
        "connector_message": switch.connector_message,
        "connector_seen_at": rfc3339(switch.connector_seen_at),
        "last_event_at": rfc3339(switch.last_event_at),
        "created_at": rfc3339(switch.created_at),
    }


@described("settings", SettingsShape)
class Settings(Door):
    permission = Permission.SYSTEM_SETTINGS

    def get(self, request: Request) -> Response:
        return _settings(SystemSettings.current())

    def patch(self, request: Request) -> Response:
        given = fields_of(request)
        version = take_version(given)
        return _settings(change_system_settings(actor_of(request), given, version=version))


@described("tenants", TenantShape, many=True, asks=TenantShape, created=NewTenantShape)
class Tenants(Door):
    permission = Permission.SYSTEM_TENANTS

    def get(self, request: Request) -> Response:
        rows = all_tenants().prefetch_related("sip_domains")
        return page_response(page_by_id(request, rows, represent_tenant, newest_first=False))

    def post(self, request: Request) -> Response:
        """The tenant's tables are made by a task: ask again until `state` is active. The password is told only here."""
        tenant, password = found_tenant(actor_of(request), fields_of(request))
        administrator = {"username": FIRST_ADMINISTRATOR, "password": password}
        return Response({**represent_tenant(tenant), "administrator": administrator}, status=201)


@described("tenant", TenantShape, asks=DeletionShape, delete_status=202)
class OneTenant(Door):
    permission = Permission.SYSTEM_TENANTS

    def get(self, request: Request, tenant_id: str) -> Response:
        return Response(represent_tenant(_tenant(tenant_id)))

    def patch(self, request: Request, tenant_id: str) -> Response:
        given = fields_of(request)
        version = take_version(given)
        change_tenant(actor_of(request), _tenant(tenant_id), given, version=version)
        return Response(represent_tenant(_tenant(tenant_id)))

    def delete(self, request: Request, tenant_id: str) -> Response:
        """`{"confirm": "<host>", "without_export": true}`: a task then drops the tenant."""
        given = fields_of(request)
        confirm, without = given.get("confirm", ""), given.get("without_export", False)
        if not isinstance(confirm, str) or not isinstance(without, bool):
            raise ApiError("not_valid", "confirm is the host as a text, without_export true or false.")
        request_deletion(actor_of(request), _tenant(tenant_id), typed_host=confirm, without_export=without)
        return Response(represent_tenant(_tenant(tenant_id)), status=202)


@described("tenant_state", TenantShape, post_status=200)
class TenantState(Door):
    """`/suspend` and `/reactivate`."""

    permission = Permission.SYSTEM_TENANTS

    def post(self, request: Request, tenant_id: str, verb: str) -> Response:
        verbs = {"suspend": suspend_tenant, "reactivate": reactivate_tenant}
        if verb not in verbs:
            raise Http404
        return Response(represent_tenant(verbs[verb](actor_of(request), _tenant(tenant_id))))


@described("tenant_sip_domains", TenantShape, asks=SipDomainShape)
class TenantSipDomains(Door):
    permission = Permission.SYSTEM_TENANTS

    def post(self, request: Request, tenant_id: str) -> Response:
        """`{"domain": "...", "primary": false}`"""
        tenant, given = _tenant(tenant_id), fields_of(request)
        primary = given.pop("primary", False)
        if set(given) != {"domain"} or not isinstance(primary, bool):
            raise ApiError("not_valid", "Send domain, and primary as true or false.")
        added = add_sip_domain(actor_of(request), tenant, given["domain"])
        if primary:
            make_primary(actor_of(request), added)
        return Response(represent_tenant(_tenant(tenant_id)), status=201)


@described("tenant_sip_domain", TenantShape)
class TenantSipDomain(Door):
    permission = Permission.SYSTEM_TENANTS

    def delete(self, request: Request, tenant_id: str, domain: str) -> Response:
        found = _tenant(tenant_id).sip_domains.filter(domain=domain.replace("\0", "").lower()).first()
        if found is None:
            raise Http404
        remove_sip_domain(actor_of(request), found)
        return Response(status=204)


@described("trunks", TrunkShape, many=True, asks=TrunkShape)
class Trunks(Door):
    permission = Permission.SYSTEM_TENANTS

    def get(self, request: Request) -> Response:
        return page_response(page_by_id(request, Trunk.objects.all(), represent_trunk, newest_first=False))

    def post(self, request: Request) -> Response:
        return Response(represent_trunk(create_trunk(actor_of(request), fields_of(request))), status=201)


@described("trunk", TrunkShape)
class OneTrunk(Door):
    permission = Permission.SYSTEM_TENANTS

    def get(self, request: Request, trunk_id: str) -> Response:
        return Response(represent_trunk(row_or_404(Trunk.objects.all(), trunk_id)))

    def patch(self, request: Request, trunk_id: str) -> Response:
        trunk = row_or_404(Trunk.objects.all(), trunk_id)
        return Response(represent_trunk(change_trunk(actor_of(request), trunk, fields_of(request))))

    def delete(self, request: Request, trunk_id: str) -> Response:
        delete_trunk(actor_of(request), row_or_404(Trunk.objects.all(), trunk_id))
        return Response(status=204)


@described("inbound_rules", InboundRuleShape, many=True, asks=InboundRuleShape)
class InboundRules(Door):
    permission = Permission.SYSTEM_TENANTS

    def get(self, request: Request) -> Response:
        return page_response(page_by_id(request, InboundRule.objects.all(), represent_rule, newest_first=False))

    def post(self, request: Request) -> Response:
        return Response(represent_rule(create_inbound_rule(actor_of(request), fields_of(request))), status=201)


@described("inbound_rule", InboundRuleShape)
class OneInboundRule(Door):
    permission = Permission.SYSTEM_TENANTS

    def get(self, request: Request, rule_id: str) -> Response:
        return Response(represent_rule(row_or_404(InboundRule.objects.all(), rule_id)))

    def patch(self, request: Request, rule_id: str) -> Response:
        rule = row_or_404(InboundRule.objects.all(), rule_id)
        return Response(represent_rule(change_inbound_rule(actor_of(request), rule, fields_of(request))))

    def delete(self, request: Request, rule_id: str) -> Response:
        delete_inbound_rule(actor_of(request), row_or_404(InboundRule.objects.select_related("tenant"), rule_id))
        return Response(status=204)


@described("switches", SwitchShape, many=True, asks=SwitchShape, created=NewSwitchShape)
class Switches(Door):
    permission = Permission.SYSTEM_SWITCHES

    def get(self, request: Request) -> Response:
        return page_response(page_by_id(request, Switch.objects.all(), represent_switch, newest_first=False))

    def post(self, request: Request) -> Response:
        """`token` is told only in this answer."""
        switch, token = create_switch(actor_of(request), fields_of(request))
        return Response({**represent_switch(switch), "token": token}, status=201)


@described("switch", SwitchShape)
class OneSwitch(Door):
    permission = Permission.SYSTEM_SWITCHES

    def get(self, request: Request, switch_id: str) -> Response:
        return Response(represent_switch(row_or_404(Switch.objects.all(), switch_id)))

    def patch(self, request: Request, switch_id: str) -> Response:
        switch = row_or_404(Switch.objects.all(), switch_id)
        return Response(represent_switch(change_switch(actor_of(request), switch, fields_of(request))))

    def delete(self, request: Request, switch_id: str) -> Response:
        delete_switch(actor_of(request), row_or_404(Switch.objects.all(), switch_id))
        return Response(status=204)


@described("switch_token", NewSwitchShape, post_status=200)
class SwitchToken(Door):
    permission = Permission.SYSTEM_SWITCHES

    def post(self, request: Request, switch_id: str) -> Response:
        """A new token, told only in this answer; the former one stops at once."""
        switch = row_or_404(Switch.objects.all(), switch_id)
        token = rotate_token(actor_of(request), switch)
        return Response({**represent_switch(switch), "token": token})


def _settings(current: SystemSettings) -> Response:
    return Response({"record_external_calls": current.record_external_calls, "version": current.version})


def _tenant(tenant_id: str) -> Tenant:
    return row_or_404(all_tenants().prefetch_related("sip_domains"), tenant_id)
