"""Trunks and inbound rules: lists, a form each, and their removal."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import Model, Q, QuerySet
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires
from accounts.forms import attempt
from accounts.lists import Column, about, bounded, context_of, register, total_words
from accounts.roles import Permission
from portal.system.forms import InboundRuleForm, TrunkForm
from portal.system.paging import listed, words_of
from tenants.inbound_rules import change_inbound_rule, create_inbound_rule, delete_inbound_rule
from tenants.models import InboundRule, Trunk
from tenants.trunks import change_trunk, create_trunk, delete_trunk
from tenants.values import plain_number

M = TypeVar("M", bound=Model)
TRUNKS = register(
    "trunks",
    "All trunks",
    (
        Column("host", "Host"),
        Column("switch", "Switch"),
        Column("switch_name", "Name on the switch"),
        Column("tenant", "Tenant"),
    ),
    {"q"},
)
INBOUND_RULES = register(
    "inbound-rules",
    "All inbound rules",
    (Column("kind", "Kind"), Column("tenant", "Tenant"), Column("trunk", "Trunk"), Column("note", "Note")),
    {"q"},
)
_TRUNK_FIELDS = ("name", "switch", "switch_name", "host", "tenant")
_RULE_FIELDS = ("kind", "number", "tenant", "trunk", "note")


@requires(Permission.SYSTEM_TENANTS)
@require_safe
@bounded
def trunks(request: HttpRequest) -> HttpResponse:
    words = words_of(request)
    rows = Trunk.objects.select_related("switch", "tenant")
    if words:
        rows = rows.filter(Q(name__icontains=words) | Q(host__icontains=words) | Q(tenant__name__icontains=words))
    context = {
        "page": listed(request, rows, "name"),
        "words": words,
        "total": total_words(*about(rows), "trunk", "trunks"),
    }
    return render(request, "system/trunks.html", context | context_of(request, TRUNKS))


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def new_trunk(request: HttpRequest) -> HttpResponse:
    form = TrunkForm(request.POST or None)
    return _edit(request, form, None, lambda: create_trunk(actor_of(request), form.cleaned_data), "trunk")


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def trunk_edit(request: HttpRequest, trunk_id: int) -> HttpResponse:
    trunk = row_of_page(Trunk.objects.all(), trunk_id)
    form = TrunkForm(request.POST or None, initial={name: getattr(trunk, name) for name in _TRUNK_FIELDS})
    return _edit(request, form, trunk, lambda: change_trunk(actor_of(request), trunk, form.cleaned_data), "trunk")


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def trunk_delete(request: HttpRequest, trunk_id: int) -> HttpResponse:
    trunk = row_of_page(Trunk.objects.all(), trunk_id)
    delete_trunk(actor_of(request), trunk)
    messages.success(request, f"The trunk {trunk.name} has been deleted.")
    return redirect("trunks")


@requires(Permission.SYSTEM_TENANTS)
@require_safe
@bounded
def inbound_rules(request: HttpRequest) -> HttpResponse:
    words = words_of(request)
    rows = InboundRule.objects.select_related("trunk", "tenant")
    if words:
        matching = Q(tenant__name__icontains=words) | Q(note__icontains=words)
        number = plain_number(words)
        rows = rows.filter(matching | Q(number__startswith=number) if number else matching)
    context = {
        "page": listed(request, rows, "number", "id"),
        "words": words,
        "total": total_words(*about(rows), "inbound rule", "inbound rules"),
    }
    return render(request, "system/inbound_rules.html", context | context_of(request, INBOUND_RULES))


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def new_inbound_rule(request: HttpRequest) -> HttpResponse:
    """`?number=` fills the number in: the quarantine leads here."""
    form = InboundRuleForm(request.POST or None, initial={"number": request.GET.get("number", "")[:64]})
    return _edit(request, form, None, lambda: create_inbound_rule(actor_of(request), form.cleaned_data), "inbound-rule")


@requires(Permission.SYSTEM_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def inbound_rule_edit(request: HttpRequest, rule_id: int) -> HttpResponse:
    rule = row_of_page(InboundRule.objects.all(), rule_id)
    form = InboundRuleForm(request.POST or None, initial={name: getattr(rule, name) for name in _RULE_FIELDS})
    return _edit(
        request, form, rule, lambda: change_inbound_rule(actor_of(request), rule, form.cleaned_data), "inbound-rule"
    )


@requires(Permission.SYSTEM_TENANTS)
@require_POST
def inbound_rule_delete(request: HttpRequest, rule_id: int) -> HttpResponse:
    rule = row_of_page(InboundRule.objects.all(), rule_id)
    delete_inbound_rule(actor_of(request), rule)
    messages.success(request, f"The inbound rule {rule} has been deleted.")
    return redirect("inbound-rules")


def row_of_page(rows: "QuerySet[M]", row_id: int) -> M:
    found = rows.filter(pk=row_id).first() if row_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _edit(request: HttpRequest, form: Form, row: Model | None, verb: Callable[[], Any], word: str) -> HttpResponse:
    """A form, its verb, and back to the list."""
    if request.method == "POST" and attempt(form, verb) is not None:
        messages.success(request, "Saved.")
        return redirect(f"{word}s")
    return render(request, f"system/{word.replace('-', '_')}_edit.html", {"form": form, "row": row})
