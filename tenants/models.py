"""The public schema: who the tenants are, how a call finds its tenant, and which switches are connected."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django_tenants.models import DomainMixin, TenantMixin

from tenants.ids import new_id


class Tenant(TenantMixin):  # type: ignore[misc]
    """A customer of the provider, with a schema of its own. `host` is the label of its portal host."""

    class State(models.TextChoices):
        CREATING = "creating", "Being created"
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"
        FAILED = "failed", "Creation failed"
        DELETING = "deleting", "Being deleted"

    class PauseStyle(models.TextChoices):
        SKIP = "skip", "Skip the time"
        SILENCE = "silence", "Leave silence"

    class QuotaFull(models.TextChoices):
        KEEP = "keep", "Keep every recording, beyond the quota"
        OLDEST = "oldest", "Delete the oldest recordings"

    id = models.BigIntegerField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200)
    host = models.CharField(max_length=63, unique=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.CREATING)
    # What the task that makes or drops the schema said last, and when.
    progress = models.CharField(max_length=200, blank=True, default="")
    progress_at = models.DateTimeField(default=timezone.now)
    time_zone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3, default="EUR")
    enable_extension_audio_recording = models.BooleanField(default=False)
    enable_extension_video_recording = models.BooleanField(default=False)
    record_dual_tracks = models.BooleanField(default=False)  # caller on one channel, callee on the other
    pause_style = models.CharField(max_length=7, choices=PauseStyle.choices, default=PauseStyle.SKIP)
    longest_pause_seconds = models.PositiveIntegerField(default=0)  # then it is resumed by itself; 0 = never
    announce_recording = models.BooleanField(default=False)  # callers are told; the CDR carries it
    recording_days = models.PositiveSmallIntegerField(default=180)  # how long recordings are kept
    recording_quota_mb = models.BigIntegerField(default=0)  # 0 = none
    when_quota_full = models.CharField(max_length=6, choices=QuotaFull.choices, default=QuotaFull.KEEP)
    ask_play_reason = models.BooleanField(default=False)  # whoever listens says why
    start_recording_code = models.CharField(max_length=7, default="*44")
    stop_recording_code = models.CharField(max_length=7, default="*45")
    pause_recording_code = models.CharField(max_length=7, default="*48")
    resume_recording_code = models.CharField(max_length=7, default="*49")
    event_types = models.JSONField(default=list)  # what its event log keeps beside finished and corrected calls
    event_log_days = models.PositiveSmallIntegerField(default=30)  # how long its event log keeps an event
    simulated = models.BooleanField(default=False)  # a demo tenant, marked as such wherever it shows
    version = models.PositiveIntegerField(default=1)  # optimistic locking of its settings page
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    auto_create_schema = False
    auto_drop_schema = False

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(host__regex=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$") | Q(schema_name="public"),
                name="tenant_host_is_a_label",
            ),
            models.CheckConstraint(condition=Q(event_log_days__range=(1, 365)), name="tenant_event_log_days_to_a_year"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.state == self.State.ACTIVE


class Domain(DomainMixin):  # type: ignore[misc]
    """A portal host, as the browser names it."""

    class Meta:
        ordering = ["domain"]

    def __str__(self) -> str:
        return str(self.domain)


class TenantExport(models.Model):
    """A ZIP of everything a tenant's tables hold, made by a task, for an administrator to take away."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="exports")
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    progress = models.CharField(max_length=200, blank=True, default="")
    with_recordings = models.BooleanField(default=False)
    file_name = models.CharField(max_length=200, blank=True, default="")  # below EXPORT_DIR
    size = models.BigIntegerField(default=0)  # bytes
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.file_name or self.state


