"""Every door on the system host: each room brings its own."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("accounts.urls_system")),
    path("", include("events.urls_system")),
    path("", include("pbx.urls_system")),
    path("", include("portal.system.urls")),
    path("", include("portal.pages.urls_system")),
]

handler400 = "portal.pages.errors.bad_request"
handler403 = "portal.pages.errors.forbidden"
handler404 = "portal.pages.errors.not_found"
handler500 = "portal.pages.errors.server_error"
