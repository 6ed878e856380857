"""What a person may change about themselves."""

from typing import cast

from django.contrib import auth, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import actor_of, requires, signed_in
from accounts.forms import OwnPasswordForm, ProfileForm, attempt
from accounts.models import User
from accounts.people import change_profile, set_password
from accounts.roles import Permission


@requires(Permission.PROFILE)
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    user = _own(request)
    present = {name: getattr(user, name) for name in ("display_name", "email", "time_zone")}
    form = ProfileForm(request.POST or None, initial=present)
    if request.method == "POST":
        attempt(form, lambda: change_profile(actor_of(request), user, form.cleaned_data))
    if form.is_valid():
        messages.success(request, "Saved.")
        return redirect("profile")
    return render(request, "accounts/profile.html", {"form": form, "password_form": OwnPasswordForm()})


@requires(Permission.PROFILE)
@sensitive_post_parameters()
@require_POST
def own_password(request: HttpRequest) -> HttpResponse:
    """Ends the person's other sessions; this one goes on under a new key."""
    user = _own(request)
    form = OwnPasswordForm(request.POST)
    if form.is_valid() and not _is_present_password(request, user, form.cleaned_data["current"]):
        form.add_error("current", "This is not your present password.")
    if form.is_valid():
        attempt(form, lambda: set_password(actor_of(request), user, form.cleaned_data["password"]))
    if form.is_valid():
        auth.update_session_auth_hash(request, user)
        messages.success(request, "Your password has been changed. Your other sessions have ended.")
        return redirect("profile")
    present = {name: getattr(user, name) for name in ("display_name", "email", "time_zone")}
    return render(request, "accounts/profile.html", {"form": ProfileForm(initial=present), "password_form": form})


def _own(request: HttpRequest) -> User:
    """A row of its own, apart from the one that the session holds. Acting administrators have no profile."""
    return User.objects.get(pk=cast(User, signed_in(request)).pk)


def _is_present_password(request: HttpRequest, user: User, password: str) -> bool:
    """Through the sign-in's own door, so that guessing here locks as it does there."""
    return auth.authenticate(request, username=user.username, password=password) is not None
