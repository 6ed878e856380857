"""System administrators: made, deactivated, given a new password."""

from typing import cast

from django.contrib import auth, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import actor_of, requires, signed_in
from accounts.forms import attempt
from accounts.models import User
from accounts.once import show_once, take_secrets
from accounts.passwords import new_password
from accounts.people import change_user, create_user, reset_password
from accounts.roles import Permission, Role
from portal.system.forms import AdministratorForm
from portal.system.paging import listed
from portal.system.trunks import row_of_page
from tenants.errors import RefusedError


@requires(Permission.SYSTEM_ADMINISTRATORS)
@require_http_methods(["GET", "HEAD", "POST"])
def administrators(request: HttpRequest) -> HttpResponse:
    form = AdministratorForm(request.POST or None)
    if request.method == "POST":
        password = new_password()
        given = {"role": Role.SYSTEM.value, "password": password}
        made = attempt(form, lambda: create_user(actor_of(request), {**form.cleaned_data, **given}))
        if made is not None:
            show_once(request, f"Password of {made.username}", password)
            return redirect("administrators")
    context = {
        "form": form,
        "page": listed(request, User.objects.all(), "username"),
        "secrets": take_secrets(request),
        "me": signed_in(request).pk,
    }
    return render(request, "system/administrators.html", context)


@requires(Permission.SYSTEM_ADMINISTRATORS)
@require_POST
def administrator_active(request: HttpRequest, user_id: int) -> HttpResponse:
    user = row_of_page(User.objects.all(), user_id)
    active = request.POST.get("active") == "yes"
    try:
        change_user(actor_of(request), user, {"is_active": active})
    except RefusedError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{user.username} has been {'reactivated' if active else 'deactivated'}.")
    return redirect("administrators")


@requires(Permission.SYSTEM_ADMINISTRATORS)
@require_POST
def administrator_password(request: HttpRequest, user_id: int) -> HttpResponse:
    user = row_of_page(User.objects.all(), user_id)
    show_once(request, f"Password of {user.username}", reset_password(actor_of(request), user))
    if user.pk == cast(User, signed_in(request)).pk:
        auth.update_session_auth_hash(request, user)
    return redirect("administrators")
