"""A tenant's life: created, built by a task, suspended, deleted by a task. Each step says how far it is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tenants import export
from tenants.addresses import domain_of
from tenants.changes import SYSTEM, Actor, announce
from tenants.errors import RefusedError
from tenants.models import Domain, SessionRoute, SipDomain, Tenant
from tenants.schemas import enter_public, in_schema
from tenants.values import clean_fields, currency, flag, host_label, sip_domain, text, time_zone

log = structlog.get_logger(__name__)

# Filled by higher rooms. `objections` are asked inside the tenant's schema before it may be deleted and raise what
# forbids it; `leavings` remove what lies outside the tables, before these are dropped, and may be called again.
objections: list[Callable[[], None]] = []
leavings: list[Callable[[Tenant], None]] = []

STUCK_AFTER = timedelta(minutes=2)
_ROUTES_AT_ONCE = 10_000
_CLEANERS = {
    "name": text(200),
    "host": host_label,
    "sip_domain": sip_domain,
    "time_zone": time_zone,
    "currency": currency,
    "simulated": flag,
}
_REQUIRED = {"name": "", "host": "", "sip_domain": ""}


@transaction.atomic
def create_tenant(actor: Actor, given: Mapping[str, Any]) -> Tenant:
    """Makes its rows in the public schema; `build` makes the schema, which takes a while."""
    cleaned = clean_fields({**_REQUIRED, **given}, _CLEANERS)
    told = dict(cleaned)
    domain = cleaned.pop("sip_domain")
    _refuse_taken(cleaned["host"], domain)
    tenant = Tenant(**cleaned, schema_name=_free_schema_name(cleaned["host"]), progress="Waiting for a worker")
    try:
        with transaction.atomic():
            tenant.save()
            Domain.objects.create(domain=domain_of(tenant.host), tenant=tenant, is_primary=True)
            SipDomain.objects.create(domain=domain, tenant=tenant, is_primary=True)
    except IntegrityError as error:  # somebody took the name in this very moment
        raise ValidationError({"host": ["This host or SIP domain has just been taken."]}) from error
    announce(actor, "tenant.created", subject=tenant.name, subject_id=tenant.pk, after=told)
    return tenant


def _refuse_taken(host: str, domain: str) -> None:
    faults: dict[str, list[str]] = {}
    if Tenant.objects.filter(host=host).exists() or Domain.objects.filter(domain=domain_of(host)).exists():
        faults["host"] = ["Another tenant has this host."]
    if SipDomain.objects.filter(domain__iexact=domain).exists():
        faults["sip_domain"] = ["Another tenant has this SIP domain."]
    if faults:
        raise ValidationError(faults)


def _free_schema_name(host: str) -> str:
    """Named for the host it was created with, for whoever looks into the database; it never changes."""
    base = "t_" + host.replace("-", "_")[:50]
    taken = set(Tenant.objects.filter(schema_name__startswith=base).values_list("schema_name", flat=True))
    numbered = (f"{base}_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in [base, *numbered] if name not in taken)


def build(tenant: Tenant, furnish: Callable[[], None]) -> None:
    """Makes the schema, then lets `furnish` put the first rows into it. A half-made one from an earlier try goes."""
    with _alone(tenant) as mine:
        tenant.refresh_from_db()
        if not mine or tenant.state != Tenant.State.CREATING:
            return
        try:
            report(tenant, "Making the tables")
            _drop_schema(tenant)
            tenant.create_schema(verbosity=0)
            report(tenant, "Making the first administrator")
            with in_schema(tenant.schema_name):
                furnish()
        except Exception as error:  # whatever it was, the administrator must learn of it on the page
            enter_public()
            log.exception("tenant could not be built", tenant=tenant.schema_name)
            Tenant.objects.filter(pk=tenant.pk).update(
                state=Tenant.State.FAILED, progress=f"It failed: {type(error).__name__}", progress_at=timezone.now()
            )
            return
        enter_public()
        Tenant.objects.filter(pk=tenant.pk, state=Tenant.State.CREATING).update(
            state=Tenant.State.ACTIVE, progress="", progress_at=timezone.now()
        )


@transaction.atomic
def begin_again(actor: Actor, tenant: Tenant) -> None:
    """For a creation that failed, or whose task got lost."""
    tenant.refresh_from_db(from_queryset=Tenant.objects.select_for_update())
    failed = tenant.state == Tenant.State.FAILED
    if not failed and not (tenant.state == Tenant.State.CREATING and is_stuck(tenant)):
        raise RefusedError("not_failed", "This tenant's creation has not failed.")
    tenant.state, tenant.progress, tenant.progress_at = Tenant.State.CREATING, "Waiting for a worker", timezone.now()
    tenant.save(update_fields=["state", "progress", "progress_at"])
    announce(actor, "tenant.creation_retried", subject=tenant.name, subject_id=tenant.pk)


def is_stuck(tenant: Tenant) -> bool:
    """Its task has said nothing for so long that it is likely lost."""
    return (
        tenant.state in {Tenant.State.CREATING, Tenant.State.DELETING}
        and timezone.now() - tenant.progress_at > STUCK_AFTER
    )


def suspend_tenant(actor: Actor, tenant: Tenant) -> Tenant:
    """Its people cannot sign in and its calls are refused; nothing is lost."""
    return _move(actor, tenant, Tenant.State.ACTIVE, Tenant.State.SUSPENDED, "tenant.suspended")


def reactivate_tenant(actor: Actor, tenant: Tenant) -> Tenant:
    return _move(actor, tenant, Tenant.State.SUSPENDED, Tenant.State.ACTIVE, "tenant.reactivated")


@transaction.atomic
def _move(actor: Actor, tenant: Tenant, before: Tenant.State, after: Tenant.State, action: str) -> Tenant:
    if not Tenant.objects.filter(pk=tenant.pk, state=before).update(state=after):
        tenant.refresh_from_db()
        raise RefusedError("wrong_state", f"This tenant is {tenant.get_state_display().lower()}.")
    tenant.state = after
    announce(actor, action, subject=tenant.name, subject_id=tenant.pk, before={"state": before}, after={"state": after})
    return tenant


@transaction.atomic
def request_deletion(actor: Actor, tenant: Tenant, *, typed_host: str, without_export: bool) -> None:
    """Closes the tenant at once; `drop` removes it. Asks for the host's name, and for an export or the word that
    none is wanted."""
    tenant.refresh_from_db(from_queryset=Tenant.objects.select_for_update())
    if tenant.schema_name == "public" or tenant.state in {Tenant.State.CREATING, Tenant.State.DELETING}:
        raise RefusedError("wrong_state", f"This tenant is {tenant.get_state_display().lower()}.")
    if typed_host.strip().lower() != tenant.host:
        raise ValidationError({"confirm": [f"Type {tenant.host} to confirm."]})
    never_built = tenant.state == Tenant.State.FAILED
    if not never_built and not without_export and not export.finished_exports(tenant).exists():
        raise RefusedError("not_exported", "Export this tenant first, or say that no export is wanted.")
    if not never_built:
        _hear_objections(tenant)
    tenant.state, tenant.progress, tenant.progress_at = Tenant.State.DELETING, "Waiting for a worker", timezone.now()
    tenant.save(update_fields=["state", "progress", "progress_at"])
    announce(
        actor, "tenant.deletion_requested", subject=tenant.name, subject_id=tenant.pk,
        before={"host": tenant.host}, after={"without_export": without_export},
    )  # fmt: skip
    _schedule_drop(tenant.pk)


@transaction.atomic
def drop_again(actor: Actor, tenant: Tenant) -> None:
    """For a deletion whose task got lost."""
    tenant.refresh_from_db(from_queryset=Tenant.objects.select_for_update())
    if tenant.state != Tenant.State.DELETING or not is_stuck(tenant):
        raise RefusedError("not_failed", "This tenant's deletion has not failed.")
    tenant.progress_at = timezone.now()
    tenant.save(update_fields=["progress_at"])
    announce(actor, "tenant.deletion_retried", subject=tenant.name, subject_id=tenant.pk)
    _schedule_drop(tenant.pk)


def _hear_objections(tenant: Tenant) -> None:
    with in_schema(tenant.schema_name):
        for object_to in objections:
            object_to()


def _schedule_drop(tenant_id: int) -> None:
    from tenants.tasks import drop_tenant  # tasks are doors on this module

    # Robust: without a broker the row still says what is to be done, and the page offers to try again.
    transaction.on_commit(lambda: drop_tenant.delay(tenant_id), robust=True)


def drop(tenant: Tenant) -> None:
    """Removes the schema, then every row that names the tenant. Each step may be done again."""
    with _alone(tenant) as mine:
        if not mine or not Tenant.objects.filter(pk=tenant.pk, state=Tenant.State.DELETING).exists():
            return
        report(tenant, "Removing its files")
        for remove in leavings:
            remove(tenant)
        report(tenant, "Removing its tables")
        _drop_schema(tenant)
        report(tenant, "Removing its call routes")
        routes = SessionRoute.objects.filter(tenant_id=tenant.pk)
        while ids := list(routes.values_list("pk", flat=True)[:_ROUTES_AT_ONCE]):
            SessionRoute.objects.filter(pk__in=ids).delete()
        export.remove_files(tenant)
        with transaction.atomic():
            name, tenant_id, host = tenant.name, tenant.pk, tenant.host
            tenant.delete()
            announce(SYSTEM, "tenant.deleted", subject=name, subject_id=tenant_id, before={"host": host})


def report(tenant: Tenant, progress: str) -> None:
    """Says how far a task is, for the page that waits for it."""
    enter_public()
    tenant.progress, tenant.progress_at = progress, timezone.now()
    Tenant.objects.filter(pk=tenant.pk).update(progress=progress, progress_at=tenant.progress_at)


def _drop_schema(tenant: Tenant) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {connection.ops.quote_name(tenant.schema_name)} CASCADE")


@contextmanager
def _alone(tenant: Tenant) -> Iterator[bool]:
    """Whether no other worker builds or drops this tenant: a task may be handed out twice.

    The lock lives on a connection of its own: migrations close the thread's, and a pool would keep it with the lock.
    """
    enter_public()
    parameters: dict[str, Any] = {**connection.get_connection_params(), "autocommit": True}
    with psycopg.connect(**parameters) as own:
        row = own.execute("SELECT pg_try_advisory_lock(%s)", [tenant.pk]).fetchone()
        yield bool(row and row[0])
