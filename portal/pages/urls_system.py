"""Doors of this room on a system host."""

from django.urls import URLPattern, URLResolver, path

from portal.pages import api_docs, display, jump

urlpatterns: list[URLPattern | URLResolver] = [
    path("jump", jump.system_jump, name="jump"),
    path("display", display.system_display, name="display"),
    path("api/schema/", api_docs.schema, name="api-schema"),
    path("api/docs", api_docs.docs, name="api-docs"),
]
