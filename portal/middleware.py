"""What happens to every request before a room sees it: health, host to tenant, logs, slow queries."""

import time
import uuid
from collections.abc import Callable
from urllib.parse import urlencode

import structlog
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django_tenants.middleware.main import TenantMainMiddleware

from accounts.access import person_of
from portal.shell import zone_of
from tenants.models import Tenant
from tenants.schemas import enter_public

GetResponse = Callable[[HttpRequest], HttpResponse]
log = structlog.get_logger("portal.request")


class RequestLogMiddleware:
    """One line per request, under a request id that the error page shows."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex[:12]
        request.request_id = request_id  # type: ignore[attr-defined]
        started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        if not request.path.startswith(("/static/", "/healthz", "/readyz")):
            # A switch asks many times a second; what it told is logged by the room that took it.
            is_routine = request.path.startswith("/api/switch/") and response.status_code < 400
            (log.debug if is_routine else log.info)(
                "request",
                method=request.method,
                path=_shown(request.path),
                status=response.status_code,
                ms=round((time.perf_counter() - started) * 1000, 1),
            )
        return response


def _shown(path: str) -> str:
    """Without the token that stands in the address of a catcher."""
    return "/catch/…" if path.startswith("/catch/") else path


class HealthMiddleware:
    """/healthz and /readyz answer on any host, for load balancers that know only the address."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return JsonResponse({"status": "ok"})
        if request.path == "/readyz":
            from portal.health import readiness  # imports the rooms; settings load this module before the apps

            report = readiness()
            return JsonResponse(report, status=503 if report["status"] == "failed" else 200)
        return self.get_response(request)


class HostMiddleware(TenantMainMiddleware):  # type: ignore[misc]
    """Host to tenant. An unknown host is a plain 404; a tenant that is not active shows why."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        refused = super().process_request(request)
        if refused is not None:
            return refused  # type: ignore[no-any-return]
        tenant: Tenant = request.tenant  # type: ignore[attr-defined]
        if tenant.schema_name == "public":
            return None
        structlog.contextvars.bind_contextvars(tenant=tenant.schema_name)
        if tenant.is_active:
            return None
        if request.path.startswith("/api/"):
            error = {
                "code": "tenant_not_active",
                "message": f"This tenant is {tenant.get_state_display().lower()}.",
                "details": {},
            }
            return JsonResponse({"error": error}, status=403)
        enter_public()
        return render(
            request, "portal/not_active.html", {"tenant_name": tenant.name, "state": tenant.state}, status=403
        )


class TimeZoneMiddleware:
    """Every time on a page is in the reader's zone: the person's own, else the tenant's."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):  # programs get UTC
            return self.get_response(request)
        person = person_of(request)
        tenant: Tenant | None = getattr(request, "tenant", None)
        with timezone.override(zone_of(person, tenant)):
            return self.get_response(request)


class SlowQueryMiddleware:
    """A query that hit its time limit becomes a friendly answer that suggests a narrower one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, OperationalError) or "statement timeout" not in str(exception):
            return None
        if request.path.startswith("/api/"):
            error = {
                "code": "query_too_slow",
                "message": "This query took too long. Narrow its time span or its filters.",
                "details": {},
            }
            return JsonResponse({"error": error}, status=503)
        return _too_slow(request)


def _too_slow(request: HttpRequest) -> HttpResponse:
    """The page that takes the place of a list. A part that asks by itself stays as it is and asks again."""
    if request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true":
        return HttpResponse(status=503, headers={"HX-Reswap": "none"})
    headers = {"HX-Retarget": "#main", "HX-Reselect": "#main", "HX-Reswap": "outerHTML"}
    context = {"narrower": _narrower(request), "whole": request.path}
    response = render(request, "portal/too_slow.html", context, status=503)
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _narrower(request: HttpRequest) -> list[tuple[str, str]]:
    """The same search in less time, for a list that has periods and was asked for more."""
    name = request.resolver_match.url_name if request.resolver_match else ""
    if name not in ("cdr-list", "recordings"):
        return []
    kept = {key: value for key, value in request.GET.items() if key not in ("period", "from", "to", "after", "before")}
    periods = {"7d": "Last 7 days", "yesterday": "Yesterday", "today": "Today"}
    if request.GET.get("period") in periods:
        del periods["7d"]
    return [(label, f"{request.path}?{urlencode(kept | {'period': period})}") for period, label in periods.items()]
