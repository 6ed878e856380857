"""Recordings with their segments and gaps, the files that hold them, why they were made, and who listened."""

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.ids import new_id

MEDIUM_CHOICES = [("audio", "Audio"), ("video", "Video")]


class Recording(models.Model):
    """One medium of one session. Its row outlives its files: what is deleted leaves its ledger and its audit trail."""

    class State(models.TextChoices):
        STARTING = "starting", "Starting"  # commanded, not yet confirmed
        RECORDING = "recording", "Recording"
        PAUSED = "paused", "Paused"
        STOPPED = "stopped", "Stopped"  # nothing runs, the call goes on
        PROCESSING = "processing", "Processing"  # the call is over, files are awaited or probed
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        TRASHED = "trashed", "In the trash"
        DELETED = "deleted", "Deleted"

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    session_id = models.CharField(max_length=128)  # the call it belongs to now
    switch_session_id = models.CharField(max_length=128)  # the session it was begun in: another one after a merge
    switch_id = models.BigIntegerField()
    medium = models.CharField(max_length=5, choices=MEDIUM_CHOICES)
    state = models.CharField(max_length=12, choices=State.choices, default=State.STARTING)
    problem = models.CharField(max_length=300, blank=True, default="")  # what went wrong last, in words
    override = models.CharField(max_length=5, blank=True, default="")  # "start" or "stop": a person's last word
    is_wanted = models.BooleanField(default=False)  # what the policy said last
    caller = models.CharField(max_length=64)
    callee = models.CharField(max_length=64)
    extensions = models.JSONField(default=list)  # numbers of the extensions that were in it, for "own recordings"
    dual_tracks = models.BooleanField(default=False)
    pause_style = models.CharField(max_length=7, default="skip")
    announced = models.BooleanField(default=False)  # callers were told of it
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)  # when the first segment began
    ended_at = models.DateTimeField(null=True, blank=True)  # when the last one ended, once the call is over
    ready_at = models.DateTimeField(null=True, blank=True)
    # Of what is played and downloaded: its files, joined.
    duration_ms = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0)  # bytes
    sha256 = models.CharField(max_length=64, blank=True, default="")
    legal_hold = models.BooleanField(default=False)
    legal_hold_reason = models.CharField(max_length=300, blank=True, default="")
    trashed_at = models.DateTimeField(null=True, blank=True)
    purge_began_at = models.DateTimeField(null=True, blank=True)  # its files go: it cannot come back
    deleted_at = models.DateTimeField(null=True, blank=True)
    deletion = models.CharField(max_length=300, blank=True, default="")  # who or what deleted it, in words

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["switch_session_id", "medium"], name="recording_once")]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="recording_list"),
            models.Index(
                fields=["-created_at", "-id"], condition=~Q(state__in=["trashed", "deleted"]), name="recording_shown"
            ),
            models.Index(fields=["session_id"], name="recording_by_session"),
            models.Index(
                fields=["caller", "-created_at", "-id"], name="recording_by_caller",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            models.Index(
                fields=["callee", "-created_at", "-id"], name="recording_by_callee",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            models.Index(fields=["state", "created_at"], name="recording_by_state"),
            GinIndex(fields=["extensions"], opclasses=["jsonb_path_ops"], name="recording_by_extension"),
            models.Index(fields=["trashed_at"], condition=Q(state="trashed"), name="recording_trash"),
            models.Index(fields=["-created_at", "-id"], condition=Q(legal_hold=True), name="recording_held"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.medium} of {self.session_id}"

    @property
    def is_live(self) -> bool:
        return self.ended_at is None


class Segment(models.Model):
    """A stretch that a switch records in one go. A transfer begins a new one, and so does a start after a stop."""

    class State(models.TextChoices):
        STARTING = "starting", "Starting"
        RUNNING = "running", "Running"
        STOPPING = "stopping", "Stopping"
        ENDED = "ended", "Ended"
        FAILED = "failed", "Failed"  # never ran

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="segments")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.STARTING)
    legs = models.JSONField(default=list)  # who was connected when it began: [session_id, target_id] each
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=32, blank=True, default="")  # a word of `Gap.Reason`, transfer, call_ended
    problem = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["recording_id", "number"]
        constraints = [models.UniqueConstraint(fields=["recording", "number"], name="segment_once")]

    def __str__(self) -> str:
        return f"{self.recording_id}/{self.number}"


