"""The button Call on a user's and a missed call's row: asks once more, launches the call, tells what became of it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods

from accounts.access import actor_of, requires, signed_in
from accounts.roles import Permission
from pbx.forms import LaunchForm
from pbx.launches import Launched, LaunchError, Outcome, launch_call, outcome_of
from recordings.selectors import own_number


@requires(Permission.CALLS_LAUNCH)
@require_http_methods(["GET", "HEAD", "POST"])
def launch_page(request: HttpRequest) -> HttpResponseBase:
    person = signed_in(request)
    own, own_only = own_number(person), not person.may(Permission.CALLS_LAUNCH_ALL)
    asked = {"caller": own, "callee": request.GET.get("callee", "")[:33]}
    form = LaunchForm(request.POST or None, initial=asked, own_only=own_only)
    back = _back(request)
    if request.method == "POST" and form.is_valid():
        launched = _launched(request, form, own)
        outcome = outcome_of(launched) if launched else None
        if launched and outcome and _tell(request, form, launched, outcome):
            return HttpResponseRedirect(back)
    context = {"form": form, "own": own, "own_only": own_only, "back": back}
    return render(request, "pbx/launch.html", context)


def _launched(request: HttpRequest, form: LaunchForm, own: str) -> Launched | None:
    given, person = form.cleaned_data, signed_in(request)
    try:
        return launch_call(
            request.tenant, given.get("caller", own), given["callee"], given["user_data"],  # type: ignore[attr-defined]
            person=person, may=person.may, actor=actor_of(request),
        )  # fmt: skip
    except LaunchError as error:
        form.add_error(None, error.message)
        return None


def _tell(request: HttpRequest, form: LaunchForm, launched: Launched, outcome: Outcome) -> bool:
    """In words; False when nothing rings, and the form asks again."""
    match outcome.status:
        case "ringing":
            words = f"{launched.caller} is ringing. Once it is answered, {launched.callee} is called."
            messages.success(request, words)
        case "pending":
            messages.warning(
                request, "The switch has the order and has not answered. Live Calls shows what becomes of it."
            )
        case "withdrawn":
            form.add_error(None, "The switch has not fetched the order. It was withdrawn: nothing will ring.")
        case "failed":
            form.add_error(None, f"The switch could not do this: {outcome.reason.rstrip('.')}.")
    return outcome.status in ("ringing", "pending")


def _back(request: HttpRequest) -> str:
    """Where the button was, if it was a page of this host."""
    asked = request.POST.get("back") or request.GET.get("back", "")
    return asked if url_has_allowed_host_and_scheme(asked, allowed_hosts=None) else reverse("live-calls")
