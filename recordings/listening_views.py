"""One recording: its page with the player, its file for the player and to take away, the reason somebody gives."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from accounts.access import actor_of, requires, signed_in
from accounts.callers import ApiError
from accounts.rest import encode_cursor
from accounts.roles import Permission
from cdr.ladder import Track
from cdr.models import CDR
from cdr.selectors import simulators
from recordings import playback, plays
from recordings.errors import VaultError
from recordings.forms import ReasonForm
from recordings.models import Play, Recording
from recordings.player import Player, player_of, start_of, track_of
from recordings.selectors import calls_of, plays_of, recordings_of, sees_plays
from recordings.views import visible
from tenants.models import Tenant

PLAYS = 25


@dataclass(frozen=True)
class Shown:
    """A player on a page, or the question that stands before it."""

    player: Player
    call: CDR | None
    form: ReasonForm | None
    back: str  # where the question leads


@requires(Permission.OWN_CALLS)
@require_safe
def recording_page(request: HttpRequest, recording_id: int) -> HttpResponseBase:
    recording = recording_of(request, recording_id)
    person = signed_in(request)
    call = calls_of([recording]).get(recording.session_id)
    context = {
        "recording": recording,
        "call": call,
        "shown": shown_of(request, recording, call, start_s=start_of(request.GET.get("t", ""))),
        "siblings": list(recordings_of(visible(request), [recording.session_id])),
        "segments": list(recording.segments.select_related("file").order_by("number")),
        "may_delete": person.may(Permission.RECORDINGS_FULL),
        "simulators": simulators(),
    }
    if sees_plays(person, person.may, recording):
        try:
            context |= _listeners(request, recording)
        except ApiError:
            return HttpResponseRedirect(reverse("recording", args=[recording.pk]))
    return render(request, "recordings/recording.html", context)


@requires(Permission.OWN_CALLS)
@require_safe
def recording_file(request: HttpRequest, recording_id: int) -> HttpResponseBase:
    """What the player on a page asks for."""
    return _send(request, recording_of(request, recording_id), Play.Kind.PLAY)


@requires(Permission.OWN_CALLS)
@require_safe
def recording_download(request: HttpRequest, recording_id: int) -> HttpResponseBase:
    return _send(request, recording_of(request, recording_id), Play.Kind.DOWNLOAD)


@requires(Permission.OWN_CALLS)
@require_POST
def give_reason(request: HttpRequest, recording_id: int) -> HttpResponseBase:
    """Opens a listening; the player stands on the page from then on."""
    recording = recording_of(request, recording_id)
    form = ReasonForm(request.POST)
    if form.is_valid():
        plays.open_listening(actor_of(request), recording, form.cleaned_data["reason"])
    else:
        messages.warning(request, "Say why you listen to this recording.")
    return HttpResponseRedirect(_back_of(request, recording))


def recordings_of_call(request: HttpRequest, call: CDR) -> SafeString:
    """The players on a call's page. Fills the slot of `cdr.views`."""
    rows = list(recordings_of(visible(request), [call.session_id]))
    if not rows:
        return SafeString("")
    shown = [shown_of(request, recording, call) for recording in rows]
    return SafeString(render_to_string("recordings/of_call.html", {"shown": shown, "call": call}, request))


def tracks_of_call(request: HttpRequest, call: CDR) -> list[Track]:
    """Each recording under the legs of its call. Fills the slot of `cdr.views`."""
    return [track_of(recording) for recording in recordings_of(visible(request), [call.session_id])]


def recording_of(request: HttpRequest, recording_id: int) -> Recording:
    recording = visible(request).filter(pk=recording_id).first()
    if recording is None:
        raise Http404
    return recording


def shown_of(request: HttpRequest, recording: Recording, call: CDR | None, *, start_s: float = 0.0) -> Shown:
    needs_reason = (
        recording.state == Recording.State.READY
        and _tenant(request).ask_play_reason
        and not plays.reason_given(actor_of(request), recording, timezone.now())
    )
    form = ReasonForm(auto_id=f"reason-{recording.pk}-%s") if needs_reason else None
    return Shown(player_of(recording, call, start_s=start_s), call, form, request.get_full_path())


def _send(request: HttpRequest, recording: Recording, kind: Play.Kind) -> HttpResponseBase:
    try:
        return playback.response_for(
            request, recording, actor=actor_of(request), kind=kind, asks_reason=_tenant(request).ask_play_reason
        )
    except plays.ReasonNeededError:
        return HttpResponseRedirect(reverse("recording", args=[recording.pk]))
    except playback.NotPlayableError as error:
        return _sorry(request, recording, error.message, error.status_code)
    except VaultError as error:
        return _sorry(request, recording, error.message, 503)


def _sorry(request: HttpRequest, recording: Recording, message: str, status: int) -> HttpResponse:
    context = {"recording": recording, "message": message}
    return render(request, "recordings/not_playable.html", context, status=status)


def _listeners(request: HttpRequest, recording: Recording) -> dict[str, Any]:
    rows = list(plays_of(recording, request.GET.get("plays", ""))[: PLAYS + 1])
    last = rows[PLAYS - 1] if len(rows) > PLAYS else None
    older = f"?plays={encode_cursor(last.at.isoformat(), last.pk)}#listeners" if last else ""
    return {
        "plays": rows[:PLAYS],
        "older_plays": older,
        "newest_plays": "?#listeners" if "plays" in request.GET else "",
    }


def _back_of(request: HttpRequest, recording: Recording) -> str:
    back = request.POST.get("back", "")
    is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return f"{back if is_ours else reverse('recording', args=[recording.pk])}#recording-{recording.pk}"


def _tenant(request: HttpRequest) -> Tenant:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    return tenant
