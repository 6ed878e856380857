"""Each tenant's event log, and the webhook endpoints and deliveries that hang on it."""

import orjson
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone


class EventCounter(models.Model):
    """One row: the id given last. The writing transaction holds it, so no late commit can slip under a reader."""

    last_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.last_id)


class Event(models.Model):
    """A fact told to the outside. `body` and `body_v22` are the exact bytes of each payload profile, in UTF-8."""

    id = models.BigIntegerField(primary_key=True)
    type = models.CharField(max_length=40)
    session_id = models.CharField(max_length=128)
    sequence = models.IntegerField()  # within the session, from 1
    time = models.DateTimeField(default=timezone.now)  # of the fact, which may be long ago
    written_at = models.DateTimeField(default=timezone.now)
    body = models.TextField()
    body_v22 = models.TextField(blank=True, default="")  # empty: the same as body

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["session_id", "sequence"], name="event_sequence_in_session")]
        indexes = [
            models.Index(fields=["written_at"], name="event_pruning"),
            models.Index(fields=["type", "id"], name="event_by_type"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    def payload(self, profile: str) -> str:
        return self.body_v22 or self.body if profile == Profile.V22 else self.body


class PrunedSession(models.Model):
    """The last sequence of a session whose events are not all kept: one that comes later goes on from there."""

    session_id = models.CharField(max_length=128, primary_key=True)
    sequence = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.session_id} {self.sequence}"


class Profile(models.TextChoices):
    V16 = "v16", "v16"
    V22 = "v22", "v22"


class Endpoint(models.Model):
    """An address that events are posted to. Password, bearer token and signing secret are kept encrypted."""

    class Auth(models.TextChoices):
        DISABLE = "disable", "Disable"
        BASIC = "basic", "Basic Authentication"
        DIGEST = "digest", "Digest Authentication"
        BEARER = "bearer", "Bearer Authentication"

    url = models.CharField(max_length=2000)
    enabled = models.BooleanField(default=True)
    auth = models.CharField(max_length=7, choices=Auth.choices, default=Auth.DISABLE)
    username = models.CharField(max_length=64, blank=True, default="")
    password = models.TextField(blank=True, default="")
    token = models.TextField(blank=True, default="")
    secret = models.TextField()
    former_secrets = models.JSONField(default=list, blank=True)  # {"secret", "until"}, newest first: they sign too
    event_types = models.JSONField(default=list)
    profile = models.CharField(max_length=3, choices=Profile.choices, default=Profile.V16)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    disabled_reason = models.CharField(max_length=300, blank=True, default="")
    disabling_untold = models.BooleanField(default=False)  # the portal disabled it, and no administrator knows yet
    failing_since = models.DateTimeField(null=True, blank=True)
    failure_told_at = models.DateTimeField(null=True, blank=True)  # to administrators; before failing_since: of old
    # Since when, and after which event, it missed some: from its switching off until they are sent, or there are none.
    missed_since = models.DateTimeField(null=True, blank=True)
    missed_after = models.BigIntegerField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)  # its deliveries are pruned in batches afterwards
    version = models.IntegerField(default=1)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["id"], condition=Q(enabled=True, deleted_at=None), name="endpoint_enabled")]

    def __str__(self) -> str:
        return self.url


