"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from portal.pages import api_docs, display, home, jump

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("jump", jump.tenant_jump, name="jump"),
    path("display", display.tenant_display, name="display"),
    path("api/schema/", api_docs.schema, name="api-schema"),
    path("api/docs", api_docs.docs, name="api-docs"),
]