class Gap(models.Model):
    """A stretch of the call that is not in the recording, and why. `until` is null while it lasts."""

    class Reason(models.TextChoices):
        PAUSED = "paused", "Paused"
        STOPPED = "stopped", "Stopped by hand"
        EXTERNAL = "external_numbers", "Between external numbers"
        SWITCHES = "switched_off", "Recording was switched off"
        TRANSFER = "transfer", "Transfer"
        FAILED = "failed", "The switch failed to record"

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="gaps")
    medium = models.CharField(max_length=5, choices=MEDIUM_CHOICES)  # audio in a video: only its sound is missing
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    # False while only commanded: until the switch confirms, it was recorded.
    is_confirmed = models.BooleanField(default=True)
    reason = models.CharField(max_length=16, choices=Reason.choices)
    begun_by = models.CharField(max_length=200, blank=True, default="")  # a name, with the kind before it
    begun_via = models.CharField(max_length=20, blank=True, default="")  # a word of `control.Via`
    ended_by = models.CharField(max_length=200, blank=True, default="")
    ended_via = models.CharField(max_length=20, blank=True, default="")

    class Meta:
        ordering = ["since", "id"]
        constraints = [
            models.UniqueConstraint(fields=["recording", "medium"], condition=Q(until=None), name="gap_open_once")
        ]
        indexes = [models.Index(fields=["since"], condition=Q(until=None, reason="paused"), name="gap_open_pauses")]

    def __str__(self) -> str:
        return f"{self.reason} {self.since}"


class Decision(models.Model):
    """What was decided, by which rule, under which settings, what was commanded, and what the switch answered."""

    class Outcome(models.TextChoices):
        NONE = "none", "Nothing to do"
        PENDING = "pending", "Waiting for the switch"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "The switch did not answer in time"

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    session_id = models.CharField(max_length=128)
    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, null=True, blank=True, related_name="decisions")
    at = models.DateTimeField()
    medium = models.CharField(max_length=5, choices=MEDIUM_CHOICES)
    rule = models.CharField(max_length=24)  # a word of `policy.Rule`, or `control.Cause`
    record = models.BooleanField()
    extension = models.CharField(max_length=64, blank=True, default="")  # whose switch it was
    settings = models.JSONField(default=dict)  # those in force: {"tenant": {...}, "users": {...}, "system": {...}}
    parties = models.JSONField(default=list)  # who was connected: [{"number", "kind"}]
    actor = models.CharField(max_length=200, blank=True, default="")
    via = models.CharField(max_length=20, blank=True, default="")
    command = models.CharField(max_length=16, blank=True, default="")
    command_id = models.BigIntegerField(null=True, blank=True)
    segment = models.PositiveIntegerField(default=0)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.NONE)
    outcome_reason = models.CharField(max_length=300, blank=True, default="")
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["session_id", "at", "id"], name="decision_by_session"),
            models.Index(fields=["command_id"], condition=~Q(command_id=None), name="decision_by_command"),
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.medium}"


class TenantKey(models.Model):
    """Wraps the data keys of the files, and is wrapped by the installation's key. Without it its files are noise."""

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    wrapped = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"of {self.created_at:%Y-%m-%d}"