class Delivery(models.Model):
    """One event on its way to one endpoint. PostgreSQL holds its due time; a worker leases it while it tries.

    A test has no event: its bytes stand in `test_body`.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        DELIVERED = "delivered", "Delivered"
        EXHAUSTED = "exhausted", "Gave up"
        STOPPED = "stopped", "Stopped"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries", null=True)
    session_id = models.CharField(max_length=128)
    profile = models.CharField(max_length=3, choices=Profile.choices)  # of the first attempt: retries send its bytes
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    attempts_made = models.IntegerField(default=0)
    step = models.IntegerField(default=0)  # in the retry schedule; sending again begins anew
    started_at = models.DateTimeField(default=timezone.now)  # of this round of the schedule
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    leased_until = models.DateTimeField(null=True, blank=True)
    replay = models.BooleanField(default=False)
    again_at = models.DateTimeField(null=True, blank=True)  # asked for during an attempt: sent again after it
    test_body = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        indexes = [
            # Two ways to say "pending", on purpose: the planner, who believes that nothing ever is, would else take
            # either index for either question, and read all that is pending for each row.
            models.Index(
                fields=["endpoint", "next_attempt_at", "id"],
                condition=Q(next_attempt_at__isnull=False),
                name="delivery_due",
            ),
            models.Index(
                fields=["endpoint", "session_id", "event"],
                condition=Q(finished_at=None),
                name="delivery_order_in_call",
            ),
            models.Index(fields=["endpoint", "-id"], name="delivery_log"),
            models.Index(fields=["state", "-id"], condition=~Q(state="delivered"), name="delivery_not_delivered"),
            models.Index(fields=["session_id", "-id"], name="delivery_by_session"),
            models.Index(fields=["created_at"], condition=Q(event=None), name="delivery_test"),
            BrinIndex(fields=["created_at"], autosummarize=True, name="delivery_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id or 'test'} to {self.endpoint_id}"

    @property
    def is_test(self) -> bool:
        return self.event_id is None

    @property
    def event_type(self) -> str:
        """Of the event, else of the example that a test sent."""
        return str(orjson.loads(self.test_body)["event_type"]) if self.event is None else self.event.type


class Attempt(models.Model):
    """One try of a delivery and what came of it, in words."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField(default=timezone.now)
    latency_ms = models.IntegerField(null=True, blank=True)
    status = models.IntegerField(null=True, blank=True)  # HTTP status; none when there was no answer
    reason = models.CharField(max_length=300, blank=True, default="")
    request_headers = models.JSONField(default=dict)
    response_headers = models.JSONField(default=dict)
    response_body = models.TextField(blank=True, default="")  # its first kilobyte, only from public addresses

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.status or self.reason}"


class Redelivery(models.Model):
    """Many deliveries sent again, or events sent that an endpoint missed: in the order of the log, so many a second.

    `last_event` is how far it has come, `released_until` when the last one released is due.
    """

    class What(models.TextChoices):
        UNACKNOWLEDGED = "unacknowledged", "What was never acknowledged"
        SENT = "sent", "Whatever was sent"
        MISSED = "missed", "What it missed: never on its way to it, or given up"

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="redeliveries")
    what = models.CharField(max_length=14, choices=What.choices)
    from_event = models.BigIntegerField()
    to_event = models.BigIntegerField()
    delivery_state = models.CharField(max_length=9, choices=Delivery.State.choices, blank=True, default="")
    event_type = models.CharField(max_length=40, blank=True, default="")
    session_id = models.CharField(max_length=128, blank=True, default="")
    rate = models.PositiveSmallIntegerField()  # a second
    total = models.IntegerField()  # as counted when it began
    done = models.IntegerField(default=0)
    last_event = models.BigIntegerField()
    released_until = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "redeliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint"], condition=Q(state="running"), name="redelivery_one_running_per_endpoint"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.what} to {self.endpoint_id}"


class Catcher(models.Model):
    """The built-in receiver for trying webhooks: at most one row. The token of its address is kept encrypted."""

    token = models.TextField()
    token_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"since {self.created_at}"


class CaughtRequest(models.Model):
    """A request as the catcher got it; the newest are kept, for a day."""

    class Signature(models.TextChoices):
        VERIFIED = "verified", "Signature verified"
        WRONG = "wrong", "Signature does not verify"
        NONE = "none", "Not signed"

    catcher = models.ForeignKey(Catcher, on_delete=models.CASCADE, related_name="caught")
    at = models.DateTimeField(default=timezone.now)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    signature = models.CharField(max_length=8, choices=Signature.choices)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.at} {self.signature}"
