"""Who held which number when: it tells whose calls and recordings are a person's own, also once the number has gone.

Whoever gives an extension up keeps what was his; whoever gets its number later sees only what came after.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from accounts.models import Extension, NumberHolder, User


@dataclass(frozen=True, slots=True)
class Held:
    """None: from the beginning, or to this day."""

    number: str
    since: datetime | None = None
    until: datetime | None = None

    def covers(self, moment: datetime) -> bool:
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


def take_up(number: str, user: User | None) -> None:
    """From now on; from the beginning when nobody else ever had it, as with the calls of a switch that came first."""
    if user is None:
        return
    now = timezone.now()
    NumberHolder.objects.filter(number=number, until=None).update(until=now)
    others = NumberHolder.objects.filter(number=number).exclude(user=user)
    NumberHolder.objects.create(number=number, user=user, since=now if others.exists() else None)


def let_go(number: str, user_id: int | None) -> None:
    if user_id is None:
        return
    now = timezone.now()
    if not NumberHolder.objects.filter(number=number, user_id=user_id, until=None).update(until=now):
        NumberHolder.objects.create(number=number, user_id=user_id, until=now)


def numbers_of(person: Any) -> list[Held]:
    """All that the person has and had. An administrator who acts for another tenant has none."""
    if not isinstance(person, User):
        return []
    rows = NumberHolder.objects.filter(user_id=person.pk).order_by("pk")
    held = [Held(row.number, row.since, row.until) for row in rows]
    present = Extension.objects.filter(user_id=person.pk).values_list("number", flat=True).first()
    if present and not any(each.number == present and each.until is None for each in held):
        held.append(Held(present))
    return held


def own(person: Any, numbers: str, at: str) -> Q | None:
    """The rows whose list `numbers` holds a number that was the person's at the time `at`; None: there can be none."""
    wanted: Q | None = None
    for held in numbers_of(person):
        of_number = Q(**{f"{numbers}__contains": [held.number]})
        if held.since:
            of_number &= Q(**{f"{at}__gte": held.since})
        if held.until:
            of_number &= Q(**{f"{at}__lt": held.until})
        wanted = of_number if wanted is None else wanted | of_number
    return wanted


def is_own(person: Any, numbers: Collection[str], moment: datetime) -> bool:
    return any(held.number in numbers and held.covers(moment) for held in numbers_of(person))
