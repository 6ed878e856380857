"""Who called in vain and has not been talked to since."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, QuerySet

from cdr.models import CDR, CallStatus, Direction

LOOKS_BACK = timedelta(days=7)
LOOKED_AT = 500  # missed calls, the newest; beyond them it says so
_CAME_IN = (Direction.INBOUND, Direction.INBOUND_OUTBOUND)


@dataclass(frozen=True)
class MissedCaller:
    """A number with its last missed call, and how often it tried."""

    call: CDR
    tries: int


@dataclass(frozen=True)
class Waiting:
    """Newest first. `is_cut`: older missed calls were not looked at."""

    callers: list[MissedCaller]
    is_cut: bool


def missed_callers(calls: "QuerySet[CDR]", now: datetime) -> Waiting:
    """Of these calls of the last days: whoever was missed, and neither got through later nor was reached by anyone."""
    since = now - LOOKS_BACK
    vain = calls.filter(start_time__gte=since, direction__in=_CAME_IN).exclude(status=CallStatus.ANSWERED)
    missed = list(vain.exclude(caller="").order_by("-start_time", "-pk")[:LOOKED_AT])
    latest: dict[str, CDR] = {}
    tries: dict[str, int] = {}
    for call in missed:
        latest.setdefault(call.caller, call)
        tries[call.caller] = tries.get(call.caller, 0) + 1
    talked = _last_talks(set(latest), since)
    callers = [
        MissedCaller(call, tries[number])
        for number, call in latest.items()
        if number not in talked or talked[number] < call.start_time
    ]
    return Waiting(callers, len(missed) == LOOKED_AT)


def _last_talks(numbers: set[str], since: datetime) -> dict[str, datetime]:
    """When each number was last talked to by anybody of the tenant, whoever called."""
    if not numbers:
        return {}
    written = {way: number for number in numbers for way in _ways(number)}
    answered = CDR.objects.filter(start_time__gte=since, status=CallStatus.ANSWERED).order_by()
    found: dict[str, datetime] = {}
    for side in ("caller", "callee"):
        rows = answered.filter(**{f"{side}__in": list(written)}).values_list(side).annotate(last=Max("start_time"))
        for way, last in rows:
            number = written[way]
            found[number] = max(last, found.get(number, last))
    return found


def _ways(number: str) -> set[str]:
    """How the same number may be dialled: with +, 00 or neither."""
    bare = number.removeprefix("+").removeprefix("00")
    return {number, bare, f"+{bare}", f"00{bare}"} if len(bare) > 6 else {number}
