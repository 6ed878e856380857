"""REST: `/api/v1/users`, `/api/v1/extensions` and `/api/v1/company` on a tenant's host."""

from typing import Any

from django.db import transaction
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.extensions import (
    change_extension,
    create_extension,
    delete_extension,
    realms_here,
    set_sip_password,
)
from accounts.models import Extension, User
from accounts.openapi import (
    CompanyShape,
    ExtensionShape,
    NewExtensionShape,
    SipPasswordShape,
    UserShape,
    described,
)
from accounts.people import change_user, create_user, set_password
from accounts.rest import (
    ApiError,
    Door,
    actor_of,
    decode_cursor,
    encode_cursor,
    fields_of,
    limit_of,
    page_by_id,
    page_response,
    rfc3339,
    row_or_404,
    take_version,
)
from accounts.roles import Permission
from accounts.selectors import extensions_by_number
from tenants.company import COMPANY_FIELDS, change_company
from tenants.models import Tenant
from tenants.sip_domains import domains_of


def represent_user(user: User) -> dict[str, Any]:
    extension: Extension | None = getattr(user, "extension", None)
    return {
        "id": str(user.pk),
        "username": user.username,
        "display_name": user.display_name,
        "email": user.email,
        "role": user.role,
        "is_active": user.is_active,
        "may_sign_in": user.has_usable_password(),
        "time_zone": user.time_zone,
        "extension": extension.number if extension else None,
        "created_at": rfc3339(user.created_at),
    }


def represent_extension(extension: Extension, realms: list[str]) -> dict[str, Any]:
    """`realms_without_password`: SIP domains that came after the SIP password, which must be set anew for them."""
    have = {credential.realm for credential in extension.credentials.all()}
    return {
        "number": extension.number,
        "display_name": extension.display_name,
        "user": str(extension.user_id) if extension.user_id else None,
        "record_audio": extension.record_audio,
        "record_video": extension.record_video,
        "outbound_caller_id": extension.outbound_caller_id,
        "enabled": extension.enabled,
        "realms_without_password": [realm for realm in realms if realm not in have],
        "version": extension.version,
    }


def represent_company(tenant: Tenant) -> dict[str, Any]:
    domains = domains_of(tenant)
    return {
        "id": str(tenant.pk),
        "name": tenant.name,
        "host": tenant.host,
        "sip_domain": domains[0] if domains else "",
        "sip_domains": domains,
        **{name: getattr(tenant, name) for name in COMPANY_FIELDS},
        "recording_quota_mb": tenant.recording_quota_mb,
        "version": tenant.version,
    }


@described("users", UserShape, many=True, asks=UserShape)
class Users(Door):
    permission = Permission.USERS

    def get(self, request: Request) -> Response:
        rows = User.objects.select_related("extension")
        return page_response(page_by_id(request, rows, represent_user, newest_first=False))

    def post(self, request: Request) -> Response:
        """Without `password` the user cannot sign in until one is set."""
        user = create_user(actor_of(request), fields_of(request))
        return Response(represent_user(user), status=201)


@described("user", UserShape)
class OneUser(Door):
    permission = Permission.USERS

    def get(self, request: Request, user_id: str) -> Response:
        return Response(represent_user(_user(user_id)))

    def patch(self, request: Request, user_id: str) -> Response:
        """`password` beside the others sets a new one and ends the user's sessions."""
        user, given = _user(user_id), fields_of(request)
        with transaction.atomic():
            if "password" in given:
                set_password(actor_of(request), user, given.pop("password"))
            change_user(actor_of(request), user, given)
        return Response(represent_user(_user(user_id)))


@described("extensions", ExtensionShape, many=True, asks=ExtensionShape, created=NewExtensionShape)
class Extensions(Door):
    permission = Permission.USERS

    def get(self, request: Request) -> Response:
        limit, after = limit_of(request), ""
        if cursor := request.query_params.get("cursor"):
            (after,) = decode_cursor(cursor, 1)
            if not isinstance(after, str) or "\0" in after:
                raise ApiError("bad_cursor", "This cursor is not one that a list gave.")
        found = list(extensions_by_number(after)[: limit + 1])
        realms = realms_here()
        following = encode_cursor(found[limit - 1].number) if len(found) > limit else None
        return Response({"items": [represent_extension(row, realms) for row in found[:limit]], "next": following})

    def post(self, request: Request) -> Response:
        """`sip_password` is made unless given, and told only in this answer."""
        given = fields_of(request)
        password = _sip_password(given)
        extension, told = create_extension(actor_of(request), given, sip_password=password)
        return Response({**represent_extension(extension, realms_here()), "sip_password": told}, status=201)


@described("extension", ExtensionShape)
class OneExtension(Door):
    permission = Permission.USERS

    def get(self, request: Request, number: str) -> Response:
        return Response(represent_extension(_extension(number), realms_here()))

    def patch(self, request: Request, number: str) -> Response:
        """`sip_password` sets a new one; `version` turns a change by somebody else meanwhile into a 409."""
        extension, given = _extension(number), fields_of(request)
        version = take_version(given)
        with transaction.atomic():
            if "sip_password" in given:
                set_sip_password(actor_of(request), extension, _sip_password(given, required=True))
            change_extension(actor_of(request), extension, given, version=version)
        return Response(represent_extension(_extension(number), realms_here()))

    def delete(self, request: Request, number: str) -> Response:
        delete_extension(actor_of(request), _extension(number))
        return Response(status=204)


@described("extension_sip_password", SipPasswordShape, post_status=200)
class ExtensionSipPassword(Door):
    permission = Permission.USERS

    def post(self, request: Request, number: str) -> Response:
        """Makes a new SIP password and tells it, this once."""
        extension = _extension(number)
        return Response({"number": extension.number, "sip_password": set_sip_password(actor_of(request), extension)})


@described("company", CompanyShape)
class Company(Door):
    permission = Permission.COMPANY

    def get(self, request: Request) -> Response:
        return Response(represent_company(_tenant(request)))

    def patch(self, request: Request) -> Response:
        given = fields_of(request)
        version = take_version(given)
        tenant = change_company(actor_of(request), _tenant(request), given, version=version)
        return Response(represent_company(tenant))


def _tenant(request: Request) -> Tenant:
    tenant: Tenant = Tenant.objects.get(pk=request._request.tenant.pk)  # type: ignore[attr-defined]
    return tenant


def _user(user_id: str) -> User:
    return row_or_404(User.objects.select_related("extension"), user_id)


def _extension(number: str) -> Extension:
    extension = Extension.objects.prefetch_related("credentials").filter(number=number).first() if (
        "\0" not in number
    ) else None  # fmt: skip
    if extension is None:
        raise Http404
    return extension


def _sip_password(given: dict[str, Any], *, required: bool = False) -> str:
    password = given.pop("sip_password", "")
    if not isinstance(password, str) or (required and not password):
        raise ApiError("not_valid", "sip_password must be a text.", details={"sip_password": ["This must be a text."]})
    return password
