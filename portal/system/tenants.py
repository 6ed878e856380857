"""Tenants: the list, a tenant's page, its export, its end, and the way into it."""

from collections.abc import Callable
from typing import cast
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires, signed_in
from accounts.forms import attempt
from accounts.founding import FIRST_ADMINISTRATOR, found_again, found_tenant
from accounts.lists import Column, about, bounded, context_of, register, total_words
from accounts.managing import issue_ticket
from accounts.models import User
from accounts.once import show_once, take_secrets
from accounts.roles import Permission
from portal.system.forms import DeletionForm, SipDomainForm, TenantChangeForm, TenantForm
from portal.system.paging import listed, words_of
from recordings.quota import Usage, usage_of
from tenants import export, lifecycle
from tenants.addresses import tenant_address
from tenants.company import change_tenant
from tenants.errors import RefusedError
from tenants.models import SipDomain, Tenant, TenantExport
from tenants.schemas import in_schema
from tenants.sip_domains import add_sip_domain, make_primary, remove_sip_domain

TENANTS = register(
    "tenants",
    "All tenants",
    (
        Column("host", "Host"),
        Column("sip_domain", "SIP domain"),
        Column("recording", "Recording"),
        Column("status", "Status"),
    ),
    {"q", "state"},
)
_SEGMENTS = (("", "All"), ("look", "Need a look"), ("suspended", "Suspended"))
_CHANGED_HERE = ("name", "host", "time_zone", "currency", "recording_quota_mb", "version")
_BUSY = {Tenant.State.CREATING, Tenant.State.DELETING}


@requires(Permission.SYSTEM_TENANTS)
@require_safe
@bounded
def tenants(request: HttpRequest) -> HttpResponse:
    words, state = words_of(request), request.GET.get("state", "")
    rows = all_tenants().prefetch_related("sip_domains")
    if words:
        of_domain = SipDomain.objects.filter(tenant=OuterRef("pk"), domain__icontains=words)
        rows = rows.filter(Q(name__icontains=words) | Q(host__icontains=words) | Exists(of_domain))
    if state == "suspended":
        rows = rows.filter(state=Tenant.State.SUSPENDED)
    elif state == "look":
        rows = rows.exclude(state__in=[Tenant.State.ACTIVE, Tenant.State.SUSPENDED])
    kept = {"q": words} if words else {}
    segments = [(label, "?" + urlencode({**kept, "state": name}), name == state) for name, label in _SEGMENTS]
    page = listed(request, rows, "name", "id")
    context = {
        "page": page,
        "words": words,
        "state": state,
        "segments": segments,
        "addresses": _addresses(page.rows),
        "total": total_words(*about(rows), "tenant", "tenants"),
    }
    return render(request, "system/tenants.html", context | context_of(request, TENANTS))


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def new_tenant(request: HttpRequest) -> HttpResponse:
    form = TenantForm(request.POST or None)
    if request.method == "POST":
        made = attempt(form, lambda: found_tenant(actor_of(request), form.cleaned_data))
        if made is not None:
            tenant, password = made
            show_once(request, f"Password of {FIRST_ADMINISTRATOR} at {tenant.name}", password)
            return redirect("tenant", tenant.pk)
    return render(request, "system/tenant_new.html", {"form": form})


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def tenant_page(request: HttpRequest, tenant_id: int) -> HttpResponse:
    tenant = _tenant(tenant_id)
    present = {name: getattr(tenant, name) for name in _CHANGED_HERE}
    form = TenantChangeForm(request.POST or None, initial=present)
    if request.method == "POST":
        if form.is_valid():
            given = dict(form.cleaned_data)
            version = given.pop("version")
            attempt(form, lambda: change_tenant(actor_of(request), tenant, given, version=version))
        if form.is_valid():
            messages.success(request, "Saved.")
            return redirect("tenant", tenant_id)
        tenant = _tenant(tenant_id)
    return _show(request, tenant, form=form)


