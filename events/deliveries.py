"""Deliveries: leased, tried, settled, sent again. Their state is in PostgreSQL and nowhere else.

A worker leases what is due, tries it, and settles it. One that dies in between leaves a lease that runs out, and the
next attempt sends the same bytes under the same id. Within a call an endpoint gets its events in their order: a
delivery waits while an earlier one of its session is still pending.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from events import catcher, endpoints, samples, signing, wake
from events.log import render
from events.models import Attempt, Delivery, Endpoint
from events.outgoing import ATTEMPT_SECONDS, Answer, Credentials, Inside, Sender
from events.schedule import ROUND_ENDS_WITHIN, Ruling, Verdict, judge
from events.types import DEFAULT
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import current_schema

TESTS_AT_ONCE = 5  # of one tenant
LEASE = timedelta(seconds=2 * ATTEMPT_SECONDS)
GIVE_UP_ON_ENDPOINT = timedelta(days=5)
TEST_EVENT_ID = "0"  # below every id of the log, so that no receiver takes it for a cursor
INTERRUPTED = "Interrupted: the portal stopped before an answer came"
OUTDATED = "Not sent any more: the event is older than events are kept"

log = structlog.get_logger(__name__)
_random = secrets.SystemRandom()
_STATES = {
    Verdict.DELIVERED: Delivery.State.DELIVERED,
    Verdict.RETRY: Delivery.State.PENDING,
    Verdict.EXHAUSTED: Delivery.State.EXHAUSTED,
    Verdict.GONE: Delivery.State.STOPPED,
}


@dataclass(frozen=True)
class Leased:
    """A delivery that this worker may try until its lease ends."""

    id: int
    event_id: int
    body: str
    leased_until: datetime
    step: int
    started_at: datetime
    replay: bool


@dataclass(frozen=True)
class Tried:
    leased: Leased
    at: datetime
    answer: Answer


@dataclass(frozen=True)
class Target:
    """What an attempt needs of its endpoint, with the secrets in clear."""

    endpoint_id: int
    tenant_id: int
    url: str
    credentials: Credentials
    keys: tuple[str, ...]
    inside: Inside | None = None  # when it leads to this tenant's own catcher


def due_endpoints(now: datetime) -> list[int]:
    """Endpoints of this schema that something waits for, and nobody is trying it."""
    waiting = _due(now).filter(endpoint=OuterRef("pk"))
    return list(endpoints.live_endpoints().filter(Exists(waiting), enabled=True).values_list("id", flat=True))


def _due(now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(next_attempt_at__lte=now).exclude(leased_until__gt=now)


def target_of(endpoint: Endpoint, tenant_id: int, now: datetime) -> Target:
    return Target(
        endpoint_id=endpoint.pk,
        tenant_id=tenant_id,
        url=endpoint.url,
        credentials=endpoints.credentials_of(endpoint),
        keys=tuple(endpoints.signing_keys(endpoint, now)),
        inside=catcher.inside_of(endpoint.url),
    )


def lease_due(endpoint: Endpoint, *, most: int, now: datetime) -> list[Leased]:
    """Takes what is due, oldest first, never two of one session, and none that another worker holds."""
    if most <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH due AS ("
            "  SELECT d.id FROM events_delivery d"
            "  WHERE d.endpoint_id = %(endpoint)s AND d.next_attempt_at <= %(now)s"
            "  AND (d.leased_until IS NULL OR d.leased_until <= %(now)s) AND d.event_id IS NOT NULL"
            # Not NOT EXISTS: the planner would join all that is pending with itself.
            "  AND d.event_id = (SELECT e.event_id FROM events_delivery e WHERE e.endpoint_id = d.endpoint_id"
            "    AND e.session_id = d.session_id AND e.finished_at IS NULL ORDER BY e.event_id LIMIT 1)"
            "  ORDER BY d.next_attempt_at, d.id LIMIT %(most)s FOR UPDATE OF d SKIP LOCKED)"
            # Asked for again while a worker had it that never came back: this attempt is the one asked for.
            " UPDATE events_delivery d SET leased_until = %(until)s, again_at = NULL,"
            " started_at = COALESCE(d.again_at, d.started_at), replay = d.replay OR d.again_at IS NOT NULL,"
            " step = CASE WHEN d.again_at IS NULL THEN d.step ELSE 0 END"
            " FROM due, events_event event WHERE d.id = due.id AND event.id = d.event_id"
            " RETURNING d.id, d.event_id, CASE WHEN d.profile = 'v22' AND event.body_v22 <> '' THEN event.body_v22"
            " ELSE event.body END, d.step, d.started_at, d.replay",
            {"endpoint": endpoint.pk, "now": now, "until": now + LEASE, "most": most},
        )
        rows = sorted(cursor.fetchall())
    return [
        Leased(
            id=row[0], event_id=row[1], body=row[2], leased_until=now + LEASE, step=row[3], started_at=row[4],
            replay=row[5],
        )
        for row in rows
    ]  # fmt: skip


def give_back(unused: Sequence[Leased]) -> None:
    """Ends the leases of deliveries that were not tried, so that the next worker need not wait for them."""
    for leased in unused:
        Delivery.objects.filter(pk=leased.id, leased_until=leased.leased_until).update(leased_until=None)


async def attempt(sender: Sender, target: Target, leased: Leased) -> Tried:
    at = timezone.now()
    body = leased.body.encode()
    headers = headers_of(target, f"{target.tenant_id}-{leased.event_id}", body, at)
    if leased.replay:
        headers["webhook-replay"] = "true"
    return Tried(leased, at, await send(sender, target, body, headers))


async def send(sender: Sender, target: Target, body: bytes, headers: dict[str, str]) -> Answer:
    try:
        return await sender.post(target.url, body, headers, target.credentials, inside=target.inside)
    except Exception as error:  # a mistake of ours is an attempt that failed, else nobody would see it
        log.exception("attempt broken off", endpoint=target.endpoint_id)
        return Answer(None, f"Not sent: a mistake of the portal ({type(error).__name__})", 0, request_headers=headers)


def headers_of(target: Target, message_id: str, body: bytes, at: datetime) -> dict[str, str]:
    timestamp = int(at.timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": "Voxledger",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.signature(target.keys, message_id, timestamp, body),
    }


def settle(endpoint_id: int, tried: Sequence[Tried], *, now: datetime) -> None:
    """Writes what came of the attempts. A lease that ran out meanwhile leaves the state to whoever holds it now."""
    if not tried:
        return
    rulings = [
        judge(
            one.answer.status, one.answer.retry_after, step=one.leased.step, started_at=one.leased.started_at,
            now=now, random=_random.random,
        )
        for one in tried
    ]  # fmt: skip
    with transaction.atomic(savepoint=False):
        _write_states(tried, rulings, now)
        _write_attempts(tried)
        _write_health(endpoint_id, tried, rulings, now)


def _write_states(tried: Sequence[Tried], rulings: Sequence[Ruling], now: datetime) -> None:
    """One that was asked for again meanwhile begins anew, whatever came of this attempt."""
    rows = [
        (
            one.leased.id, one.leased.leased_until, _STATES[ruling.verdict].value, ruling.step, ruling.next_attempt_at,
            None if ruling.verdict is Verdict.RETRY else now, one.leased.started_at,
        )
        for one, ruling in zip(tried, rulings, strict=True)
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_delivery d SET attempts_made = d.attempts_made + 1, leased_until = NULL, again_at = NULL,"
            " state = CASE WHEN d.again_at IS NULL THEN r.state ELSE 'pending' END,"
            " step = CASE WHEN d.again_at IS NULL THEN r.step ELSE 0 END,"
            " replay = d.replay OR d.again_at IS NOT NULL,"
            " started_at = COALESCE(d.again_at, d.started_at),"
            " next_attempt_at = COALESCE(d.again_at, r.next_attempt_at),"
            " finished_at = CASE WHEN d.again_at IS NULL THEN r.finished_at END"
            " FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::int[], %s::timestamptz[], %s::timestamptz[],"
            "   %s::timestamptz[]) AS r(id, lease, state, step, next_attempt_at, finished_at, started_at)"
            " WHERE d.id = r.id AND d.state = 'pending'"
            " AND (d.leased_until = r.lease OR (r.state = 'delivered' AND d.started_at = r.started_at))",
            [list(column) for column in zip(*rows, strict=True)],
        )


def _write_attempts(tried: Sequence[Tried]) -> None:
    rows = [
        (
            one.leased.id, one.at, one.answer.latency_ms, one.answer.status, one.answer.reason,
            orjson.dumps(dict(one.answer.request_headers)).decode(), orjson.dumps(dict(one.answer.headers)).decode(),
            one.answer.body,
        )
        for one in tried
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_attempt"
            " (delivery_id, at, latency_ms, status, reason, request_headers, response_headers, response_body)"
            " SELECT r.* FROM unnest(%s::bigint[], %s::timestamptz[], %s::int[], %s::int[], %s::text[],"
            "   %s::jsonb[], %s::jsonb[], %s::text[])"
            "   AS r(delivery_id, at, latency_ms, status, reason, request_headers, response_headers, response_body)"
            " JOIN events_delivery d ON d.id = r.delivery_id",  # it may have been pruned meanwhile
            [list(column) for column in zip(*rows, strict=True)],
        )


def _write_health(endpoint_id: int, tried: Sequence[Tried], rulings: Sequence[Ruling], now: datetime) -> None:
    """Since when the endpoint has done nothing but fail; after some days of it, it is disabled, with the reason.

    Disabling takes the counter and then the endpoint's row, as everybody does: so it comes before anything that takes
    the row alone.
    """
    verdicts = {ruling.verdict for ruling in rulings}
    this = Endpoint.objects.filter(pk=endpoint_id)
    if Verdict.GONE in verdicts:
        endpoints.disable_endpoint(endpoint_id, "The receiver answered 410 Gone: it wants no more events.")
    elif Verdict.DELIVERED not in verdicts:
        _give_up(endpoint_id, tried[-1].answer.reason, now)
    in_vain = [
        one.leased.event_id
        for one, ruling in zip(tried, rulings, strict=True)
        if ruling.verdict in (Verdict.GONE, Verdict.EXHAUSTED)
    ]
    if in_vain:
        endpoints.note_missed(endpoint_id, min(in_vain))
    if Verdict.DELIVERED in verdicts:
        this.filter(failing_since__isnull=False).update(failing_since=None)
    else:
        this.filter(failing_since=None).update(failing_since=now)


def _give_up(endpoint_id: int, last_reason: str, now: datetime) -> None:
    long_ago = now - GIVE_UP_ON_ENDPOINT
    if Endpoint.objects.filter(pk=endpoint_id, failing_since__lt=long_ago, enabled=True).exists():
        endpoints.disable_endpoint(
            endpoint_id,
            f"Every attempt has failed for {GIVE_UP_ON_ENDPOINT.days} days, the last one with: {last_reason}",
            if_failing_since_before=long_ago,
        )


def redeliver(delivery: Delivery, *, actor: Actor) -> Delivery:
    """Sends again: the schedule begins anew, the bytes and the id are those of the first attempt.

    One that is being tried at this moment is sent again after that.
    """
    if delivery.is_test:
        raise RefusedError("test_not_redelivered", "A test is not sent again; send a new one.")
    endpoint = endpoints.live_endpoints().filter(pk=delivery.endpoint_id).first()
    if endpoint is None or not endpoint.enabled:
        raise RefusedError("endpoint_disabled", "The endpoint is switched off. Enable it, then send again.")
    now = timezone.now()
    with transaction.atomic():
        send_again({delivery.pk: now}, now)
        announce(
            actor, "delivery.redelivered", subject=f"Event {delivery.event_id} to {endpoint.url}",
            subject_id=delivery.pk,
        )  # fmt: skip
        schema = current_schema()
        transaction.on_commit(lambda: wake.readers(schema, deliveries=True))
    delivery.refresh_from_db()
    return delivery


def send_again(due: Mapping[int, datetime], now: datetime, *, but_acknowledged: bool = False) -> int:
    """Deliveries begin anew at the time given for each; one being tried does so after its attempt. Says how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH r AS (SELECT d.id, r.due, d.leased_until > %(now)s AND d.state = 'pending' AS tried_now"
            "   FROM events_delivery d JOIN unnest(%(ids)s::bigint[], %(due)s::timestamptz[]) AS r(id, due)"
            "   ON d.id = r.id WHERE NOT (%(but)s AND d.state = 'delivered') ORDER BY d.id FOR UPDATE OF d)"
            " UPDATE events_delivery d SET"
            " again_at = CASE WHEN r.tried_now THEN r.due END,"
            " leased_until = CASE WHEN r.tried_now THEN d.leased_until END,"
            " state = 'pending', finished_at = NULL,"
            " replay = d.replay OR r.tried_now IS NOT TRUE,"
            " step = CASE WHEN r.tried_now THEN d.step ELSE 0 END,"
            " started_at = CASE WHEN r.tried_now THEN d.started_at ELSE r.due END,"
            " next_attempt_at = CASE WHEN r.tried_now THEN d.next_attempt_at ELSE r.due END"
            " FROM r WHERE d.id = r.id",
            {"ids": list(due), "due": list(due.values()), "now": now, "but": but_acknowledged},
        )
        return int(cursor.rowcount)


