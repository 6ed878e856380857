from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"

    def ready(self) -> None:
        from cdr import exports
        from portal import checks, export_lists  # noqa: F401 - importing the former registers the checks
        from tenants import lifecycle

        export_lists.offer_all()
        lifecycle.leavings.append(exports.remove_files)
