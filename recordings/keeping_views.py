"""Company > Retention: how long recordings are kept, the disk quota, the trash, and the legal holds."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires, signed_in
from accounts.forms import attempt
from accounts.models import AuditEntry
from accounts.pages.company import Option
from accounts.rest import ApiError, encode_cursor
from accounts.roles import Permission
from accounts.selectors import last_change
from recordings import holds, quota, retention, trash
from recordings.keeping_forms import HoldForm, RetentionForm
from recordings.models import Recording
from recordings.selectors import moment_and_id
from tenants.company import change_company
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import current_schema

PAGE = 50
MANY = 1000


@requires(Permission.COMPANY)
@require_http_methods(["GET", "HEAD", "POST"])
def retention_page(request: HttpRequest) -> HttpResponse:
    tenant, now = _tenant(), timezone.now()
    names = ("version", "recording_days", "when_quota_full", "event_log_days")
    form = RetentionForm(request.POST or None, initial={name: getattr(tenant, name) for name in names})
    leaving = 0
    if request.method == "POST" and form.is_valid():
        leaving = _leaving(tenant, form, now)
        if not leaving:
            given = {name: value for name, value in form.cleaned_data.items() if name not in ("version", "confirmed")}
            version = form.cleaned_data["version"]
            attempt(form, lambda: change_company(actor_of(request), tenant, given, version=version))
            if form.is_valid():
                messages.success(request, "Saved.")
                return redirect("retention")
        tenant = _tenant()
    context = {
        "form": form,
        "tab": "rules",
        "leaving": leaving,
        "usage": quota.usage_of(tenant, now),
        "company": tenant,
        "options": [
            Option(form[name], then, last_change(tenant.pk, "company.changed", name), unit)
            for name, then, unit in _effects(tenant, now)
        ],
        "in_trash": _counted(trash.in_trash()),
        "held": _counted(holds.held()),
        "sees_recordings": signed_in(request).may(Permission.RECORDINGS_FULL),
    }
    return render(request, "recordings/retention.html", context)


def _effects(tenant: Tenant, now: datetime) -> list[tuple[str, str, str]]:
    """What each rule does as it now stands, and its unit."""
    oldest = timezone.localtime(now - timedelta(days=tenant.recording_days))
    full = (
        "Now: the oldest recordings make room."
        if tenant.when_quota_full == Tenant.QuotaFull.OLDEST
        else "Now: nothing is deleted; you and the system administrator are warned."
    )
    return [
        ("recording_days", f"Now: what was recorded before {oldest.day} {oldest:%B %Y} goes.", "days"),
        ("when_quota_full", full if tenant.recording_quota_mb else "Now: there is no quota.", ""),
        ("event_log_days", "Now: an endpoint that was away for longer misses events.", "days"),
    ]


def _counted(rows: "QuerySet[Recording]") -> str:
    """Nobody needs to know by how much it is many."""
    count = len(rows.order_by().values_list("pk")[: MANY + 1])
    return f"{MANY}+" if count > MANY else str(count)


def _leaving(tenant: Tenant, form: RetentionForm, now: datetime) -> int:
    """How many recordings fewer days would put into the trash, unless that was confirmed."""
    days = form.cleaned_data["recording_days"]
    if form.cleaned_data["confirmed"] or not 1 <= days < tenant.recording_days:
        return 0
    return retention.would_expire(days, now)


@dataclass(frozen=True)
class Trashed:
    recording: Recording
    seconds: int
    gone_at: datetime | None
    dialog: str  # the id of the question before it is deleted


def _trashed(row: Recording) -> Trashed:
    gone_at = row.trashed_at + timedelta(days=trash.DAYS_IN_TRASH) if row.trashed_at else None
    return Trashed(row, row.duration_ms // 1000, gone_at, f"delete-{row.pk}")


@requires(Permission.RECORDINGS_FULL)
@require_safe
def trash_page(request: HttpRequest) -> HttpResponse:
    rows = trash.in_trash(_before(request.GET.get("cursor", "")))
    found = list(rows[: PAGE + 1])
    page = found[:PAGE]
    following = ""
    if len(found) > PAGE:
        following = _following(page[-1].trashed_at, page[-1])
    context = {
        "tab": "trash",
        "rows": [_trashed(row) for row in page],
        "days": trash.DAYS_IN_TRASH,
        "following": following,
        "first": "?" if "cursor" in request.GET else "",
    }
    return render(request, "recordings/trash.html", context)


@requires(Permission.RECORDINGS_FULL)
@require_POST
def trash_one(request: HttpRequest, recording_id: int) -> HttpResponse:
    """Out of the trash, back or for good."""
    recording = _recording(recording_id)
    verbs = {
        "restore": (trash.restore, "It is back among the recordings."),
        "delete": (trash.delete_now, "Deleted for good."),
    }
    if (verb := verbs.get(request.POST.get("do", ""))) is None:
        return HttpResponse("do must be restore or delete.", status=400, content_type="text/plain")
    _tell(request, lambda: verb[0](actor_of(request), recording), verb[1])
    return redirect("trash")


@dataclass(frozen=True)
class Hold:
    recording: Recording
    placed: AuditEntry | None


@requires(Permission.RECORDINGS_FULL)
@require_safe
def holds_page(request: HttpRequest) -> HttpResponse:
    rows = holds.held(_before(request.GET.get("cursor", "")))
    found = list(rows[: PAGE + 1])
    page = found[:PAGE]
    placed = holds.placed_by(page)
    following = ""
    if len(found) > PAGE:
        following = _following(page[-1].created_at, page[-1])
    context = {
        "tab": "holds",
        "rows": [Hold(row, placed.get(str(row.pk))) for row in page],
        "following": following,
        "first": "?" if "cursor" in request.GET else "",
    }
    return render(request, "recordings/holds.html", context)


@requires(Permission.RECORDINGS_FULL)
@require_http_methods(["GET", "HEAD", "POST"])
def hold_page(request: HttpRequest, recording_id: int) -> HttpResponse:
    """Places a legal hold on a recording, or releases the one there is; each with its reason."""
    recording = _recording(recording_id)
    form = HoldForm(request.POST or None)
    if request.method == "POST":
        verb, done = (
            (holds.release_hold, "The legal hold is released.")
            if request.POST.get("do") == "release"
            else (holds.place_hold, "The recording is held.")
        )
        if attempt(form, lambda: verb(actor_of(request), recording, form.cleaned_data["reason"])):
            messages.success(request, done)
            return redirect("holds")
        recording = _recording(recording_id)
    context = {
        "recording": recording,
        "form": form,
        "placed": holds.placed_by([recording]).get(str(recording.pk)),
        "days": _tenant().recording_days,
    }
    return render(request, "recordings/hold.html", context)


def _following(at: datetime | None, last: Recording) -> str:
    return "?" + urlencode({"cursor": encode_cursor(at.isoformat() if at else "", last.pk)})


def _recording(recording_id: int) -> Recording:
    found = Recording.objects.filter(pk=recording_id).first() if recording_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant


def _before(cursor: str) -> tuple[datetime, int] | None:
    """A cursor that no list gave starts from the newest: a page has no better answer."""
    try:
        return moment_and_id(cursor) if cursor else None
    except ApiError:
        return None


def _tell(request: HttpRequest, verb: Callable[[], object], done: str) -> None:
    try:
        verb()
    except RefusedError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, done)
