"""Company > Event URL: the endpoints, each with its health and its log, and one delivery in full."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires
from accounts.once import show_once, take_secrets
from accounts.roles import Permission
from events import deliveries, endpoints, samples
from events.api import body_of, tenant_of
from events.endpoints import EndpointError
from events.forms import EndpointForm, LogForm
from events.models import Delivery, Endpoint
from events.redeliveries import offers_missed
from events.selectors import deliveries_log, health_of
from events.types import DEFAULT, EVENT_TYPES
from tenants.errors import RefusedError
from tenants.values import id_of

PAGE = 50
ATTEMPTS_SHOWN = 100
FRESH_MOST = 99
M = TypeVar("M", bound=Model)
T = TypeVar("T")
FAILING = "failing"  # not a state of its own: waiting, and tried in vain
STATES = (
    ("", "All"),
    ("pending", "Waiting"),
    (FAILING, "Failing"),
    ("delivered", "Delivered"),
    ("exhausted", "Gave up"),
    ("stopped", "Stopped"),
)


@dataclass(frozen=True)
class LogPage:
    rows: list[Delivery]
    newer: str
    older: str
    live: str  # where the same rows are found as they are now
    newest: str  # where the newest rows are found, which `fresh` counts
    fresh: int = 0  # newer ones that came since the page was loaded


def _row(rows: "QuerySet[M]", row_id: int) -> M:
    found = rows.filter(pk=row_id).first() if row_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _endpoint(endpoint_id: int) -> Endpoint:
    return _row(endpoints.live_endpoints(), endpoint_id)


@requires(Permission.EVENT_URL)
@require_safe
def event_url(request: HttpRequest) -> HttpResponse:
    """The first endpoint, or the form for it."""
    first = endpoints.live_endpoints().first()
    return _new_page(request, EndpointForm()) if first is None else _endpoint_page(request, first)


@requires(Permission.EVENT_URL)
@require_http_methods(["GET", "HEAD", "POST"])
def new_endpoint(request: HttpRequest) -> HttpResponse:
    form = EndpointForm(request.POST or None)
    if request.method == "POST":
        made = _attempt(form, lambda: endpoints.create_endpoint(form.settings(), actor=actor_of(request)))
        if made is not None:
            endpoint, secret = made
            show_once(request, "Signing secret", secret)
            return redirect("event-url-endpoint", endpoint.pk)
    return _new_page(request, form)


@requires(Permission.EVENT_URL)
@require_http_methods(["GET", "HEAD", "POST"])
def endpoint(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    found = _endpoint(endpoint_id)
    if request.method != "POST":
        return _endpoint_page(request, found)
    form = EndpointForm(request.POST, endpoint=found)
    saved = _attempt(
        form,
        lambda: endpoints.change_endpoint(
            found, form.settings(), actor=actor_of(request), version=form.cleaned_data["version"]
        ),
    )
    if saved is None:
        return _endpoint_page(request, found, form)
    messages.success(request, "Saved." if saved.enabled else "Saved. Nothing is sent while this is off.")
    return redirect("event-url-endpoint", found.pk)


@requires(Permission.EVENT_URL)
@require_safe
def endpoint_health(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    found = _endpoint(endpoint_id)
    return render(request, "events/_health.html", {"endpoint": found, "health": health_of(found, timezone.now())})


@requires(Permission.EVENT_URL)
@require_safe
def endpoint_log(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """The rows that a page shows, as they are now, and how many newer ones there are."""
    found = _endpoint(endpoint_id)
    return render(request, "events/_log_live.html", {"endpoint": found} | _log_context(request, found))


@requires(Permission.EVENT_URL)
@require_POST
def delete_endpoint(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    found = _endpoint(endpoint_id)
    endpoints.delete_endpoint(found, actor=actor_of(request))
    messages.success(request, f"{found.url} has been removed.")
    return redirect("event-url")


@requires(Permission.EVENT_URL)
@require_POST
def rotate_secret(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    found = _endpoint(endpoint_id)
    try:
        show_once(request, "New signing secret", endpoints.rotate_secret(found, actor=actor_of(request)))
    except RefusedError as refused:
        messages.error(request, refused.message)
    return redirect("event-url-endpoint", found.pk)


@requires(Permission.EVENT_URL)
@require_POST
def test_endpoint(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    found = _endpoint(endpoint_id)
    event_type = request.POST.get("event_type", DEFAULT)
    if event_type not in samples.EXAMPLES:
        messages.error(request, "There is no example of this event.")
        return redirect("event-url-endpoint", found.pk)
    try:
        sent = deliveries.send_test(found, tenant_of(request), actor=actor_of(request), event_type=event_type)
    except RefusedError as refused:
        messages.error(request, refused.message)
        return redirect("event-url-endpoint", found.pk)
    outcome = sent.attempts.get().reason
    what = "The test call" if event_type == DEFAULT else f"The test of {event_type}"
    if sent.state == Delivery.State.DELIVERED:
        messages.success(request, f"{what} was acknowledged: {outcome}.")
    else:
        messages.error(request, f"{what} was not acknowledged: {outcome}.")
    return redirect("event-url-delivery", sent.pk)


@requires(Permission.EVENT_URL)
@require_safe
def delivery(request: HttpRequest, delivery_id: int) -> HttpResponse:
    found = _row(deliveries_log(), delivery_id)
    attempts = list(found.attempts.all()[:ATTEMPTS_SHOWN])
    body = body_of(found)
    context = {
        "delivery": found,
        "attempts": attempts,
        "last": attempts[-1] if attempts else None,
        "size": len(body.encode()),
        "document": json.dumps(json.loads(body), ensure_ascii=False, indent=2),
        "may_send_again": not found.is_test and found.endpoint.enabled,
    }
    return render(request, "events/delivery.html", context)


@requires(Permission.EVENT_URL)
@require_POST
def send_again(request: HttpRequest, delivery_id: int) -> HttpResponse:
    found = _row(deliveries_log(), delivery_id)
    try:
        asked = deliveries.redeliver(found, actor=actor_of(request))
        messages.success(
            request,
            "It is being tried at this moment, and is sent again after that."
            if asked.again_at
            else "It is being sent again.",
        )
    except RefusedError as refused:
        messages.error(request, refused.message)
    return redirect("event-url-delivery", found.pk)


def _attempt(form: EndpointForm, verb: Callable[[], T]) -> T | None:
    if not form.is_valid():
        return None
    try:
        return verb()
    except EndpointError as wrong:
        form.add_error(wrong.field, wrong.message)
    except RefusedError as refused:
        form.add_error(None, refused.message)
    return None


def _new_page(request: HttpRequest, form: EndpointForm) -> HttpResponse:
    context = {"form": form, "endpoint": None, "tabs": _tabs(), "more_types": _wants_more(form)}
    return render(request, "events/event_url.html", context)


def _endpoint_page(request: HttpRequest, found: Endpoint, form: EndpointForm | None = None) -> HttpResponse:
    form = form or EndpointForm(endpoint=found)
    context: dict[str, Any] = {
        "form": form,
        "more_types": _wants_more(form),
        "endpoint": found,
        "tabs": _tabs(),
        "secrets": take_secrets(request),
        "health": health_of(found, timezone.now()),
        "examples": _examples(request, found),
        "former_until": endpoints.former_secrets_until(found, timezone.now()),
        "offers_missed": offers_missed(found),
        **_log_context(request, found),
    }
    return render(request, "events/event_url.html", context)


def _log_context(request: HttpRequest, found: Endpoint) -> dict[str, Any]:
    """The log with its filters, which live in the address. What a filter cannot be is left out, with a word."""
    form = LogForm(request.GET)
    asked = form.asked()
    here = reverse("event-url-endpoint", args=[found.pk])

    def address(**changes: str) -> str:
        query = urlencode({name: value for name, value in (asked | changes).items() if value})
        return f"{here}?{query}#log" if query else f"{here}#log"

    filters = form.filters()
    state = asked.get("state", "")
    filters = replace(
        filters, endpoint=found.pk, state="" if state == FAILING else state, failing=state == FAILING
    )  # fmt: skip
    live = reverse("event-url-log", args=[found.pk])
    return {
        "log": _log_page(request, deliveries_log(filters), address, f"{live}?{urlencode(asked)}"),
        "log_form": form,
        "states": [(label, address(state=value), value == state) for value, label in STATES],
        "state": state,
        "narrowed": [(name, value) for name, value in asked.items() if name != "state"],
        "is_filtered": bool(asked),
        "here": here,
        "top": address(),
        "clear": f"{here}#log",
    }


def _examples(request: HttpRequest, found: Endpoint) -> list[tuple[str, str]]:
    """Each event type with its message as this endpoint would get it."""
    now = timezone.now()
    documents = [
        (name, samples.example(name, tenant_of(request), now, profile=found.profile)) for name in samples.EXAMPLES
    ]
    return [
        (name, json.dumps(document | {"event_id": deliveries.TEST_EVENT_ID}, ensure_ascii=False, indent=2))
        for name, document in documents
    ]


def _wants_more(form: EndpointForm) -> bool:
    """Whether one of the event types that the page folds away is chosen."""
    return bool(set(form["event_types"].value() or []) & set(EVENT_TYPES[2:]))


def _tabs() -> list[tuple[Endpoint, str]]:
    """Each endpoint with its state: good, warn while it fails, bad when it was disabled, off when it is off."""

    def state(one: Endpoint) -> str:
        if not one.enabled:
            return "bad" if one.disabled_reason else "off"
        return "warn" if one.failing_since else "good"

    return [(one, state(one)) for one in endpoints.live_endpoints()]


def _log_page(request: HttpRequest, log: "QuerySet[Delivery]", address: Callable[..., str], live: str) -> LogPage:
    """Keyset pages on the id, newest first. `upto` keeps the newest page to the rows it had when it was loaded."""
    before, after, upto = (id_of(request.GET.get(name, "")) for name in ("before", "after", "upto"))
    if after is not None:
        rows = list(log.filter(pk__gt=after).order_by("pk")[: PAGE + 1])
        is_more, rows = len(rows) > PAGE, rows[:PAGE][::-1]
        newer, older = is_more, bool(rows)
    else:
        rows = list((log.filter(pk__lt=before) if before is not None else log)[: PAGE + 1])
        newer, older = before is not None, len(rows) > PAGE
        rows = rows[:PAGE]
    fresh, newest = 0, live
    if before is None and after is None and upto is not None:
        fresh = log.filter(pk__gt=upto).order_by()[: FRESH_MOST + 1].count()
        rows = list(log.filter(pk__lte=upto)[: PAGE + 1])
        older, rows = len(rows) > PAGE, rows[:PAGE]
    if before is not None:
        live += f"&before={before}"
    elif after is not None:
        live += f"&after={after}"
    elif rows:
        live += f"&upto={upto if upto is not None else rows[0].pk}"
    return LogPage(
        rows,
        live=live,
        newest=newest,
        fresh=fresh,
        newer=address(after=str(rows[0].pk)) if newer and rows else "",
        older=address(before=str(rows[-1].pk)) if older and rows else "",
    )
