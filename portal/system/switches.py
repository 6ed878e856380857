"""Switches: the list with what each said last, a form, the token, the removal."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires
from accounts.forms import attempt
from accounts.lists import Column, about, context_of, register, total_words
from accounts.once import show_once, take_secrets
from accounts.roles import Permission
from portal.system.forms import NewSwitchForm, SwitchForm, written
from portal.system.paging import listed
from portal.system.trunks import row_of_page
from tenants.models import Switch
from tenants.switches import change_switch, create_switch, delete_switch, rotate_token

SWITCHES = register(
    "switches",
    "All switches",
    (
        Column("kind", "Kind"),
        Column("last_event", "Last event"),
        Column("connection", "Connection"),
        Column("status", "Status"),
    ),
    (),
)


@requires(Permission.SYSTEM_SWITCHES)
@require_safe
def switches(request: HttpRequest) -> HttpResponse:
    rows = Switch.objects.all()
    context = {"page": listed(request, rows, "name"), "total": total_words(*about(rows), "switch", "switches")}
    return render(request, "system/switches.html", context | context_of(request, SWITCHES))


@requires(Permission.SYSTEM_SWITCHES)
@require_http_methods(["GET", "HEAD", "POST"])
def new_switch(request: HttpRequest) -> HttpResponse:
    form = NewSwitchForm(request.POST or None)
    if request.method == "POST":
        made = attempt(form, lambda: create_switch(actor_of(request), form.given()))
        if made is not None:
            show_once(request, f"Token of {made[0].name}", made[1])
            return redirect("switch-edit", made[0].pk)
    return render(request, "system/switch_edit.html", {"form": form, "row": None})


@requires(Permission.SYSTEM_SWITCHES)
@require_http_methods(["GET", "HEAD", "POST"])
def switch_edit(request: HttpRequest, switch_id: int) -> HttpResponse:
    switch = row_of_page(Switch.objects.all(), switch_id)
    initial = {"name": switch.name, "enabled": switch.enabled, "address": written(switch.address)}
    form = SwitchForm(request.POST or None, initial=initial)
    if request.method == "POST":
        if attempt(form, lambda: change_switch(actor_of(request), switch, form.given())) is not None:
            messages.success(request, "Saved.")
            return redirect("switch-edit", switch_id)
        switch = row_of_page(Switch.objects.all(), switch_id)
    return render(request, "system/switch_edit.html", {"form": form, "row": switch, "secrets": take_secrets(request)})


@requires(Permission.SYSTEM_SWITCHES)
@require_POST
def switch_token(request: HttpRequest, switch_id: int) -> HttpResponse:
    """A new token, shown once on the next page; the former one stops at once."""
    switch = row_of_page(Switch.objects.all(), switch_id)
    show_once(request, f"Token of {switch.name}", rotate_token(actor_of(request), switch))
    return redirect("switch-edit", switch_id)


@requires(Permission.SYSTEM_SWITCHES)
@require_POST
def switch_delete(request: HttpRequest, switch_id: int) -> HttpResponse:
    switch = row_of_page(Switch.objects.all(), switch_id)
    delete_switch(actor_of(request), switch)
    messages.success(request, f"The switch {switch.name} has been deleted.")
    return redirect("switches")
