"""Company > General > What would happen: a call that is only thought of, answered by the policy."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import requires
from accounts.models import Extension
from accounts.rest import ApiError, Door
from accounts.roles import Permission
from recordings.models import MEDIUM_CHOICES
from recordings.whatif import QuestionForm, Step, steps_of
from tenants.models import SystemSettings, Tenant
from tenants.schemas import current_schema

OUTSIDE = "+4930123456"  # an example of a caller from outside
SUGGESTED = 200


@requires(Permission.COMPANY)
@require_safe
def recording_check(request: HttpRequest) -> HttpResponse:
    tenant = _tenant()
    form = QuestionForm(request.GET) if "caller" in request.GET else QuestionForm(initial=example())
    return render(request, "recordings/check.html", answer_to(tenant, form))


def example() -> dict[str, str]:
    return {"caller": OUTSIDE, "callee": Extension.objects.values_list("number", flat=True).first() or ""}


def answer_to(tenant: Tenant, form: QuestionForm) -> dict[str, Any]:
    """What the page shows: the form, and the answer once there is a question."""
    numbers = list(Extension.objects.values_list("number", "display_name")[:SUGGESTED])
    asked = form.is_valid()
    steps = steps_of(tenant, **form.cleaned_data) if asked else []
    return {
        "form": form,
        "extensions": numbers,
        "steps": steps,
        "no_transfer": asked and bool(form.cleaned_data["transferred_to"]) and len(steps) == 1,
        "company": tenant,
        "record_external_calls": SystemSettings.current().record_external_calls,
    }


class MediumShape(serializers.Serializer[Any]):
    medium = serializers.ChoiceField(MEDIUM_CHOICES)
    record = serializers.BooleanField()
    rule = serializers.CharField()
    extension = serializers.CharField(help_text="Whose switch decides, when it is one's.")
    message = serializers.CharField()


class StepShape(serializers.Serializer[Any]):
    step = serializers.CharField()
    media = MediumShape(many=True)


class CheckShape(serializers.Serializer[Any]):
    steps = StepShape(many=True)


class RecordingCheck(Door):
    """What the policy would decide for a call now."""

    permission = Permission.COMPANY

    @extend_schema(
        operation_id="recording_check_retrieve",
        parameters=[
            OpenApiParameter("caller", required=True, description="An extension, else a number from outside."),
            OpenApiParameter("callee", required=True),
            OpenApiParameter("video", bool),
            OpenApiParameter("transferred_to", description="Where whoever is internal transfers the call then."),
        ],
        responses=CheckShape,
    )
    def get(self, request: Request) -> Response:
        form = QuestionForm(request.query_params)
        if not form.is_valid():
            raise ApiError(
                "not_valid", "Name caller and callee.",
                details={name: [str(each) for each in said] for name, said in form.errors.items()},
            )  # fmt: skip
        return Response({"steps": [_represent(step) for step in steps_of(_tenant(), **form.cleaned_data)]})


def _represent(step: Step) -> dict[str, Any]:
    media = [
        {
            "medium": answer.medium, "record": answer.verdict.record, "rule": answer.verdict.rule,
            "extension": answer.verdict.extension, "message": answer.told,
        }
        for answer in step.answers
    ]  # fmt: skip
    return {"step": step.what, "media": media}


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant
