"""What came in and could not be applied: events that wait for their call, and the quarantine. Public schema."""

from django.db import models
from django.db.models import Q
from django.utils import timezone


class HeldEvent(models.Model):
    """An event that came before its `call.started`. It waits HOLD_SECONDS, then goes to quarantine."""

    switch_id = models.BigIntegerField()
    event_id = models.CharField(max_length=128)
    session_id = models.CharField(max_length=128)
    body = models.TextField()  # JSON, as `cdr.callevent_json` writes it
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["switch_id", "event_id"], name="held_event_once")]
        indexes = [
            models.Index(fields=["switch_id", "session_id"], name="held_by_session"),
            models.Index(fields=["received_at"], name="held_by_age"),
        ]

    def __str__(self) -> str:
        return self.event_id


class Quarantined(models.Model):
    """Something a switch sent that could not be used, kept with the reason, to be run again.

    A finished CDR is kept byte for byte, an event as JSON; a recording's file lies in the vault, its id is kept here.
    """

    class Kind(models.TextChoices):
        EVENT = "event", "Call event"
        CDR = "cdr", "Finished CDR"
        FILE = "file", "Recording file"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        APPLIED = "applied", "Applied"
        DISCARDED = "discarded", "Discarded"

    switch_id = models.BigIntegerField()
    kind = models.CharField(max_length=5, choices=Kind.choices)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    session_id = models.CharField(max_length=128, blank=True, default="")
    event_id = models.CharField(max_length=128, blank=True, default="")
    code = models.CharField(max_length=40)
    message = models.CharField(max_length=500)
    raw = models.BinaryField()
    digest = models.CharField(max_length=64)  # of raw; what waits is kept once, however often the switch repeats it
    received_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "quarantined"
        constraints = [
            models.UniqueConstraint(
                fields=["switch_id", "kind", "digest"], condition=Q(state="waiting"), name="quarantined_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["switch_id", "session_id", "id"], condition=Q(state="waiting"), name="quarantine_by_session"
            ),
            models.Index(fields=["-id"], condition=Q(state="waiting"), name="quarantine_waiting"),
            models.Index(fields=["code", "-id"], condition=Q(state="waiting"), name="quarantine_by_code"),
            models.Index(fields=["settled_at"], condition=~Q(settled_at=None), name="quarantine_pruning"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.session_id}"
