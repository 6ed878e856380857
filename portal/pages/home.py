"""The first page of a tenant: today in figures, and the latest calls."""

from datetime import datetime, time, timedelta

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import requires, signed_in
from accounts.roles import Permission
from cdr import columns
from cdr.figures import figures_of
from cdr.selectors import calls_in_progress, page_of, sees_all, simulators, visible_calls
from portal.pages.chart import chart_of
from recordings import quota
from tenants.models import Tenant
from tenants.schemas import current_schema

LATEST = 8
IN_PROGRESS = 100


@requires(Permission.OWN_CALLS)
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    person = signed_in(request)
    calls = visible_calls(person, person.may)
    now = timezone.localtime()
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
    figures = figures_of(calls, midnight, tomorrow)
    week_ago = figures_of(calls, midnight - timedelta(days=7), now - timedelta(days=7))
    everyone = sees_all(person.may)
    context = {
        "now": now,
        "figures": figures,
        "before": week_ago,
        "chart": chart_of(figures.hours, now),
        "latest": page_of(calls, limit=LATEST).rows,
        "simulators": simulators(),
        "shown": columns.chosen(None) - {"ring_time", "ended_time"},
        "in_progress": calls_in_progress(IN_PROGRESS) if everyone else None,
        "in_progress_most": IN_PROGRESS,
        "today": f"{reverse('cdr-list')}?period=today",
        "own_only": not everyone,
        "quota_level": quota.level_noted(_tenant()) if person.may(Permission.COMPANY) else "",
    }
    return render(request, "portal/home.html", context)


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant
