"""Who speaks on a socket, whether the credentials are good, and whether they still are."""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any, Literal

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib.auth import authenticate, get_user
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest

from accounts.access import Person
from accounts.extensions import ha1
from accounts.managing import acting_in
from accounts.models import ApiToken, ExtensionCredential, User
from accounts.roles import Permission
from events.protocol import ExtensionAuth, PasswordAuth, SessionAuth, TokenAuth
from tenants.crypto import token_hash
from tenants.models import SipDomain, Tenant
from tenants.schemas import current_schema

Credentials = PasswordAuth | ExtensionAuth | TokenAuth | SessionAuth


@dataclass(frozen=True)
class Principal:
    """Who was let in, by what. `stamp` is what must still be the same: a password's hash, an HA1."""

    kind: Literal["user", "extension", "token", "session"]
    key: str
    stamp: str = ""


def identify(tenant: Tenant, credentials: Credentials, request: HttpRequest) -> Principal | None:
    """Runs in the host's schema. Wrong passwords count towards the same lock-out as those of the sign-in page."""
    match credentials:
        case PasswordAuth():
            return _by_password(tenant, credentials, request)
        case ExtensionAuth():
            return _by_sip_password(tenant, credentials, request)
        case TokenAuth():
            return _by_token(credentials)
        case SessionAuth():
            key = session_key_of(request)
            principal = Principal("session", key)
            return principal if key and _rights_of(principal) is not None else None


def _by_password(tenant: Tenant, given: PasswordAuth, request: HttpRequest) -> Principal | None:
    if not _is_domain_of(tenant, given.domain):
        return None
    user = authenticate(request, username=given.username, password=given.password)
    return Principal("user", str(user.pk), user.password) if isinstance(user, User) else None


def _by_sip_password(tenant: Tenant, given: ExtensionAuth, request: HttpRequest) -> Principal | None:
    if not given.domain or not _is_domain_of(tenant, given.domain):
        return None
    name = {"username": f"{given.extension_number}@{given.domain}".lower()}
    if not AxesProxyHandler.is_allowed(request, name):
        return None
    credential = _credential(given.extension_number, given.domain)
    expected = credential.ha1 if credential else "-"
    said = ha1(given.extension_number, credential.realm if credential else given.domain, given.password)
    if credential is None or not hmac.compare_digest(expected, said):
        user_login_failed.send(sender=__name__, credentials=name, request=request)
        return None
    return Principal("extension", f"{credential.extension.number}@{credential.realm}", credential.ha1)


def _credential(number: str, realm: str) -> ExtensionCredential | None:
    return (
        ExtensionCredential.objects.select_related("extension__user")
        .filter(extension__number=number, extension__enabled=True, realm__iexact=realm)
        .first()
    )


def _by_token(given: TokenAuth) -> Principal | None:
    principal = Principal("token", token_hash(given.access_token))
    return principal if _rights_of(principal) is not None else None


def _is_domain_of(tenant: Tenant, domain: str) -> bool:
    """A tenant's people name one of its SIP domains; system administrators name none."""
    if current_schema() == "public":
        return not domain
    return bool(domain) and SipDomain.objects.filter(tenant_id=tenant.pk, domain__iexact=domain).exists()


def still_allowed(principals: Iterable[Principal], permission: Permission) -> dict[Principal, bool]:
    """For each principal that is still good: whether it has the permission. Others are missing."""
    found: dict[Principal, bool] = {}
    for principal in principals:
        rights = _rights_of(principal)
        if rights is not None:
            found[principal] = rights(permission)
    return found


def _rights_of(principal: Principal) -> Callable[[Permission], bool] | None:
    match principal.kind:
        case "user":
            user = User.objects.filter(pk=principal.key, is_active=True, password=principal.stamp).first()
            return user.may if user else None
        case "extension":
            credential = _credential(*principal.key.rsplit("@", 1))
            if credential is None or credential.ha1 != principal.stamp:
                return None
            owner = credential.extension.user
            return lambda permission: owner is not None and owner.may(permission)
        case "token":
            token = ApiToken.objects.select_related("user").filter(token_hash=principal.key).first()
            if token is None or not token.is_live or not token.user.is_active:
                return None
            return lambda permission: token.user.may(permission) and (not token.scopes or permission in token.scopes)
        case "session":
            person = person_of_session(principal.key)
            return person.may if person is not None and person.is_active else None


def session_key_of(request: HttpRequest) -> str:
    """The browser's session cookie, of a handshake that no middleware has seen."""
    try:
        cookies = SimpleCookie(request.META.get("HTTP_COOKIE", ""))
    except CookieError:
        return ""
    found = cookies.get(settings.SESSION_COOKIE_NAME)
    return found.value if found else ""


def person_of_session(session_key: str) -> Person | None:
    """Who is signed in there, in the schema that the connection is in."""
    request = HttpRequest()
    engine: Any = import_module(settings.SESSION_ENGINE)
    request.session = engine.SessionStore(session_key)
    person: Any = acting_in(request.session) or get_user(request)
    return person if person.is_authenticated else None
