from django.apps import AppConfig


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        from cdr import api, calls, live_api, views
        from recordings import checks, control, control_api, files, lookagain, reports, story_views, trash, watching  # noqa: F401 - registers
        from tenants import changes, outbox

        calls.listeners.append(control.react)
        calls.listeners.append(watching.on_calls)
        live_api.call_parts.append(control_api.recording_of_calls)
        live_api.call_fields["recording"] = lambda: control_api.RecordingNowSerializer(allow_null=True)
        api.detail_parts.append(story_views.story_detail)
        api.detail_fields.update(story_views.story_fields())
        views.page_parts.append(story_views.story_part)
        outbox.listeners.append(reports.on_command)
        changes.listeners.append(lookagain.on_change)
        trash.cleaners.append(files.clear_of)
