"""What a system administrator sees first: tenants, switches and what waits for a look."""

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import requires
from accounts.roles import Permission
from pbx.models import Quarantined
from tenants.models import InboundRule, Switch, Tenant, Trunk

_COUNTED = 1000  # beyond it the page says "more than"


@requires(Permission.SYSTEM_TENANTS)
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    states = Tenant.objects.exclude(schema_name="public").values_list("state").annotate(Count("id")).order_by()
    by_state = {Tenant.State(state).label: count for state, count in states}
    waiting = Quarantined.objects.filter(state=Quarantined.State.WAITING).values("id")[: _COUNTED + 1].count()
    context = {
        "by_state": by_state,
        "tenants": sum(by_state.values()),
        "trunks": Trunk.objects.count(),
        "rules": InboundRule.objects.count(),
        "switches": Switch.objects.order_by("name")[:20],
        "waiting": min(waiting, _COUNTED),
        "more_waiting": waiting > _COUNTED,
    }
    return render(request, "system/home.html", context)
