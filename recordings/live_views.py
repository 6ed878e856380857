"""Call Statistics > Live Calls: the calls in progress, and commanding their recordings."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Person, actor_of, requires, signed_in
from accounts.callers import ApiError
from accounts.roles import Permission
from recordings import live_rows
from recordings.books import Via
from recordings.control import ControlError, Operation
from recordings.live import Viewer, page_for
from recordings.ordered import WORDS, Answer, order, wait_for
from tenants.models import Tenant

LEGEND = (("service", "In a menu or queue"), ("ringing", "Ringing"), ("talking", "Talking"), ("held", "Held"))
SEARCH_LENGTH = 100
SOCKET = "/socket"  # below the page's own address
_DONE = {
    Operation.START: "Recording was started",
    Operation.STOP: "Recording was stopped",
    Operation.PAUSE: "Recording is paused",
    Operation.RESUME: "Recording was resumed",
}


@requires(Permission.OWN_CALLS)
@require_safe
def live_calls(request: HttpRequest) -> HttpResponseBase:
    viewer = Viewer.of(signed_in(request))
    search, after = request.GET.get("search", "")[:SEARCH_LENGTH], request.GET.get("after", "")
    try:
        page = page_for(viewer, search=search, after=after)
    except ApiError:  # a cursor that was cut or written by hand
        return HttpResponseRedirect(reverse("live-calls"))
    now = timezone.now()
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    query = {name: value for name, value in (("search", search), ("after", after)) if value}
    context = {
        "rows": [live_rows.row(call, viewer, now) for call in page.calls],
        "counts": live_rows.counts(page.counts),
        "foot": live_rows.foot(page, search=search, after=after),
        "search": search,
        "address": live_rows.address(query),
        "socket": live_rows.address(query, SOCKET),
        "now": now,
        "epoch": f"{now.timestamp():.3f}",
        "legend": LEGEND,
        "own_only": not viewer.sees_all,
        "may_command": viewer.commands_all or bool(viewer.number),
        "pausing": f"Pausing here does the same as {tenant.pause_recording_code} on the phone.",
        "kept": _kept(tenant),
    }
    return render(request, "recordings/live.html", context)


@requires(Permission.OWN_CALLS)
@require_POST
def command(request: HttpRequest) -> HttpResponseBase:
    """Tells what the switch answered: to a script as a toast, else on the page it came from."""
    person = signed_in(request)
    state, text = _commanded(request, person)
    if request.headers.get("HX-Request") == "true":
        return render(request, "ui/toast.html", {"state": state, "text": text})
    messages.add_message(request, messages.SUCCESS if state == "success" else messages.WARNING, text)
    back = request.POST.get("back", "")
    here = reverse("live-calls")
    return HttpResponseRedirect(back if back.startswith(f"{here}?") else here)


def _commanded(request: HttpRequest, person: Person) -> tuple[str, str]:
    """The level of the message, and the message."""
    word, _, session_id = request.POST.get("command", "").partition(" ")
    if word not in WORDS or not session_id:
        return "warning", "This cannot be asked of a call."
    try:
        ordered = order(
            request.tenant, session_id, word,  # type: ignore[attr-defined]
            person=person, may=person.may, actor=actor_of(request), via=Via.LIVE_CALLS,
        )  # fmt: skip
    except ControlError as error:
        return "warning", error.message
    answer = wait_for(ordered)
    if answer.status == "done":
        return "success", f"{_DONE[WORDS[word][0]]}{'; the switch confirmed it' if ordered.commands else ' already'}."
    return "warning", _failure(answer)


def _failure(answer: Answer) -> str:
    if answer.status == "failed":
        return f"The switch could not do this: {answer.reason.rstrip('.')}."
    if not answer.is_taken:
        return "The switch has not fetched the command yet. The list shows what becomes of it."
    return "The switch has not answered yet. The list shows what becomes of it."


def _kept(tenant: Tenant) -> str:
    told = "The gap, the time and your name are kept with the call."
    if not tenant.longest_pause_seconds:
        return told
    minutes, seconds = divmod(tenant.longest_pause_seconds, 60)
    length = f"{minutes} min" if not seconds else f"{minutes}:{seconds:02} min"
    return f"{told} Recording resumes by itself after {length}."
