"""Doors of the reports on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from cdr import report_api, report_views

urlpatterns: list[URLPattern | URLResolver] = [
    path("call-statistics/reports", report_views.report, name="reports"),
    path("call-statistics/reports/file/<slug:form>", report_views.report_file, name="report-file"),
    path("api/v1/reports", report_api.Reports.as_view(), name="api-reports"),
]
