from django.apps import AppConfig


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        from cdr import calls, live_api
        from recordings import checks, control, control_api, files, lookagain, reports, trash, watching  # noqa: F401 - registers
        from tenants import changes, outbox

        calls.listeners.append(control.react)
        calls.listeners.append(watching.on_calls)
        live_api.call_parts.append(control_api.recording_of_calls)
        live_api.call_fields["recording"] = lambda: control_api.RecordingNowSerializer(allow_null=True)
        outbox.listeners.append(reports.on_command)
        changes.listeners.append(lookagain.on_change)
        trash.cleaners.append(files.clear_of)
