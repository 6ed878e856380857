"""Call Manager > Users: people, and the extension each of them answers."""

from urllib.parse import urlencode

from django.contrib import auth, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires, signed_in
from accounts.extensions import (
    change_extension,
    create_extension,
    realms_without_password,
    set_sip_password,
)
from accounts.forms import ExtensionForm, NewExtensionForm, NewUserForm, UserForm, attempt
from accounts.lists import Column, about, bounded, context_of, register, total_words
from accounts.models import Extension, User
from accounts.once import show_once, take_secrets
from accounts.passwords import new_password
from accounts.people import change_user, create_user, reset_password, roles_here
from accounts.rest import ApiError, decode_cursor, encode_cursor
from accounts.roles import Permission
from accounts.selectors import matching_users, users_by_extension
from tenants.errors import RefusedError
from tenants.values import id_of

PAGE_SIZE = 50
MARKED_ACTIONS = (
    ("audio_on", "Record Audio Calls"),
    ("audio_off", "Stop recording audio"),
    ("video_on", "Record Video Calls"),
    ("video_off", "Stop recording video"),
    ("deactivate", "Deactivate"),
)
_SWITCHED = {
    "audio_on": {"record_audio": True},
    "audio_off": {"record_audio": False},
    "video_on": {"record_video": True},
    "video_off": {"record_video": False},
}
USERS = register(
    "users",
    "All users",
    (
        Column("display_name", "Display Name"),
        Column("role", "Role"),
        Column("email", "Email"),
        Column("status", "Status"),
        Column("record_audio", "Record Audio Calls"),
        Column("record_video", "Record Video Calls"),
    ),
    {"q", "state"},
)
_SEGMENTS = (("", "All"), ("recorded", "Recorded"), ("deactivated", "Deactivated"))


@requires(Permission.USERS)
@require_safe
@bounded
def users(request: HttpRequest) -> HttpResponse:
    words, state = request.GET.get("q", "").strip()[:100].replace("\0", ""), request.GET.get("state", "")
    found = list(
        _in_state(matching_users(users_by_extension(_after(request.GET.get("cursor", ""))), words), state)[
            : PAGE_SIZE + 1
        ]
    )
    total, exact = about(_in_state(matching_users(users_by_extension(), words), state))
    kept = {name: value for name, value in (("q", words), ("state", state)) if value}
    following = ""
    if len(found) > PAGE_SIZE:
        last = found[PAGE_SIZE - 1]
        following = "?" + urlencode({**kept, "cursor": encode_cursor(_number_of(last), last.username)})
    segments = [
        (label, "?" + urlencode({**kept, "state": name}), name == state)
        for name, label in _SEGMENTS
    ]  # fmt: skip
    context = {
        "rows": [(user, getattr(user, "extension", None)) for user in found[:PAGE_SIZE]],
        "words": words,
        "state": state,
        "segments": segments,
        "following": following,
        "first": "?" + urlencode(kept) if "cursor" in request.GET else "",
        "total": total_words(total, exact, "user", "users"),
        "marked_actions": MARKED_ACTIONS,
        "may_calls": signed_in(request).may(Permission.CDR_VIEW),
    }
    return render(request, "accounts/users.html", context | context_of(request, USERS))


def _in_state(rows: "QuerySet[User]", state: str) -> "QuerySet[User]":
    if state == "recorded":
        return rows.filter(Q(extension__record_audio=True) | Q(extension__record_video=True))
    return rows.filter(is_active=False) if state == "deactivated" else rows


@requires(Permission.USERS)
@require_POST
def users_marked(request: HttpRequest) -> HttpResponse:
    """One thing done to all users that were marked; what one of them refuses does not keep the others."""
    do = request.POST.get("do", "")
    if do not in dict(MARKED_ACTIONS):
        raise Http404
    ids = [found for written in request.POST.getlist("user")[:PAGE_SIZE] if (found := id_of(written)) is not None]
    changed, refusals = 0, []
    for user in users_by_extension().filter(pk__in=ids):
        try:
            changed += _do_to(request, user, do)
        except RefusedError as refused:
            refusals.append(f"{user.get_full_name()}: {refused.message}")
    if changed:
        messages.success(request, f"{dict(MARKED_ACTIONS)[do]}: done for {changed} user{'' if changed == 1 else 's'}.")
    elif not refusals:
        messages.warning(request, "Select users with an extension first." if do in _SWITCHED else "Select users first.")
    for message in refusals:
        messages.error(request, message)
    back = request.POST.get("back", "")
    is_list = url_has_allowed_host_and_scheme(back, allowed_hosts=None) and back.startswith(reverse("users"))
    return redirect(back if is_list else "users")


def _do_to(request: HttpRequest, user: User, do: str) -> bool:
    """Whether there was something to do it to."""
    if do == "deactivate":
        _set_active(request, user, active=False)
        return True
    extension: Extension | None = getattr(user, "extension", None)
    if extension is None:
        return False
    change_extension(actor_of(request), extension, _SWITCHED[do])
    return True


@requires(Permission.USERS)
@require_http_methods(["GET", "HEAD", "POST"])
def new_user(request: HttpRequest) -> HttpResponse:
    form = NewUserForm(request.POST or None, roles=_roles(), initial={"role": roles_here()[-1]})
    if request.method == "POST":
        user = attempt(form, lambda: _create(request, form))
        if user is not None:
            return redirect("user-edit", user.pk)
    return render(request, "accounts/user_new.html", {"form": form})


