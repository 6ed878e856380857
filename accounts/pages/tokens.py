"""Company > API tokens, on a tenant's host and on the system's."""

from datetime import timedelta

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import actor_of, requires, signed_in
from accounts.forms import TokenForm, attempt
from accounts.models import ApiToken, User
from accounts.once import show_once, take_secrets
from accounts.roles import Permission
from accounts.tokens import create_token, revoke_token, scopes_for, tokens
from tenants.errors import RefusedError

SHOWN = 200


@requires(Permission.API_TOKENS)
@require_http_methods(["GET", "HEAD", "POST"])
def api_tokens(request: HttpRequest) -> HttpResponse:
    """A token belongs to a person of this host; an acting administrator sees and revokes, but owns none."""
    person = signed_in(request)
    owner = User.objects.get(pk=person.pk) if person.pk is not None else None
    form = TokenForm(request.POST or None, scopes=scopes_for(owner)) if owner else None
    if request.method == "POST" and form is not None and owner is not None:
        made = attempt(form, lambda: create_token(actor_of(request), owner, _given(form)))
        if made is not None:
            show_once(request, f"API token {made[0].name}", made[1])
            return redirect("api-tokens")
    context = {"form": form, "tokens": tokens()[:SHOWN], "secrets": take_secrets(request), "now": timezone.now()}
    return render(request, "accounts/api_tokens.html", context)


@requires(Permission.API_TOKENS)
@require_POST
def revoke_api_token(request: HttpRequest, token_id: int) -> HttpResponse:
    token = ApiToken.objects.filter(pk=token_id).first() if token_id < 2**63 else None
    if token is None:
        raise Http404
    try:
        revoke_token(actor_of(request), token)
        messages.success(request, f"The token {token.name} has been revoked.")
    except RefusedError as refused:
        messages.error(request, refused.message)
    return redirect("api-tokens")


def _given(form: TokenForm) -> dict[str, object]:
    days = int(form.cleaned_data["days"])
    return {
        "name": form.cleaned_data["name"],
        "scopes": form.cleaned_data["scopes"],
        "expires_at": timezone.now() + timedelta(days=days) if days else None,
    }
