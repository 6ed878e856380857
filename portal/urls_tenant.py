"""Every door on a tenant's host: each room brings its own."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("accounts.urls_tenant")),
    path("", include("events.urls_tenant")),
    path("", include("cdr.urls_tenant")),
    path("", include("cdr.urls_reports")),
    path("", include("recordings.urls_tenant")),
    path("", include("pbx.urls_tenant")),
    path("", include("portal.pages.urls_tenant")),
]

handler400 = "portal.pages.errors.bad_request"
handler403 = "portal.pages.errors.forbidden"
handler404 = "portal.pages.errors.not_found"
handler500 = "portal.pages.errors.server_error"