@transaction.atomic
def _create(request: HttpRequest, form: NewUserForm) -> User:
    given = dict(form.cleaned_data)
    number, may_sign_in = given.pop("number"), given.pop("may_sign_in")
    password = new_password() if may_sign_in else None
    given["username"] = given["username"] or number
    user = create_user(actor_of(request), {**given, "password": password})
    if number:
        fields = {"number": number, "display_name": user.display_name, "user": user}
        _, sip_password = create_extension(actor_of(request), fields)
        show_once(request, f"SIP password of {number}", sip_password)
    if password:
        show_once(request, f"Password of {user.username}", password)
    return user


@requires(Permission.USERS)
@require_http_methods(["GET", "HEAD", "POST"])
def user_edit(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    present = {name: getattr(user, name) for name in ("username", "display_name", "email", "role")}
    form = UserForm(request.POST or None, initial=present, roles=_roles())
    if request.method == "POST":
        attempt(form, lambda: change_user(actor_of(request), user, form.cleaned_data))
        if form.is_valid():
            messages.success(request, "Saved.")
            return redirect("user-edit", user_id)
        user = _user(user_id)
    context = {"person": user, "form": form, "secrets": take_secrets(request), "tab": "user"}
    return render(request, "accounts/user_edit.html", context)


@requires(Permission.USERS)
@require_http_methods(["GET", "HEAD", "POST"])
def user_extension(request: HttpRequest, user_id: int) -> HttpResponse:
    """The tab Extension: its switches, or the form that gives a user one."""
    user = _user(user_id)
    extension = Extension.objects.filter(user=user).first()
    if extension is None:
        return _give_extension(request, user)
    fields = ("version", "display_name", "outbound_caller_id", "record_audio", "record_video", "enabled")
    form = ExtensionForm(request.POST or None, initial={name: getattr(extension, name) for name in fields})
    if request.method == "POST":
        if form.is_valid():
            given = dict(form.cleaned_data)
            version = given.pop("version")
            attempt(form, lambda: change_extension(actor_of(request), extension, given, version=version))
        if form.is_valid():
            messages.success(request, "Saved.")
            return redirect("user-extension", user_id)
    context = {
        "person": user,
        "extension": extension,
        "form": form,
        "missing": realms_without_password(extension),
        "secrets": take_secrets(request),
        "tab": "extension",
    }
    return render(request, "accounts/user_extension.html", context)


def _give_extension(request: HttpRequest, user: User) -> HttpResponse:
    form = NewExtensionForm(request.POST or None)
    if request.method == "POST":
        given = {"display_name": user.display_name, "user": user}
        made = attempt(
            form, lambda: create_extension(actor_of(request), {**given, "number": form.cleaned_data["number"]})
        )
        if made is not None:
            show_once(request, f"SIP password of {made[0].number}", made[1])
            return redirect("user-extension", user.pk)
    return render(request, "accounts/user_extension.html", {"person": user, "form": form, "tab": "extension"})


@requires(Permission.USERS)
@require_POST
def user_password(request: HttpRequest, user_id: int) -> HttpResponse:
    """A new password, shown once on the next page. The old one and its sessions are gone."""
    user = _user(user_id)
    show_once(request, f"Password of {user.username}", reset_password(actor_of(request), user))
    if user.pk == signed_in(request).pk:
        auth.update_session_auth_hash(request, user)
    return redirect("user-edit", user_id)


@requires(Permission.USERS)
@require_POST
def user_sip_password(request: HttpRequest, user_id: int) -> HttpResponse:
    extension = Extension.objects.filter(user=_user(user_id)).first()
    if extension is None:
        raise Http404
    show_once(request, f"SIP password of {extension.number}", set_sip_password(actor_of(request), extension))
    return redirect("user-extension", user_id)


@requires(Permission.USERS)
@require_POST
def user_active(request: HttpRequest, user_id: int) -> HttpResponse:
    """Deactivates or reactivates, with the extension: a person who left keeps no phone."""
    user = _user(user_id)
    active = request.POST.get("active") == "yes"
    try:
        _set_active(request, user, active=active)
    except RefusedError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{user.username} has been {'reactivated' if active else 'deactivated'}.")
    return redirect(reverse("user-edit", args=[user_id]) if request.POST.get("stay") else "users")


@transaction.atomic
def _set_active(request: HttpRequest, user: User, *, active: bool) -> None:
    change_user(actor_of(request), user, {"is_active": active})
    for extension in Extension.objects.filter(user=user):
        change_extension(actor_of(request), extension, {"enabled": active})


def _user(user_id: int) -> User:
    user = User.objects.filter(pk=user_id).first() if user_id < 2**63 else None
    if user is None:
        raise Http404
    return user


def _roles() -> list[tuple[str, str]]:
    return [(role.value, str(role.label)) for role in roles_here()]


def _number_of(user: User) -> str | None:
    extension: Extension | None = getattr(user, "extension", None)
    return extension.number if extension else None


def _after(cursor: str) -> tuple[str | None, str] | None:
    """A cursor that no list gave starts from the beginning: a page has no better answer."""
    if not cursor:
        return None
    try:
        number, username = decode_cursor(cursor, 2)
    except ApiError:
        return None
    return (number, username) if isinstance(number, str | None) and isinstance(username, str) else None
