"""The audit trail: every announced change becomes an entry of the schema it happened in."""

from accounts.models import AuditEntry
from tenants.changes import Change


def record(change: Change) -> None:
    """Runs in the transaction of the change: what is not noted does not happen."""
    AuditEntry.objects.create(
        actor_kind=change.actor.kind,
        actor=change.actor.name[:200],
        actor_id=change.actor.id[:64],
        on_behalf=change.actor.on_behalf[:200],
        address=change.actor.address[:64],
        action=change.action,
        subject=change.subject[:300],
        subject_id=change.subject_id[:128],
        before=dict(change.before),
        after=dict(change.after),
    )
