"""Doors of the reports and of the rates on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from cdr import rate_views, report_api, report_views

urlpatterns: list[URLPattern | URLResolver] = [
    path("call-statistics/reports", report_views.report, name="reports"),
    path("call-statistics/reports/file/<slug:form>", report_views.report_file, name="report-file"),
    path("company/rates", rate_views.rate_list, name="rates"),
    path("company/rates/new", rate_views.rate_edit, name="rate-new"),
    path("company/rates/import", rate_views.rate_import, name="rate-import"),
    path("company/rates/again", rate_views.rate_again, name="rate-again"),
    path("company/rates/<int:rule_id>", rate_views.rate_edit, name="rate-edit"),
    path("company/rates/<int:rule_id>/delete", rate_views.rate_delete, name="rate-delete"),
    path("api/v1/reports", report_api.Reports.as_view(), name="api-reports"),
]
