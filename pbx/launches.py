"""Calls launched from here: on whose word, on which switch, and what the switch made of it.

The switch rings the extension first, then the callee, and tells the call under the session id given here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Literal

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.limiting import CallsLeft, count_launch, count_launch_of_tenant
from accounts.models import Extension
from accounts.roles import Permission
from cdr.callevent_json import CallEventError, read_text
from cdr.models import CDR, LiveSession
from pbx.dialable import refusal_of
from recordings.control import Ordered
from recordings.ordered import PATIENCE_SECONDS, wait_for
from recordings.selectors import May, own_number
from tenants import outbox
from tenants.changes import Actor, announce
from tenants.ids import new_id
from tenants.models import Switch, SwitchCommand, Tenant, Trunk
from tenants.sip_domains import primary_domain

USER_DATA_MAX = 1000  # characters: it travels through the switch
SILENCE_MAX = timedelta(seconds=60)  # a switch that was not heard for so long is not connected
_CALLED_BY_US = (Switch.Kind.ASTERISK, Switch.Kind.FREESWITCH)  # each by a connector of ours, which says how it is


class LaunchError(Exception):
    """No call was launched; `code` is stable, the message is a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class TooManyLaunchesError(LaunchError):
    """In this minute, of one token or person, or of the whole company."""

    def __init__(self, left: CallsLeft, by_whom: str) -> None:
        message = f"{by_whom} may launch at most {left.limit} calls in a minute. Try again in {left.reset_seconds} s."
        super().__init__("rate_limited", message)
        self.left = left


@dataclass(frozen=True, slots=True)
class Launched:
    """A call that a switch was told to launch."""

    session_id: str
    command_id: int
    caller: str
    callee: str
    user_data: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a switch made of it. `pending`: it has the order and said nothing yet; `withdrawn`: it never fetched it."""

    status: Literal["ringing", "pending", "failed", "withdrawn"]
    reason: str = ""
    is_unsupported: bool = False


def launch_call(
    tenant: Tenant, caller: str, callee: str, user_data: object = "", *, person: Any, may: May, actor: Actor
) -> Launched:
    """Tells the switch of the extension `caller` to ring it, and then `callee`.

    Whoever may launch from every extension names one; everybody else has only the own one. What is refused counts
    towards the minute's limits too.
    """
    _check_limits(tenant, actor)
    if not may(Permission.CALLS_LAUNCH_ALL) and (not caller or caller != own_number(person)):
        raise LaunchError("not_your_extension", "You may launch calls from your own extension only.")
    _check_extension(caller)
    _check_callee(caller, callee)
    return _order(tenant, actor, caller, callee, _user_data(user_data))


@transaction.atomic
def _order(tenant: Tenant, actor: Actor, caller: str, callee: str, user_data: str) -> Launched:
    domain = primary_domain(tenant)
    if not domain:
        raise LaunchError("no_sip_domain", "This company has no SIP domain, so no switch can find the extension.")
    session_id = str(new_id())
    command = outbox.enqueue(
        switch_for(tenant, caller),
        tenant_id=tenant.pk,
        command=SwitchCommand.Command.LAUNCH,
        session_id=session_id,
        options={"domain": domain, "caller": caller, "callee": callee, "user_data": user_data},
    )
    announce(
        actor, "call.launched", subject=f"{caller} to {callee}", subject_id=session_id,
        after={"caller": caller, "callee": callee},
    )  # fmt: skip
    return Launched(session_id, command.pk, caller, callee, user_data)


def outcome_of(launched: Launched, seconds: float = PATIENCE_SECONDS) -> Outcome:
    """What the switch makes of it within that time. What it has not even fetched by then is withdrawn: nothing rings.

    Not inside a transaction.
    """
    began, ordered = monotonic(), Ordered((launched.command_id,))
    answer = wait_for(ordered, seconds)
    waited = seconds > 0 and monotonic() - began >= seconds  # or too many wait here already
    if not answer.is_taken and waited:
        if outbox.withdraw(launched.command_id):
            return Outcome("withdrawn")
        answer = wait_for(ordered, 0)
    if answer.status == "failed":
        return Outcome("failed", answer.reason, answer.is_unsupported)
    return Outcome("ringing" if answer.status == "done" else "pending")


# --- Who calls whom ----------------------------------------------------------------------------------------


def _check_limits(tenant: Tenant, actor: Actor) -> None:
    """Whoever is over the own limit takes nothing from the company's."""
    own = count_launch(tenant.schema_name, f"{actor.kind}-{actor.id or actor.on_behalf}")
    if own is not None and own.is_over:
        raise TooManyLaunchesError(own, "One token or person")
    of_tenant = count_launch_of_tenant(tenant.schema_name)
    if of_tenant is not None and of_tenant.is_over:
        raise TooManyLaunchesError(of_tenant, "A company")


