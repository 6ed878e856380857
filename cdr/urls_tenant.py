"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from cdr import api, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("call-statistics/cdr", views.cdr_list, name="cdr-list"),
    path("call-statistics/cdr/newer", views.newer_calls, name="cdr-newer"),
    path("call-statistics/cdr/send-again", views.send_again, name="cdr-send-again"),
    # A session id is the switch's own word and may hold a slash.
    path("call-statistics/cdr/<path:session_id>", views.cdr_detail, name="cdr-detail"),
    path("api/v1/cdrs", api.CDRList.as_view(), name="api-cdrs"),
    path("api/v1/cdrs/changes", api.CDRChanges.as_view(), name="api-cdr-changes"),
    path("api/v1/cdrs/<path:session_id>", api.CDRDetail.as_view(), name="api-cdr"),
]
