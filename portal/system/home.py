"""What a system administrator sees first: how calls come in, and what needs a look."""

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import requires
from accounts.roles import Permission
from portal.system import pulse
from tenants.models import InboundRule, Switch, Tenant, Trunk

SWITCHES = 200  # that are looked at
SHOWN = 20  # those to look at first


@requires(Permission.SYSTEM_TENANTS)
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    states = Tenant.objects.exclude(schema_name="public").values_list("state").annotate(Count("id")).order_by()
    by_state = {Tenant.State(state).label: count for state, count in states}
    minutes = pulse.calls_by_minute(now)
    switches = pulse.switch_states(list(Switch.objects.order_by("name")[:SWITCHES]), now)
    alarms = [each for each in switches if each.state in ("warn", "bad")]
    queues = pulse.queues()
    calls = sum(minute.calls for minute in minutes)
    context = {
        "by_state": by_state,
        "tenants": sum(by_state.values()),
        "trunks": Trunk.objects.count(),
        "rules": InboundRule.objects.count(),
        "switches": [*alarms, *(each for each in switches if each not in alarms)][:SHOWN],
        "switch_count": Switch.objects.count(),
        "alarms": alarms,
        "calls": calls,
        "last_minute": minutes[-2].calls,
        "minutes": minutes,
        "chart": pulse.chart_of(minutes),
        "queues": queues,
        "quarantine": queues[-1],
        "failed": pulse.failed_commands(now),
        "failing": pulse.failing_endpoints(now),
        "disks": pulse.disks(),
        "database": pulse.database_size(),
    }
    return render(request, "system/home.html", context)
