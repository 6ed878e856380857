from functools import partial

from django.apps import AppConfig


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        from cdr import api, calls, live_api, views
        from recordings import api as own_api
        from recordings import (  # noqa: F401 - registers
            bulk,
            checks,
            control,
            control_api,
            files,
            leaving,
            listening_views,
            lookagain,
            reports,
            story_views,
            trash,
            watching,
        )
        from recordings.models import TenantKey
        from tenants import changes, export, lifecycle, outbox, rotation

        calls.listeners.append(control.react)
        calls.listeners.append(watching.on_calls)
        live_api.call_parts.append(control_api.recording_of_calls)
        live_api.call_fields["recording"] = lambda: control_api.RecordingNowSerializer(allow_null=True)
        api.detail_parts.append(story_views.story_details)
        api.detail_fields.update(story_views.story_fields())
        views.ladder_tracks.append(listening_views.tracks_of_call)
        views.page_parts += [listening_views.recordings_of_call, story_views.story_part]
        outbox.listeners.append(reports.on_command)
        changes.listeners.append(lookagain.on_change)
        lifecycle.objections.append(leaving.object_to_deletion)
        lifecycle.leavings.append(leaving.remove_files)
        export.media.append(leaving.add_to_export)
        trash.cleaners.append(bulk.drop_with)
        api.detail_parts.append(own_api.of_calls)
        api.detail_fields["recordings"] = partial(own_api.RecordingDetailSerializer, many=True)
        rotation.kept.append(rotation.Kept(TenantKey, "wrapped", "key of the recordings", in_public=True))
