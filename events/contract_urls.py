"""Doors of the contracts, the same on every host."""

from django.urls import URLPattern, URLResolver, path

from events import contract_api as api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/events/schemas/", api.SchemasDoor.as_view(), name="event-schemas"),
    path("api/events/schemas/<str:event_type>.<str:profile>.json", api.SchemaDoor.as_view(), name="event-schema"),
    path("api/asyncapi.json", api.AsyncApiDoor.as_view(), name="asyncapi"),
]
