"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, include, path

from events import api, catcher_pages, redelivery_api, redelivery_views, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("company/event-url", views.event_url, name="event-url"),
    path("company/event-url/new", views.new_endpoint, name="event-url-new"),
    path("company/event-url/<int:endpoint_id>", views.endpoint, name="event-url-endpoint"),
    path("company/event-url/<int:endpoint_id>/health", views.endpoint_health, name="event-url-health"),
    path("company/event-url/<int:endpoint_id>/log", views.endpoint_log, name="event-url-log"),
    path("company/event-url/<int:endpoint_id>/delete", views.delete_endpoint, name="event-url-delete"),
    path("company/event-url/<int:endpoint_id>/rotate", views.rotate_secret, name="event-url-rotate"),
    path("company/event-url/<int:endpoint_id>/test", views.test_endpoint, name="event-url-test"),
    path("company/event-url/<int:endpoint_id>/again", redelivery_views.redeliveries, name="event-url-redeliveries"),
    path("company/event-url/<int:endpoint_id>/again/stop", redelivery_views.stop, name="event-url-redeliveries-stop"),
    path("company/event-url/catcher", catcher_pages.catcher, name="event-url-catcher"),
    path("company/event-url/catcher/on", catcher_pages.switch_on, name="event-url-catcher-on"),
    path("company/event-url/catcher/clear", catcher_pages.clear, name="event-url-catcher-clear"),
    path("company/event-url/catcher/off", catcher_pages.switch_off, name="event-url-catcher-off"),
    path("catch/<str:token>", catcher_pages.catch),
    path("company/event-url/deliveries/<int:delivery_id>", views.delivery, name="event-url-delivery"),
    path("company/event-url/deliveries/<int:delivery_id>/again", views.send_again, name="event-url-again"),
    path("", include("events.contract_urls")),
    path("api/v1/endpoints", api.EndpointsDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>", api.EndpointDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>/rotate", api.RotateDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>/test", api.TestDoor.as_view()),
    path("api/v1/endpoints/<str:endpoint_id>/redeliver", redelivery_api.RedeliverManyDoor.as_view()),
    path("api/v1/deliveries", api.DeliveriesDoor.as_view()),
    path("api/v1/deliveries/<str:delivery_id>", api.DeliveryDoor.as_view()),
    path("api/v1/deliveries/<str:delivery_id>/redeliver", api.RedeliverDoor.as_view()),
    path("api/v1/events/examples/<str:event_type>", api.ExampleDoor.as_view()),
    path("api/v1/events", api.EventsDoor.as_view()),
]
