"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from portal.pages import api_docs, home

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("api/schema/", api_docs.schema, name="api-schema"),
    path("api/docs", api_docs.docs, name="api-docs"),
]
