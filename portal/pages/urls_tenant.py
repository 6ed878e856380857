"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from portal.pages import api_docs, display, exports, home, jump

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("jump", jump.tenant_jump, name="jump"),
    path("display", display.tenant_display, name="display"),
    path("exports", exports.export_list, name="exports"),
    path("exports/new/<slug:name>", exports.new_export, name="export-new"),
    path("exports/<int:export_id>/cancel", exports.cancel_export, name="export-cancel"),
    path("exports/<int:export_id>/delete", exports.delete_export, name="export-delete"),
    path("exports/<int:export_id>/file", exports.export_file, name="export-file"),
    path("api/schema/", api_docs.schema, name="api-schema"),
    path("api/docs", api_docs.docs, name="api-docs"),
]
