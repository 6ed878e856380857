"""Reads: lists as ordered querysets that go on after a given row."""

from datetime import datetime

from django.db.models import F, Q, QuerySet

from accounts.models import AuditEntry, Extension, User


def users_by_extension(after: tuple[str | None, str] | None = None) -> "QuerySet[User]":
    """Users in order of their extension's number, those without one last; `after` is a number and a user name."""
    rows = User.objects.select_related("extension").order_by(F("extension__number").asc(nulls_last=True), "username")
    if after is None:
        return rows
    number, username = after
    if number is None:
        return rows.filter(extension__isnull=True, username__gt=username)
    return rows.filter(Q(extension__number__gt=number) | Q(extension__isnull=True))


def matching_users(rows: "QuerySet[User]", words: str) -> "QuerySet[User]":
    """By the start of the number, or a part of name or address."""
    if not words:
        return rows
    return rows.filter(
        Q(extension__number__startswith=words)
        | Q(username__icontains=words)
        | Q(display_name__icontains=words)
        | Q(email__icontains=words)
    )


def extensions_by_number(after: str = "") -> "QuerySet[Extension]":
    rows = Extension.objects.select_related("user").prefetch_related("credentials").order_by("number")
    return rows.filter(number__gt=after) if after else rows


def audit_entries(before: tuple[datetime, int] | None = None) -> "QuerySet[AuditEntry]":
    """The newest first; `before` is the time and id of the last one seen."""
    rows = AuditEntry.objects.order_by("-at", "-id")
    if before is None:
        return rows
    at, entry_id = before
    return rows.filter(Q(at__lt=at) | Q(at=at, id__lt=entry_id))


def last_change(subject_id: object, action: str, field: str) -> AuditEntry | None:
    """Who last changed this field of this thing."""
    return (
        AuditEntry.objects.filter(subject_id=str(subject_id), action=action, after__has_key=field)
        .order_by("-at", "-id")
        .first()
    )
