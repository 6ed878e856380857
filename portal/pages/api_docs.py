"""The REST API described: the OpenAPI document of this host, and a page to read it."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView

from accounts.access import open_to_all

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "description": "A stable word to act on."},
                "message": {"type": "string", "description": "A sentence for a person."},
                "details": {"type": "object", "additionalProperties": {}},
            },
        }
    },
}
_REFUSALS = {
    "400": "Not understood.",
    "401": "Not signed in.",
    "403": "Not allowed.",
    "404": "Not here.",
    "429": "Too many calls.",
}
# As `accounts.limiting` writes them.
_RATE_LIMIT = {
    "RateLimit-Limit": "How many calls this token may make in a minute.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the count begins anew.",
}
_RETRY_AFTER = {"Retry-After": "Seconds to wait before the next call."}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.callers.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API token of this host."}


class BrowserScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.callers.BrowserAuthentication"
    name = "browser"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def describe_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may refuse, and every refusal has one form."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = _ERROR
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            for code, description in _REFUSALS.items():
                operation["responses"].setdefault(code, {"description": description, "content": content})
    return result


def describe_rate_limit(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every answer to a token says what the token has left; missing while nobody counts, so never required."""
    result["components"]["headers"] = {
        name: {"description": text, "schema": {"type": "integer", "minimum": 0}}
        for name, text in (_RATE_LIMIT | _RETRY_AFTER).items()
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            if not any("token" in way for way in operation.get("security", [])):
                continue
            for code, response in operation["responses"].items():
                if code != "401":  # nobody's call is counted
                    told = _RATE_LIMIT | (_RETRY_AFTER if code == "429" else {})
                    response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in told}
    return result


_DOCUMENTS = {
    urlconf: SpectacularAPIView.as_view(urlconf=urlconf)
    for urlconf in (settings.ROOT_URLCONF, settings.PUBLIC_SCHEMA_URLCONF)
}


@open_to_all
@require_safe
def schema(request: HttpRequest) -> HttpResponseBase:
    """What this host serves and nothing of the other kind of host."""
    return _DOCUMENTS[getattr(request, "urlconf", settings.ROOT_URLCONF)](request)


@open_to_all
@require_safe
def docs(request: HttpRequest) -> HttpResponseBase:
    return render(request, "portal/api_docs.html")