class SipDomain(models.Model):
    """A SIP domain of a tenant; the primary one is the realm of its digests and the `callee_domain` of its CDRs."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="sip_domains")
    domain = models.CharField(max_length=253)
    is_primary = models.BooleanField(default=False)

    class Meta:
        ordering = ["-is_primary", "domain"]
        constraints = [
            models.UniqueConstraint(Lower("domain"), name="sip_domain_of_one_tenant"),
            models.UniqueConstraint(fields=["tenant"], condition=Q(is_primary=True), name="sip_domain_one_primary"),
        ]

    def __str__(self) -> str:
        return self.domain


class Switch(models.Model):
    """A PBX this portal is connected to. Its token is kept as a hash, its credentials encrypted."""

    class Kind(models.TextChoices):
        ASTERISK = "asterisk", "Asterisk"
        FREESWITCH = "freeswitch", "FreeSWITCH"
        HTTP = "http", "HTTP (Switch API)"
        SIMULATOR = "simulator", "Simulator"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    enabled = models.BooleanField(default=True)
    # Kind-specific and not secret: addresses and ports, by the names the adapter documents.
    address = models.JSONField(default=dict, blank=True)
    credentials = models.TextField(blank=True, default="")  # JSON, encrypted
    token_hash = models.CharField(max_length=64, unique=True, null=True, blank=True)
    token_hint = models.CharField(max_length=16, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_event_at = models.DateTimeField(null=True, blank=True)
    # What its connector last said: connected, connecting, or why it is not.
    connector_state = models.CharField(max_length=20, blank=True, default="")
    connector_message = models.CharField(max_length=300, blank=True, default="")
    connector_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "switches"

    def __str__(self) -> str:
        return self.name


class Trunk(models.Model):
    """A line to the outside. A tenant's own, or shared by all when `tenant` is empty."""

    name = models.CharField(max_length=100, unique=True)
    switch = models.ForeignKey(Switch, on_delete=models.SET_NULL, null=True, blank=True, related_name="trunks")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="trunks")
    # What the switch calls it in its channel names (an Asterisk endpoint, a FreeSWITCH gateway), when not `name`.
    switch_name = models.CharField(max_length=100, blank=True, default="")
    host = models.CharField(max_length=253, blank=True, default="")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class InboundRule(models.Model):
    """Which tenant a call from a trunk belongs to, by the number dialled. The longest match wins."""

    class Kind(models.TextChoices):
        DID = "did", "DID"
        PREFIX = "prefix", "Prefix"

    kind = models.CharField(max_length=6, choices=Kind.choices, default=Kind.DID)
    number = models.CharField(max_length=32)
    trunk = models.ForeignKey(Trunk, on_delete=models.CASCADE, null=True, blank=True, related_name="inbound_rules")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="inbound_rules")
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["number", "kind", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["number", "kind", "trunk"],
                name="inbound_rule_of_one_tenant",
                nulls_distinct=False,
                violation_error_message="This number already has an inbound rule.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number}*" if self.kind == self.Kind.PREFIX else self.number


class SessionRoute(models.Model):
    """Which switch and tenant a session_id belongs to; it makes the id unique in the installation."""

    session_id = models.CharField(max_length=128, primary_key=True)
    switch_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="session_route_pruning")]

    def __str__(self) -> str:
        return self.session_id


class SwitchCommand(models.Model):
    """The outbox: what a switch was told to do with a recording or a call, until it says what became of it.

    A command about a call, launch_call, has no recording, segment or medium; its session is the one that it begins.
    """

    class Command(models.TextChoices):
        START = "start_recording"
        PAUSE = "pause_recording"
        RESUME = "resume_recording"
        STOP = "stop_recording"
        LAUNCH = "launch_call"

    class State(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        FAILED = "failed"
        EXPIRED = "expired"  # not confirmed in time: it is not handed out any more

    switch = models.ForeignKey(Switch, on_delete=models.CASCADE, related_name="commands")
    tenant_id = models.BigIntegerField()
    command = models.CharField(max_length=16, choices=Command.choices)
    session_id = models.CharField(max_length=128)
    recording_id = models.CharField(max_length=32, blank=True, default="")
    segment = models.PositiveIntegerField(default=1)
    medium = models.CharField(max_length=5, choices=[("audio", "audio"), ("video", "video")], blank=True, default="")
    # How to record: pause_style, dual_tracks. Whom to connect: domain, caller, callee, user_data.
    options = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=300, blank=True, default="")
    at = models.DateTimeField(default=timezone.now)
    handed_out_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["switch", "id"], condition=Q(state="pending"), name="command_pending_by_switch"),
            models.Index(
                fields=["-confirmed_at"], condition=Q(state__in=["failed", "expired"]), name="command_failed_lately"
            ),
            models.Index(fields=["session_id"], name="command_by_session"),
            models.Index(fields=["recording_id"], name="command_by_recording"),  # finds whose a file is
        ]

    def __str__(self) -> str:
        return f"{self.command} {self.recording_id}/{self.segment}"


class SystemSettings(models.Model):
    """What holds for the whole installation: one row, made by the first migration."""

    record_external_calls = models.BooleanField("Record the call between external numbers", default=True)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name_plural = "system settings"

    def __str__(self) -> str:
        return "System settings"

    @classmethod
    def current(cls, **kwargs: Any) -> "SystemSettings":
        return cls.objects.get_or_create(pk=1, defaults=kwargs)[0]


class CallsToLookAt(models.Model):
    """A tenant in which a recording switch was changed, until its calls in progress were looked at again."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True)
    changed_at = models.DateTimeField()  # the last change: what was looked at before it does not count
    due_at = models.DateTimeField()  # then the sweep sends another task, whatever became of the first one

    def __str__(self) -> str:
        return f"{self.tenant_id} since {self.changed_at}"


class WorkerHeartbeat(models.Model):
    """When each kind of background process was last seen, for /readyz."""

    name = models.CharField(max_length=50, primary_key=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
