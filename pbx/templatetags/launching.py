"""Where the button Call leads: on whose row it stands, and whom it offers to call."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import template
from django.conf import settings
from django.urls import reverse

from accounts.access import person_of
from accounts.models import Extension
from accounts.roles import Permission
from cdr.models import CDR
from cdr.templatetags.cdr import way
from pbx.dialable import refusal_of

register = template.Library()


@register.simple_tag(takes_context=True)
def call_user(context: Mapping[str, Any], extension: Extension | None) -> str:
    """The page that calls this extension; "" where there is none one may call, or it is the asker's own."""
    person = person_of(context["request"])
    if extension is None or not extension.enabled or person is None or extension.user_id == person.pk:
        return ""
    if refusal_of(extension.number, is_extension=True, forbidden_prefixes=settings.LAUNCH_FORBIDDEN_PREFIXES):
        return ""
    return _address(context, extension.number)


@register.simple_tag(takes_context=True)
def call_back(context: Mapping[str, Any], call: CDR) -> str:
    """The page that calls a missed caller back; "" for another call, and for whom one cannot call."""
    forbidden = settings.LAUNCH_FORBIDDEN_PREFIXES
    if not way(call).state or refusal_of(call.caller, is_extension=False, forbidden_prefixes=forbidden):
        return ""
    return _address(context, call.caller)


def _address(context: Mapping[str, Any], number: str) -> str:
    request = context["request"]
    person = person_of(request)
    if person is None or not person.may(Permission.CALLS_LAUNCH):
        return ""
    return f"{reverse('call-launch')}?{urlencode({'callee': number, 'back': request.get_full_path()})}"