def _check_extension(number: str) -> None:
    enabled = _is_enabled(number)
    if enabled is None:
        raise LaunchError("unknown_extension", "The caller is no extension of this company.")
    if not enabled:
        raise LaunchError("extension_disabled", f"The extension {number} is disabled.")


def _check_callee(caller: str, callee: str) -> None:
    enabled = _is_enabled(callee)
    is_extension = enabled is not None
    refusal = refusal_of(callee, is_extension=is_extension, forbidden_prefixes=settings.LAUNCH_FORBIDDEN_PREFIXES)
    if refusal is not None:
        raise LaunchError(refusal.code, refusal.message)
    if callee == caller:
        raise LaunchError("forbidden_number", "An extension cannot call itself.")
    if enabled is False:
        raise LaunchError("extension_disabled", f"The extension {callee} is disabled.")


def _is_enabled(number: str) -> bool | None:
    """None when there is no such extension."""
    rows = Extension.objects.none() if "\0" in number else Extension.objects.filter(number=number)
    return rows.values_list("enabled", flat=True).first()


def _user_data(given: object) -> str:
    try:
        return read_text({"user_data": given}, "user_data", USER_DATA_MAX)
    except CallEventError as error:
        raise LaunchError("not_valid", error.message) from error


# --- On which switch ---------------------------------------------------------------------------------------


def switch_for(tenant: Tenant, number: str) -> Switch:
    """The connected switch on which the extension was heard last, else the company, else that of its trunk.

    A company of which no switch has told anything yet is served where there is only one: otherwise nobody knows.
    """
    now = timezone.now()
    connected = {each.pk: each for each in Switch.objects.filter(enabled=True) if is_connected(each, now)}
    if not connected:
        raise LaunchError("no_switch", "No switch is connected that could launch the call.")
    for switch_id in _known_switches(tenant, number):
        if switch_id in connected:
            return connected[switch_id]
    if len(connected) > 1:
        raise LaunchError("no_switch", "None of the switches that serve this company is connected.")
    return next(iter(connected.values()))


def is_connected(switch: Switch, now: datetime) -> bool:
    """A switch of ours says so itself; one that calls us is there while it fetches its commands."""
    if switch.connector_seen_at is None or switch.connector_seen_at < now - SILENCE_MAX:
        return False
    return switch.kind not in _CALLED_BY_US or switch.connector_state == "connected"


def _known_switches(tenant: Tenant, number: str) -> Iterator[int]:
    """The likeliest first; asked one after the other, for the first one mostly does."""
    live = LiveSession.objects.filter(ended_time=None).order_by("-start_time", "session_id")
    over = CDR.objects.order_by("-start_time", "-id")
    of_extension = {"extensions__contains": [number]}
    for rows in (live.filter(**of_extension), over.filter(**of_extension), live, over):
        yield from rows.values_list("switch_id", flat=True)[:1]
    yield from Trunk.objects.filter(tenant=tenant).exclude(switch=None).values_list("switch_id", flat=True)[:100]
