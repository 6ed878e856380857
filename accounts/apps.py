from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import audit  # models exist only now
        from tenants import changes

        changes.listeners.append(audit.record)
