"""Calls in progress as the events that tell them, and the call detail records they become."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

NAMES = ("caller_display_name", "callee_display_name", "final_display_name")  # what a search by words looks in


class Direction(models.TextChoices):
    INBOUND = "inbound", "Inbound"
    OUTBOUND = "outbound", "Outbound"
    INBOUND_OUTBOUND = "inbound_outbound", "Inbound to outbound"
    INTERNAL = "internal", "Internal"


class CallStatus(models.TextChoices):
    ANSWERED = "answered", "Answered"
    NOANSWER = "noanswer", "No answer"
    FAILED = "failed", "Failed"


class LiveSession(models.Model):
    """A call while it lasts, and for some hours after, so that late events can correct its record.

    The truth is in its `CallEventRow`s; the columns here are what lists and locks need.
    """

    session_id = models.CharField(max_length=128, primary_key=True)
    switch_id = models.BigIntegerField()
    caller = models.CharField(max_length=64)
    callee = models.CharField(max_length=64)
    direction = models.CharField(max_length=16, choices=Direction.choices)
    start_time = models.DateTimeField()
    answered_time = models.DateTimeField(null=True, blank=True)
    ended_time = models.DateTimeField(null=True, blank=True)
    last_event_at = models.DateTimeField(default=timezone.now)
    merged_into = models.CharField(max_length=128, blank=True, default="")
    cdr_id = models.BigIntegerField(default=0)  # the id its record will have, told while the call lasts
    incomplete = models.BooleanField(default=False)
    extensions = models.JSONField(default=list)  # as in its record; no index: what is in progress is few
    call_ids = models.JSONField(default=list)  # of the SIP dialogs that are in it

    class Meta:
        ordering = ["-start_time", "session_id"]
        indexes = [
            models.Index(fields=["-start_time", "session_id"], condition=Q(ended_time=None), name="live_in_progress"),
            models.Index(fields=["last_event_at"], condition=Q(ended_time=None), name="live_silent"),
            models.Index(fields=["ended_time"], condition=~Q(ended_time=None), name="live_pruning"),
            models.Index(fields=["merged_into"], condition=~Q(merged_into=""), name="live_merged"),
        ]

    def __str__(self) -> str:
        return self.session_id


class CallEventRow(models.Model):
    """One CallEvent as it came, kept while its session is live. Its key makes a repeat harmless."""

    switch_id = models.BigIntegerField()
    event_id = models.CharField(max_length=128)
    session_id = models.CharField(max_length=128)
    body = models.TextField()  # JSON, as `cdr.callevent_json` writes it

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["switch_id", "event_id"], name="call_event_once")]
        indexes = [models.Index(fields=["session_id", "id"], name="call_event_by_session")]

    def __str__(self) -> str:
        return self.event_id


class CDR(models.Model):
    """The session's record, written once, when it ends; a late event corrects it. Times are null when never."""

    session_id = models.CharField(max_length=128, unique=True)
    call_id = models.CharField(max_length=256, blank=True, default="")
    direction = models.CharField(max_length=16, choices=Direction.choices)
    caller = models.CharField(max_length=64)
    caller_display_name = models.CharField(max_length=200, blank=True, default="")
    caller_domain = models.CharField(max_length=253, blank=True, default="")
    callee = models.CharField(max_length=64)
    callee_display_name = models.CharField(max_length=200, blank=True, default="")
    callee_domain = models.CharField(max_length=253, blank=True, default="")
    final_display_name = models.CharField(max_length=200, blank=True, default="")
    did = models.CharField(max_length=64, blank=True, default="")
    trunk_name = models.CharField(max_length=100, blank=True, default="")
    outbound_caller_id = models.CharField(max_length=64, blank=True, default="")
    start_time = models.DateTimeField()
    ring_time = models.DateTimeField(null=True, blank=True)
    answered_time = models.DateTimeField(null=True, blank=True)
    ended_time = models.DateTimeField()
    ring_duration = models.IntegerField(default=0)  # seconds
    talk_duration = models.IntegerField(default=0)  # seconds
    status = models.CharField(max_length=8, choices=CallStatus.choices)
    status_code = models.IntegerField(default=0)  # SIP status of a failed call, 0 = no error
    end_reason = models.CharField(max_length=32, blank=True, default="")  # empty: None
    user_data = models.TextField(blank=True, default="")
    cost = models.DecimalField(max_digits=14, decimal_places=5, null=True, blank=True)
    extensions = models.JSONField(default=list)  # numbers of the extensions that took part, for "own calls"
    recorded = models.BooleanField(default=False)  # set by the recordings room
    incomplete = models.BooleanField(default=False)  # the switch vanished or never said the end
    merged_sessions = models.JSONField(default=list)  # session ids that an attended transfer merged into this
    switch_id = models.BigIntegerField(default=0)
    version = models.IntegerField(default=1)
    changed_in = models.BigIntegerField(default=0)  # the id of the event that told its creation or last correction

    class Meta:
        ordering = ["-start_time", "-id"]
        indexes = [
            models.Index(fields=["changed_in"], name="cdr_changes"),
            models.Index(fields=["-start_time", "-id"], name="cdr_list"),
            models.Index(
                fields=["caller", "-start_time", "-id"],
                name="cdr_by_caller",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            models.Index(
                fields=["callee", "-start_time", "-id"],
                name="cdr_by_callee",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            # One for each filter of the list, so that a rare value is found without walking the whole ledger.
            models.Index(fields=["direction", "-start_time", "-id"], name="cdr_by_direction"),
            models.Index(fields=["status", "-start_time", "-id"], name="cdr_by_status"),
            models.Index(fields=["end_reason", "-start_time", "-id"], name="cdr_by_end_reason"),
            models.Index(fields=["trunk_name", "-start_time", "-id"], condition=~Q(trunk_name=""), name="cdr_by_trunk"),
            models.Index(fields=["did", "-start_time", "-id"], condition=~Q(did=""), name="cdr_by_did"),
            models.Index(fields=["-start_time", "-id"], condition=Q(recorded=True), name="cdr_recorded"),
            models.Index(fields=["talk_duration"], name="cdr_by_talk"),
            GinIndex(fields=["extensions"], opclasses=["jsonb_path_ops"], name="cdr_by_extension"),
            GinIndex(SearchVector(*NAMES, config="simple"), name="cdr_by_name"),
        ]

    def __str__(self) -> str:
        return self.session_id


class DeletedCDR(models.Model):
    """What is left of a record that was deleted: that it was, and where in the event log this was told."""

    session_id = models.CharField(max_length=128)
    changed_in = models.BigIntegerField()

    class Meta:
        ordering = ["changed_in"]
        indexes = [models.Index(fields=["changed_in"], name="deleted_cdr_changes")]

    def __str__(self) -> str:
        return self.session_id


class Target(models.Model):
    """One device, IVR, queue, agent or trunk that the call was offered to."""

    cdr = models.ForeignKey(CDR, on_delete=models.CASCADE, related_name="targets")
    position = models.IntegerField()
    target_id = models.CharField(max_length=128, blank=True, default="")  # the switch's
    kind = models.CharField(max_length=9)  # extension, external or service
    call_type = models.CharField(max_length=16, default="normal_call")
    caller = models.CharField(max_length=64)
    callee = models.CharField(max_length=64)
    callee_display_name = models.CharField(max_length=200, blank=True, default="")
    destination = models.CharField(max_length=300, blank=True, default="")
    trunk_name = models.CharField(max_length=100, blank=True, default="")
    outbound_caller_id = models.CharField(max_length=64, blank=True, default="")
    start_time = models.DateTimeField()
    ring_time = models.DateTimeField(null=True, blank=True)
    answered_time = models.DateTimeField(null=True, blank=True)
    ended_time = models.DateTimeField()
    end_reason = models.CharField(max_length=32, blank=True, default="")
    status_code = models.IntegerField(default=0)
    cost = models.DecimalField(max_digits=14, decimal_places=5, null=True, blank=True)
    held = models.JSONField(default=list)  # [[from, to], ...] as RFC 3339

    class Meta:
        ordering = ["cdr_id", "position"]

    def __str__(self) -> str:
        return f"{self.callee} ({self.position})"


class Tally(models.Model):
    """How many calls began in one quarter of an hour, and what they add up to, for one value of one subject.

    Kept by the ledger in the transaction of each record (`cdr.tallies`). A quarter, in UTC, because the days and hours
    of every zone in use begin at one.
    """

    class Subject(models.TextChoices):
        ALL = "", "All calls"
        EXTENSION = "extension", "Extension"
        TRUNK = "trunk", "Trunk"
        DID = "did", "DID/DDI"
        END_REASON = "end_reason", "End reason"

    subject = models.CharField(max_length=10, choices=Subject.choices, blank=True)
    value = models.CharField(max_length=100, blank=True)
    bucket = models.DateTimeField()  # its beginning
    direction = models.CharField(max_length=16, choices=Direction.choices)
    calls = models.IntegerField()
    answered = models.IntegerField()
    missed = models.IntegerField()  # came in and were not answered
    met = models.IntegerField()  # reached a person, not only a menu or a queue
    wait_seconds = models.BigIntegerField()  # of those, from the start until then
    talk_seconds = models.BigIntegerField()
    billed = models.IntegerField()  # have a cost
    cost = models.DecimalField(max_digits=18, decimal_places=5)

    class Meta:
        ordering = ["subject", "bucket", "value", "direction"]
        verbose_name_plural = "tallies"
        constraints = [
            models.UniqueConstraint(fields=["subject", "bucket", "value", "direction"], name="tally_once"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.value} {self.bucket}"


class ListExport(models.Model):
    """A list as a file, made by a task for the one who asked (`cdr.exports`)."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    list_name = models.CharField(max_length=32)
    query = models.TextField(blank=True, default="")  # the filters, as the address of the list holds them
    fields = models.JSONField(default=list)  # names, in the order of the file
    form = models.CharField(max_length=6)  # csv, xlsx or ndjson
    time_zone = models.CharField(max_length=64)
    owner = models.CharField(max_length=80)  # who asked, and alone may take it away
    owner_name = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    done = models.IntegerField(default=0)  # rows written
    total = models.IntegerField(default=0)  # about so many there are
    size = models.BigIntegerField(default=0)  # bytes
    problem = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)  # "today" and "now" of its filters are of this moment
    seen_at = models.DateTimeField(default=timezone.now)  # when its task last wrote
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner", "-id"], name="list_export_by_owner"),
            models.Index(fields=["created_at"], name="list_export_pruning"),
        ]

    def __str__(self) -> str:
        return f"{self.list_name} {self.pk}"


class RateRule(models.Model):
    """What a call to a number costs (`spec/facts.md`, section 7). The longest prefix wins."""

    prefix = models.CharField(max_length=32)
    note = models.CharField(max_length=200, blank=True, default="")
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, blank=True)
    free_seconds = models.IntegerField(default=0)
    connect_fee = models.DecimalField(max_digits=12, decimal_places=5, default=0)
    postcall_surcharge = models.DecimalField(max_digits=7, decimal_places=5, default=0)  # a fraction
    grace_period = models.IntegerField(default=0)  # seconds; shorter calls are free
    price_1 = models.DecimalField(max_digits=12, decimal_places=5, default=0)  # per minute
    price_n = models.DecimalField(max_digits=12, decimal_places=5, default=0)  # per minute
    interval_1 = models.IntegerField(default=60)  # seconds
    interval_n = models.IntegerField(default=60)  # seconds

    class Meta:
        ordering = ["prefix", "valid_from"]
        constraints = [
            models.UniqueConstraint(Lower("prefix"), "valid_from", name="rate_rule_once", nulls_distinct=False),
            models.CheckConstraint(condition=Q(interval_1__gte=0, interval_n__gt=0), name="rate_rule_intervals"),
        ]

    def __str__(self) -> str:
        return self.prefix