class RecordingFile(models.Model):
    """A file as it came, of one segment; one that no segment is known for, or that is no good, is quarantined."""

    class State(models.TextChoices):
        STORED = "stored", "Stored"  # whole and hashed, not yet probed
        READY = "ready", "Ready"
        QUARANTINED = "quarantined", "Quarantined"
        DELETED = "deleted", "Deleted"

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    segment = models.OneToOneField(Segment, on_delete=models.CASCADE, null=True, blank=True, related_name="file")
    # Whose it is while no segment has it: as its sender said, or the person who gave it to a recording.
    said_recording_id = models.CharField(max_length=64, blank=True, default="")
    said_segment = models.PositiveIntegerField(default=1)
    switch_id = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=State.choices, default=State.STORED)
    problem = models.CharField(max_length=300, blank=True, default="")  # why it is quarantined, in words
    storage_key = models.CharField(max_length=200)
    wrapped_key = models.BinaryField(default=b"")  # its data key, wrapped by the tenant's; empty: stored in the clear
    size = models.BigIntegerField(default=0)  # bytes of the file as it came
    sha256 = models.CharField(max_length=64)
    content_type = models.CharField(max_length=100)
    received_at = models.DateTimeField(default=timezone.now)
    probe_until = models.DateTimeField(null=True, blank=True)  # an examination that is not over by then was lost
    probe_tries = models.PositiveSmallIntegerField(default=0)
    probed_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.BigIntegerField(default=0)
    audio_codec = models.CharField(max_length=32, blank=True, default="")
    video_codec = models.CharField(max_length=32, blank=True, default="")
    channels = models.PositiveSmallIntegerField(default=0)
    sample_rate = models.PositiveIntegerField(default=0)
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    peaks = models.BinaryField(default=b"")  # int8 per channel and step, see `recordings.peaks`
    data_offset = models.BigIntegerField(default=0)  # where the samples of a WAV begin,
    data_size = models.BigIntegerField(default=0)  # and how many bytes they are
    # Made of all its segments for playing, where they cannot be joined while they are read: see `recordings.joined`.
    joined_of = models.OneToOneField(
        Recording, on_delete=models.CASCADE, null=True, blank=True, related_name="joined_file"
    )

    class Meta:
        ordering = ["received_at", "id"]
        indexes = [
            models.Index(fields=["state", "received_at"], name="file_by_state"),
            models.Index(fields=["sha256"], name="file_by_hash"),
            models.Index(
                fields=["said_recording_id"], condition=Q(state="quarantined"), name="file_quarantined_by_recording"
            ),
        ]

    def __str__(self) -> str:
        return self.storage_key


class Play(models.Model):
    """Somebody listened to a recording, watched it or took it away. Outlives the recording."""

    class Kind(models.TextChoices):
        PLAY = "play", "Played"
        DOWNLOAD = "download", "Downloaded"
        BULK = "bulk", "Downloaded with others"

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    recording_id = models.BigIntegerField()
    session_id = models.CharField(max_length=128)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)  # of the last request of the same listening
    actor_kind = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    actor_id = models.CharField(max_length=64, blank=True, default="")
    on_behalf = models.CharField(max_length=200, blank=True, default="")
    address = models.CharField(max_length=64, blank=True, default="")
    sent = models.BigIntegerField(default=0)  # bytes
    reason = models.CharField(max_length=300, blank=True, default="")
    bulk_id = models.BigIntegerField(null=True, blank=True)  # the `Bulk` it was taken away with

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            # A ZIP whose maker died is made again.
            models.UniqueConstraint(
                fields=["bulk_id", "recording_id"], condition=~Q(bulk_id=None), name="play_once_in_bulk"
            )
        ]
        indexes = [models.Index(fields=["recording_id", "-at", "-id"], name="play_by_recording")]

    def __str__(self) -> str:
        return f"{self.kind} {self.recording_id}"


class Bulk(models.Model):
    """Several recordings in one ZIP, made by a task for the person who asked, kept for a day."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        GONE = "gone", "Gone"  # its time is over, or a recording in it was deleted

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    problem = models.CharField(max_length=300, blank=True, default="")
    recording_ids = models.JSONField(default=list)  # in the order of the list
    done = models.PositiveIntegerField(default=0)  # recordings that are in it
    actor_kind = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    actor_id = models.CharField(max_length=64, blank=True, default="")
    on_behalf = models.CharField(max_length=200, blank=True, default="")
    address = models.CharField(max_length=64, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    progress_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True, blank=True)
    storage_key = models.CharField(max_length=200, blank=True, default="")
    wrapped_key = models.BinaryField(default=b"")
    size = models.BigIntegerField(default=0)  # bytes
    sha256 = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["created_at"], condition=~Q(state="gone"), name="bulk_expiry"),
            GinIndex(
                fields=["recording_ids"], opclasses=["jsonb_path_ops"], condition=~Q(state="gone"),
                name="bulk_by_recording",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{len(self.recording_ids)} recordings for {self.actor}"
