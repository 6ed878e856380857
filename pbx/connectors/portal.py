"""What a connector asks of the portal and tells it, all of it in the database: run these in a thread of their own."""

import hashlib
from collections.abc import Callable, Sequence, Set
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog
from django.db import close_old_connections, transaction
from django.utils import timezone

from cdr import calls
from cdr.callevents import CallEvent
from pbx import intake
from pbx.connectors.orders import Key, Order, Outcome, order_of
from recordings import files
from tenants import outbox
from tenants.models import SessionRoute, Switch, SwitchCommand, Tenant
from tenants.schemas import enter_public, in_schema

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
_ROUTES_SINCE = timedelta(days=7)
_LOST_AT_ONCE = 500
_MESSAGE_MAX = 300
_CHUNK = 256 * 1024


class NotTakenError(Exception):
    """The portal does not take a file now, and has not kept it; the text is a sentence."""


def with_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In the public schema, on a connection that works, which is given back after."""
    close_old_connections()
    try:
        enter_public()
        return work(*args, **kwargs)
    finally:
        close_old_connections()


def switch_now(switch_id: int) -> Switch | None:
    return Switch.objects.filter(pk=switch_id).first()


def report(switch_id: int, state: str, message: str) -> None:
    """For /readyz and the page of switches."""
    Switch.objects.filter(pk=switch_id).update(
        connector_state=state, connector_message=message[:_MESSAGE_MAX], connector_seen_at=timezone.now()
    )


def take(switch: Switch, events: Sequence[CallEvent]) -> None:
    for result in intake.take(switch, events):
        if result.status == "rejected":
            log.warning("event rejected", switch=switch.name, event=result.id, code=result.code, reason=result.message)


def pending_orders(switch: Switch) -> list[Order]:
    return [order_of(row) for row in outbox.pending_for(switch)]


def confirm(switch: Switch, order: Order, outcome: Outcome) -> bool:
    """False: the portal had given the order up by then."""
    state = SwitchCommand.State.FAILED if outcome.reason else SwitchCommand.State.DONE
    row = outbox.confirm(switch, order.id, state, outcome.reason, outcome.at)
    return row is not None and row.state == state


def give_file(switch: Switch, key: Key, path: Path, *, content_type: str, needless: Set[str]) -> None:
    """Gives a segment's file to the portal. When this returns, nobody needs it on the switch any longer: it was taken,
    kept in quarantine, or refused with a code of `needless`."""
    recording_id, segment = key
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    try:
        with path.open("rb") as file:
            files.receive(
                switch,
                recording_id,
                segment,
                iter(lambda: file.read(_CHUNK), b""),
                content_type=content_type,
                digests={"sha256": digest},
                expected_size=path.stat().st_size,
            )
    except files.FileRefusedError as error:
        if error.kept is None and error.code not in needless:
            raise NotTakenError(error.message) from error
        log.warning("file refused", recording=key, code=error.code, reason=error.message)


def close_sessions_gone(switch: Switch, live: frozenset[str]) -> int:
    """Closes, marked incomplete, what the portal thinks in progress on this switch and the switch no longer knows."""
    since = timezone.now() - _ROUTES_SINCE
    routes = SessionRoute.objects.filter(switch_id=switch.pk, created_at__gte=since)
    tenant_ids = routes.values_list("tenant_id", flat=True).distinct()
    return sum(_close_gone_of(tenant, switch, live) for tenant in Tenant.objects.filter(pk__in=list(tenant_ids)))


def _close_gone_of(tenant: Tenant, switch: Switch, live: frozenset[str]) -> int:
    closed = 0
    with in_schema(tenant.schema_name):
        while True:
            known = calls.sessions_in_progress().filter(switch_id=switch.pk).exclude(session_id__in=list(live))
            gone = list(known.values_list("session_id", flat=True)[:_LOST_AT_ONCE])
            with transaction.atomic():
                now_closed = calls.close_lost_sessions(tenant, switch.pk, gone) if gone else 0
            closed += now_closed
            if now_closed < _LOST_AT_ONCE:
                return closed