def send_test(endpoint: Endpoint, tenant: Tenant, *, actor: Actor, event_type: str = DEFAULT) -> Delivery:
    """Sends an example at once, marked by the header `webhook-test`, and waits for the outcome."""
    now = timezone.now()
    body = render(samples.example(event_type, tenant, now, profile=endpoint.profile), TEST_EVENT_ID)
    with transaction.atomic():
        _claim_test(now)
        delivery = Delivery.objects.create(
            endpoint=endpoint,
            event=None,
            session_id=samples.SESSION_ID,
            profile=endpoint.profile,
            test_body=body,
            next_attempt_at=None,
            leased_until=now + LEASE,
        )
        announce(actor, "endpoint.tested", subject=endpoint.url, subject_id=endpoint.pk)
    _end_test(delivery.pk, _answer_to_test(endpoint, tenant, delivery, now), now)
    delivery.refresh_from_db()
    return delivery


def _claim_test(now: datetime) -> None:
    """Tests wait for a receiver of the tenant's choosing: a few at a time, so that they wait at nobody else's cost."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('tests of ' || current_schema(), 0))")
    if Delivery.objects.filter(event=None, finished_at=None, leased_until__gt=now).count() >= TESTS_AT_ONCE:
        raise RefusedError(
            "tests_running", f"{TESTS_AT_ONCE} tests are waiting for an answer. Wait for one to end, then test again."
        )


def _answer_to_test(endpoint: Endpoint, tenant: Tenant, delivery: Delivery, now: datetime) -> Answer:
    body = delivery.test_body.encode()
    try:
        target = target_of(endpoint, tenant.pk, now)
        headers = headers_of(target, f"{tenant.pk}-test-{delivery.pk}", body, now) | {"webhook-test": "true"}
        if not connection.in_atomic_block:
            connection.close()  # back to the pool: everybody shares it, and a receiver may take its time
        return asyncio.run(_post_once(target, body, headers))
    except Exception as error:  # whatever it was, the person who asked must see it in the log of deliveries
        log.exception("test broken off", endpoint=endpoint.pk)
        return Answer(None, f"Not sent: a mistake of the portal ({type(error).__name__})", 0)


async def _post_once(target: Target, body: bytes, headers: dict[str, str]) -> Answer:
    async with Sender() as sender:
        return await send(sender, target, body, headers)


def _end_test(delivery_id: int, answer: Answer, at: datetime) -> None:
    """A test has one attempt. Whoever ends it first writes it."""
    acknowledged = answer.status is not None and 200 <= answer.status < 300
    with transaction.atomic():
        ended = Delivery.objects.filter(pk=delivery_id, finished_at=None).update(
            state=Delivery.State.DELIVERED if acknowledged else Delivery.State.STOPPED, attempts_made=1,
            finished_at=timezone.now(), leased_until=None,
        )  # fmt: skip
        if ended:
            Attempt.objects.create(
                delivery_id=delivery_id, at=at, latency_ms=answer.latency_ms or None, status=answer.status,
                reason=answer.reason, request_headers=dict(answer.request_headers),
                response_headers=dict(answer.headers), response_body=answer.body,
            )  # fmt: skip


def interrupted_tests(now: datetime) -> QuerySet[Delivery]:
    """Tests whose process died while it waited for the answer."""
    return Delivery.objects.filter(event=None, finished_at=None, leased_until__lte=now).order_by("id")


def end_interrupted_tests(now: datetime) -> None:
    for delivery in interrupted_tests(now)[:100]:
        _end_test(delivery.pk, Answer(None, INTERRUPTED, 0), delivery.created_at)


def stop_outdated(*, before: datetime, now: datetime, batch: int = 1000) -> int:
    """Ends deliveries of events written before a moment once their schedule would be over, with a word that says so.

    Those are what waits for an endpoint that is off, or behind others of its call. At most `batch`, so call it again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "WITH old AS (SELECT d.id FROM events_delivery d JOIN events_event event ON event.id = d.event_id"
            "   WHERE d.finished_at IS NULL AND event.written_at < %(before)s AND d.started_at < %(started)s"
            "   AND (d.leased_until IS NULL OR d.leased_until <= %(now)s)"
            "   ORDER BY d.id LIMIT %(batch)s FOR UPDATE OF d SKIP LOCKED)"
            " UPDATE events_delivery d SET state = 'stopped', finished_at = %(now)s, next_attempt_at = NULL,"
            " leased_until = NULL, again_at = NULL FROM old WHERE d.id = old.id"
            " RETURNING d.id, d.endpoint_id, d.event_id",
            {"before": before, "started": now - ROUND_ENDS_WITHIN, "now": now, "batch": batch},
        )
        stopped = cursor.fetchall()
        Attempt.objects.bulk_create(Attempt(delivery_id=row[0], at=now, reason=OUTDATED) for row in stopped)
        for endpoint_id in {row[1] for row in stopped}:
            endpoints.note_missed(endpoint_id, min(row[2] for row in stopped if row[1] == endpoint_id))
    return len(stopped)


def prune_tests(*, before: datetime, batch: int = 1000) -> int:
    """Removes tests sent before a moment; at most `batch`, so call it again."""
    old = Delivery.objects.filter(event=None, created_at__lt=before).order_by("created_at")
    ids = list(old.values_list("id", flat=True)[:batch])
    Delivery.objects.filter(pk__in=ids).delete()
    return len(ids)


def prune_deleted(*, batch: int = 1000) -> int:
    """Removes deliveries of deleted endpoints, then the endpoints; at most `batch`, so call it again."""
    ids = list(
        Delivery.objects.filter(endpoint__deleted_at__isnull=False).order_by("id").values_list("id", flat=True)[:batch]
    )
    if ids:
        Delivery.objects.filter(pk__in=ids).delete()
        return len(ids)
    Endpoint.objects.filter(deleted_at__isnull=False).delete()
    return 0