@requires(Permission.SYSTEM_TENANTS)
@require_safe
def tenant_progress(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """The part of the page that a task moves; it asks again by itself while one is at work."""
    tenant = Tenant.objects.filter(pk=tenant_id).first() if tenant_id < 2**63 else None
    if tenant is None:
        messages.success(request, "The tenant has been deleted.")
        return HttpResponse(headers={"HX-Redirect": reverse("tenants")})
    return render(request, "system/_tenant_progress.html", _progress(tenant))


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def tenant_sip_domains(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """Adds one."""
    tenant = _tenant(tenant_id)
    form = SipDomainForm(request.POST)
    added = attempt(form, lambda: add_sip_domain(actor_of(request), tenant, form.cleaned_data["domain"]))
    if added is None:
        return _show(request, tenant, domain_form=form)
    messages.success(request, f"{added.domain} has been added. Extensions need a new SIP password to register there.")
    return redirect("tenant", tenant_id)


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def tenant_sip_domain(request: HttpRequest, tenant_id: int, domain_id: int) -> HttpResponse:
    """Makes one the primary, or removes it."""
    rows = SipDomain.objects.filter(tenant=_tenant(tenant_id), pk=domain_id) if domain_id < 2**63 else None
    domain = rows.first() if rows is not None else None
    if domain is None:
        raise Http404
    verb = {"primary": make_primary, "remove": remove_sip_domain}.get(request.POST.get("do", ""))
    if verb is None:
        return HttpResponse("do must be primary or remove.", status=400, content_type="text/plain")
    _tell(request, lambda: verb(actor_of(request), domain), "Saved.")
    return redirect("tenant", tenant_id)


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def tenant_state(request: HttpRequest, tenant_id: int) -> HttpResponse:
    tenant = _tenant(tenant_id)
    verbs = {"suspend": lifecycle.suspend_tenant, "reactivate": lifecycle.reactivate_tenant}
    verb = verbs.get(request.POST.get("do", ""))
    if verb is None:
        return HttpResponse("do must be suspend or reactivate.", status=400, content_type="text/plain")
    _tell(request, lambda: verb(actor_of(request), tenant), "Saved.")
    return redirect("tenant", tenant_id)


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def tenant_retry(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """Begins a failed creation again, or a deletion whose task got lost."""
    tenant = _tenant(tenant_id)
    if tenant.state == Tenant.State.DELETING:
        _tell(request, lambda: lifecycle.drop_again(actor_of(request), tenant), "It has begun again.")
        return redirect("tenant", tenant_id)
    try:
        password = found_again(actor_of(request), tenant)
    except RefusedError as refused:
        messages.error(request, refused.message)
    else:
        show_once(request, f"Password of {FIRST_ADMINISTRATOR} at {tenant.name}", password)
    return redirect("tenant", tenant_id)


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def tenant_export(request: HttpRequest, tenant_id: int) -> HttpResponse:
    tenant = _tenant(tenant_id)
    wanted = request.POST.get("recordings") == "yes"
    _tell(
        request,
        lambda: export.request_export(actor_of(request), tenant, with_recordings=wanted),
        "The export has begun.",
    )
    return redirect("tenant", tenant_id)


@requires(Permission.SYSTEM_TENANTS)
@require_safe
def tenant_export_file(request: HttpRequest, tenant_id: int, export_id: int) -> HttpResponseBase:
    rows = export.finished_exports(_tenant(tenant_id))
    found = rows.filter(pk=export_id).first() if export_id < 2**63 else None
    if found is None or not export.path_of(found).is_file():
        raise Http404
    export.note_download(actor_of(request), found)
    return FileResponse(export.path_of(found).open("rb"), as_attachment=True, filename=found.file_name)


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def tenant_delete(request: HttpRequest, tenant_id: int) -> HttpResponse:
    tenant = _tenant(tenant_id)
    form = DeletionForm(request.POST or None)
    if request.method == "POST":
        attempt(
            form,
            lambda: lifecycle.request_deletion(
                actor_of(request),
                tenant,
                typed_host=form.cleaned_data["confirm"],
                without_export=form.cleaned_data["without_export"],
            ),
        )
        if form.is_valid():
            return redirect("tenant", tenant_id)
    context = {"tenant_row": tenant, "form": form, "export": export.finished_exports(tenant).first()}
    return render(request, "system/tenant_delete.html", context)


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def tenant_manage(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """Into the tenant as its administrator, by a one-time ticket."""
    tenant = _tenant(tenant_id)
    administrator = User.objects.get(pk=cast(User, signed_in(request)).pk)
    try:
        ticket = issue_ticket(actor_of(request), administrator, tenant)
    except RefusedError as refused:
        messages.error(request, refused.message)
        return redirect("tenants")
    return HttpResponseRedirect(tenant_address(tenant, "/enter?" + urlencode({"ticket": ticket})))


def all_tenants() -> "QuerySet[Tenant]":
    return cast("QuerySet[Tenant]", Tenant.objects.exclude(schema_name="public"))


def _tenant(tenant_id: int) -> Tenant:
    found = all_tenants().filter(pk=tenant_id).first() if tenant_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _addresses(rows: list[Tenant]) -> dict[int, str]:
    return {tenant.pk: tenant_address(tenant) for tenant in rows}


def _progress(tenant: Tenant) -> dict[str, object]:
    exports = list(TenantExport.objects.filter(tenant=tenant).order_by("-id")[:3])
    running = any(row.state == TenantExport.State.RUNNING for row in exports)
    return {
        "tenant_row": tenant,
        "busy": tenant.state in _BUSY or running,
        "stuck": lifecycle.is_stuck(tenant) or tenant.state == Tenant.State.FAILED,
        "exports": exports,
        "address": tenant_address(tenant),
    }


def _show(
    request: HttpRequest,
    tenant: Tenant,
    *,
    form: TenantChangeForm | None = None,
    domain_form: SipDomainForm | None = None,
) -> HttpResponse:
    present = {name: getattr(tenant, name) for name in _CHANGED_HERE}
    context = {
        **_progress(tenant),
        "form": form or TenantChangeForm(initial=present),
        "domain_form": domain_form or SipDomainForm(),
        "domains": tenant.sip_domains.all(),
        "secrets": take_secrets(request),
        "usage": _usage(tenant),
    }
    return render(request, "system/tenant.html", context)


def _usage(tenant: Tenant) -> Usage | None:
    """What its recordings take; of a tenant that has no tables, nothing is known."""
    if tenant.state not in {Tenant.State.ACTIVE, Tenant.State.SUSPENDED}:
        return None
    with in_schema(tenant.schema_name):
        return usage_of(tenant, timezone.now())


def _tell(request: HttpRequest, verb: Callable[[], object], done: str) -> None:
    try:
        verb()
    except RefusedError as refused:
        messages.error(request, refused.message)
    except ValidationError as wrong:
        messages.error(request, " ".join(wrong.messages))
    else:
        messages.success(request, done)
