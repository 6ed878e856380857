"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, include, path

from events import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("events.contract_urls")),
    path("api/v1/endpoints", api.EndpointsDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>", api.EndpointDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>/rotate", api.RotateDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>/test", api.TestDoor.as_view()),
    path("api/v1/deliveries", api.DeliveriesDoor.as_view()),
    path("api/v1/deliveries/<str:delivery_id>", api.DeliveryDoor.as_view()),
    path("api/v1/deliveries/<str:delivery_id>/redeliver", api.RedeliverDoor.as_view()),
    path("api/v1/events", api.EventsDoor.as_view()),
]
