from django.apps import AppConfig


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        from cdr import calls
        from recordings import control, lookagain, reports, watching
        from tenants import changes, outbox

        calls.listeners.append(control.react)
        calls.listeners.append(watching.on_calls)
        outbox.listeners.append(reports.on_command)
        changes.listeners.append(lookagain.on_change)
