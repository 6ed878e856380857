"""Makes what the plan says and is missing. What a person has changed since stays as it is."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.hashers import make_password

from accounts.extensions import create_extension, set_sip_password
from accounts.founding import FIRST_ADMINISTRATOR, build_tenant
from accounts.models import ApiToken, Extension, User
from accounts.passwords import new_password
from accounts.people import create_user, set_password
from accounts.roles import Role
from accounts.tokens import create_token
from portal.demo.kept import Kept, KeptExtension, KeptSystem, KeptTenant, KeptUser
from portal.demo.plan import HTTP_SWITCH, SIMULATOR, TENANTS, TOKEN, DemoTenant, Number, Person
from tenants.addresses import system_address, tenant_address
from tenants.changes import SYSTEM
from tenants.company import change_company
from tenants.crypto import token_hash
from tenants.inbound_rules import create_inbound_rule
from tenants.lifecycle import begin_again, create_tenant
from tenants.models import InboundRule, Switch, Tenant, Trunk
from tenants.schemas import enter_public, in_schema
from tenants.sip_domains import primary_domain
from tenants.switches import create_switch, rotate_token
from tenants.system_settings import change_system_settings
from tenants.trunks import create_trunk

Say = Callable[[str], None]
Former = dict[str, Any]


def furnish(former: Former, *, demo: bool, say: Say) -> Kept:
    """`former` is what `run.json` held. Returns what it shall hold."""
    enter_public()
    kept: Kept = {"system": _system(former.get("system", {})), "tenants": []}
    if not demo:
        return kept
    _, kept["switch_token"] = _switch(HTTP_SWITCH, Switch.Kind.HTTP, former.get("switch_token", ""))
    simulator, _ = _switch(SIMULATOR, Switch.Kind.SIMULATOR, "")
    if not Tenant.objects.exclude(schema_name="public").exists():
        change_system_settings(SYSTEM, {"record_external_calls": False})  # so that the stop it means can be seen
    by_id = {tenant.get("id"): tenant for tenant in former.get("tenants", [])}
    # A demo tenant that somebody deleted does not come back, unless the database is new.
    missing_are_made = not by_id or not Tenant.objects.exclude(schema_name="public").exists()
    for plan in TENANTS:
        tenant = Tenant.objects.filter(host=plan.host).first()
        if tenant is None and not missing_are_made:
            continue
        known = by_id.get(str(tenant.pk), {}) if tenant else _of_address(former, plan)
        kept["tenants"].append(_tenant(plan, tenant, known, simulator, say))
    return kept


def _of_address(former: Former, plan: DemoTenant) -> Former:
    """Of a tenant that a new database lacks: its passwords hold again."""
    found = (tenant for tenant in former.get("tenants", []) if tenant.get("sip_domain") == plan.sip_domain)
    return next(found, {})


def _system(known: Former) -> KeptSystem:
    username = known.get("username") or FIRST_ADMINISTRATOR
    password = _user(Person(username, "Administrator", Role.SYSTEM), known.get("password", ""))
    return {
        "url": system_address("").rstrip("/"),
        "username": username,
        "password": password,
        "api_token": _token(username, known.get("api_token", "")),
    }


def _tenant(plan: DemoTenant, tenant: Tenant | None, known: Former, simulator: Switch, say: Say) -> KeptTenant:
    password = known.get("password", "")
    if tenant is None:
        say(f"Making the demo tenant {plan.name}")
        tenant = create_tenant(
            SYSTEM,
            {
                "name": plan.name,
                "host": plan.host,
                "sip_domain": plan.sip_domain,
                "time_zone": plan.time_zone,
                "currency": plan.currency,
                "simulated": True,
            },
        )
    if tenant.state == Tenant.State.FAILED:
        begin_again(SYSTEM, tenant)
    if tenant.state == Tenant.State.CREATING:
        password = password or new_password()
        build_tenant(tenant, SYSTEM.name, make_password(password))
        with in_schema(tenant.schema_name):
            change_company(SYSTEM, tenant, plan.options)
    _lines(plan, tenant, simulator)
    with in_schema(tenant.schema_name):
        password = _user(Person(FIRST_ADMINISTRATOR, "Administrator", Role.ADMIN), password)
        passwords = {user["username"]: user["password"] for user in known.get("users", [])}
        users: list[KeptUser] = [
            {
                "username": person.username,
                "role": person.role.value,
                "password": _user(person, passwords.get(person.username, "")),
            }
            for person in plan.people
        ]
        sip_passwords = {one["number"]: one["sip_password"] for one in known.get("extensions", [])}
        extensions: list[KeptExtension] = [
            {"number": one.number, "sip_password": _extension(one, sip_passwords.get(one.number, ""))}
            for one in plan.extensions
        ]
        token = _token(FIRST_ADMINISTRATOR, known.get("api_token", ""))
    return {
        "id": str(tenant.pk),
        "name": tenant.name,
        "url": tenant_address(tenant, "").rstrip("/"),
        "sip_domain": primary_domain(tenant),
        "username": FIRST_ADMINISTRATOR,
        "password": password,
        "api_token": token,
        "extensions": extensions,
        "users": users,
    }


def _lines(plan: DemoTenant, tenant: Tenant, simulator: Switch) -> None:
    if Trunk.objects.filter(tenant=tenant).exists():
        return
    trunk = create_trunk(SYSTEM, {"name": plan.trunk, "tenant": tenant, "switch": simulator})
    for did in plan.dids:
        if not InboundRule.objects.filter(number=did).exists():
            create_inbound_rule(SYSTEM, {"kind": "did", "number": did, "tenant": tenant, "note": trunk.name})


def _user(person: Person, password: str) -> str:
    """The password, a new one when it is not known. A user who is there, with a known password, is left alone."""
    user = User.objects.filter(username__iexact=person.username).first()
    if user is None:
        password = password or new_password()
        create_user(
            SYSTEM,
            {
                "username": person.username,
                "display_name": person.display_name,
                "role": person.role,
                "password": password,
            },
        )
    elif not password:
        password = new_password()
        set_password(SYSTEM, user, password)
    return password


def _extension(plan: Number, sip_password: str) -> str:
    extension = Extension.objects.filter(number=plan.number).first()
    if extension is None:
        user = User.objects.filter(username=plan.username).first() if plan.username else None
        given = {
            "number": plan.number,
            "display_name": plan.display_name,
            "record_audio": plan.record_audio,
            "record_video": plan.record_video,
        }
        _, sip_password = create_extension(SYSTEM, given | ({"user": user} if user else {}), sip_password=sip_password)
    elif not sip_password:
        sip_password = set_sip_password(SYSTEM, extension)
    return sip_password


def _token(username: str, known: str) -> str:
    """A token that was revoked since stays so; one the database never heard of is replaced."""
    if known and ApiToken.objects.filter(token_hash=token_hash(known)).exists():
        return known
    user = User.objects.get(username__iexact=username)
    return create_token(SYSTEM, user, {"name": TOKEN})[1]


def _switch(name: str, kind: Switch.Kind, known: str) -> tuple[Switch, str]:
    switch = Switch.objects.filter(name=name).first()
    if switch is None:
        return create_switch(SYSTEM, {"name": name, "kind": kind})
    if kind == Switch.Kind.HTTP and not known:
        return switch, rotate_token(SYSTEM, switch)
    return switch, known
