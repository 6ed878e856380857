"""Advanced > Settings > What would happen: a call of some tenant that is only thought of."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import requires
from accounts.roles import Permission
from recordings.check_views import answer_to, example
from recordings.whatif import QuestionForm
from tenants.models import Tenant
from tenants.schemas import in_schema


class TenantQuestionForm(QuestionForm):
    tenant = forms.ModelChoiceField(
        Tenant.objects.exclude(schema_name="public").filter(state=Tenant.State.ACTIVE), label="Tenant", empty_label=None
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        self.of = cleaned.pop("tenant", None)
        return cleaned


@requires(Permission.SYSTEM_SETTINGS)
@require_safe
def recording_check(request: HttpRequest) -> HttpResponse:
    asked = TenantQuestionForm(request.GET) if "caller" in request.GET else None
    tenant = asked.of if asked and asked.is_valid() else Tenant.objects.exclude(schema_name="public").filter(
        state=Tenant.State.ACTIVE
    ).first()  # fmt: skip
    if tenant is None:
        return render(request, "system/recording_check.html", {"form": None})
    with in_schema(tenant.schema_name):
        form = asked or TenantQuestionForm(initial={"tenant": tenant, **example()})
        context = answer_to(tenant, form)
    return render(request, "system/recording_check.html", context)
