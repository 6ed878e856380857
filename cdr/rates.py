"""The verbs on rate rules: add, change, delete, take many from a CSV, and rate the calls of a period anew.

A rule holds for calls that end after it was written. Calls that stand already are corrected only when somebody asks for
it, and then each correction is told as any other.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet

from cdr import ledger
from cdr.models import CDR, RateRule
from cdr.rating import Rate, leg_cost, rate_for
from cdr.records import Record, seconds_between
from events import log as event_log
from tenants.changes import SYSTEM, Actor, announce
from tenants.models import Tenant
from tenants.schemas import current_schema

FIELDS = (
    "prefix", "note", "valid_from", "valid_until", "connect_fee", "price_1", "interval_1", "price_n", "interval_n",
    "free_seconds", "grace_period", "postcall_surcharge",
)  # fmt: skip
MOST_RULES = 20_000
_DEFAULTS = {field.name: field.get_default() for field in RateRule._meta.concrete_fields}
BATCH = 100  # calls that are corrected in one transaction
_SUBJECT = "Rates"
RERATED = "rates.rated_again"


class RateForm(forms.ModelForm):  # type: ignore[type-arg]
    """One rule, from a page or from a line of a CSV."""

    class Meta:
        model = RateRule
        fields = FIELDS
        labels = {
            "valid_from": "Valid from", "valid_until": "Valid until", "connect_fee": "Connect fee",
            "price_1": "Price of the first interval, a minute", "price_n": "Price after it, a minute",
            "interval_1": "First interval", "interval_n": "Interval after it", "free_seconds": "Free seconds",
            "grace_period": "Free when shorter than", "postcall_surcharge": "Surcharge",
        }  # fmt: skip
        help_texts = {
            "prefix": "The beginning of the called number; the longest wins. Empty fits every number.",
            "valid_from": "A day or a moment, as in 2026-01-01 or 2026-01-01 08:00. Empty: from ever.",
            "valid_until": "It ends before this moment. Empty: for ever.",
            "postcall_surcharge": "A fraction of the price: 0.1 is 10 %.",
        }

    def __init__(self, data: Mapping[str, Any] | None = None, *, replaces: bool = False, **options: Any) -> None:
        """With `replaces` a rule of the same prefix and beginning may stand."""
        super().__init__(data, **options)
        self.replaces = replaces
        self.fields["prefix"].required = False
        for name in FIELDS[4:]:
            field = self.fields[name]
            field.required = False
            field.widget.attrs["inputmode"] = "decimal"

    def clean_prefix(self) -> str:
        prefix = str(self.cleaned_data.get("prefix") or "").strip()
        if prefix.removeprefix("+").strip("0123456789"):
            raise ValidationError("A prefix is digits, with or without a plus before them.")
        return prefix.removeprefix("+")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        for name in FIELDS[4:]:
            value = values.get(name)
            if value is None and name not in self.errors:
                values[name] = _DEFAULTS[name]
            elif value is not None and value < 0:
                self.add_error(name, "It must not be below 0.")
        if values.get("interval_n") == 0:
            self.add_error("interval_n", "An interval has at least one second.")
        since, until = values.get("valid_from"), values.get("valid_until")
        if since and until and since >= until:
            self.add_error("valid_until", "The end must come after the beginning.")
        if not self.replaces and self._stands(values):
            self.add_error("prefix", "There is a rate for this prefix with the same beginning.")
        return values

    def _get_validation_exclusions(self) -> set[str]:
        """`clean` looks whether a rule stands, also for every number, which the model's own check leaves out."""
        return {*super()._get_validation_exclusions(), "prefix"}  # type: ignore[misc]

    def _stands(self, values: Mapping[str, Any]) -> bool:
        if "prefix" not in values or "valid_from" not in values:
            return False
        same = RateRule.objects.filter(prefix=values["prefix"], valid_from=values["valid_from"])
        return same.exclude(pk=self.instance.pk).exists()


def rules() -> "QuerySet[RateRule]":
    return RateRule.objects.order_by("prefix", "valid_from", "pk")


@transaction.atomic
def save_rule(actor: Actor, form: RateForm) -> RateRule:
    """Of a form that is valid."""
    is_new = form.instance.pk is None
    before = {} if is_new else _told(RateRule.objects.get(pk=form.instance.pk))
    rule: RateRule = form.save()
    after = _told(rule)
    if is_new or before != after:
        announce(
            actor, "rate.created" if is_new else "rate.changed", subject=f"Rate {rule.prefix or 'of every number'}",
            subject_id=rule.pk, before=before, after=after,
        )  # fmt: skip
    return rule


@transaction.atomic
def delete_rule(actor: Actor, rule: RateRule) -> None:
    announce(
        actor, "rate.deleted", subject=f"Rate {rule.prefix or 'of every number'}", subject_id=rule.pk,
        before=_told(rule),
    )  # fmt: skip
    rule.delete()


def _told(rule: RateRule) -> dict[str, Any]:
    return {name: _plain(getattr(rule, name)) for name in FIELDS if getattr(rule, name) not in ("", None)}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, Decimal) else value


# --- A CSV of rules --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of a CSV: the rule that it makes, or in words why it makes none."""

    number: int
    prefix: str
    problem: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    lines: Sequence[Line]
    problem: str = ""  # of the whole

    @property
    def bad(self) -> list[Line]:
        return [line for line in self.lines if line.problem]

    @property
    def good(self) -> list[Line]:
        return [line for line in self.lines if not line.problem]


def read_csv(text: str) -> Reading:
    """Reads a head of field names, `prefix` among them, and a rule a line; nothing is written."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    try:
        head = [name.strip().lower() for name in next(rows, [])]
        unknown = [name for name in head if name not in FIELDS]
        if "prefix" not in head or unknown or len(set(head)) != len(head):
            named = f" It does not know {', '.join(unknown[:3])}." if unknown else ""
            return Reading([], f"The first line names the fields, prefix among them: {', '.join(FIELDS)}.{named}")
        lines: list[Line] = []
        seen: dict[tuple[str, Any], int] = {}
        for row in rows:
            if len(lines) >= MOST_RULES:
                return Reading([], f"A file holds at most {MOST_RULES:,} rules.")
            if any(cell.strip() for cell in row):
                lines.append(_line(rows.line_num, head, row, seen))
    except csv.Error as error:
        return Reading([], f"Line {rows.line_num} is no CSV: {error}.")
    return Reading(lines) if lines else Reading([], "There is no rule in it.")


def _line(number: int, head: list[str], row: list[str], seen: dict[tuple[str, Any], int]) -> Line:
    prefix = dict(zip(head, row, strict=False)).get("prefix", "")
    if len(row) != len(head):
        return Line(number, prefix, f"It has {len(row)} cells, the first line {len(head)}.", {})
    form = RateForm({name: cell.strip() for name, cell in zip(head, row, strict=True)}, replaces=True)
    if not form.is_valid():
        name, errors = next(iter(form.errors.items()))
        return Line(number, prefix, f"{name}: {errors[0]}", {})
    values = {name: form.cleaned_data[name] for name in FIELDS}
    key = (values["prefix"], values["valid_from"])
    if key in seen:
        return Line(number, prefix, f"It says the same prefix and beginning as line {seen[key]}.", {})
    seen[key] = number
    return Line(number, values["prefix"], "", values)


@transaction.atomic
def import_rules(actor: Actor, reading: Reading, *, replace_all: bool) -> tuple[int, int]:
    """Writes the rules of a reading without a bad line; returns how many are new and how many took another's place.

    A rule with the same prefix and beginning is replaced; with `replace_all` every other one goes.
    """
    if reading.problem or reading.bad:
        raise ValueError("A reading with bad lines is not written.")
    event_log.hold()  # one import at a time, and no call is rated by half of it
    standing = {(rule.prefix, rule.valid_from): rule for rule in RateRule.objects.all()}
    wanted = {(line.values["prefix"], line.values["valid_from"]): line for line in reading.good}
    replaced = [rule.pk for key, rule in standing.items() if key in wanted]
    gone = RateRule.objects.all() if replace_all else RateRule.objects.filter(pk__in=replaced)
    removed = gone.delete()[0]
    RateRule.objects.bulk_create([RateRule(**line.values) for line in wanted.values()], batch_size=1000)
    added = len(wanted) - len(replaced)
    announce(
        actor, "rates.imported", subject=_SUBJECT,
        after={"added": added, "replaced": len(replaced), "removed": removed - len(replaced)},
    )  # fmt: skip
    return added, len(replaced)


# --- What a call costs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quote:
    """What a leg to a number would cost: by which rule, or why there is none."""

    number: str
    seconds: int
    prefix: str | None
    cost: Decimal | None


def current_rates() -> list[Rate]:
    return [Rate(**row) for row in RateRule.objects.values(*(name for name in FIELDS if name != "note"))]


def quote(number: str, seconds: int, at: datetime) -> Quote:
    rates = current_rates()
    rate = rate_for(rates, number, at)
    return Quote(number, seconds, rate.prefix if rate else None, leg_cost(rates, number, at, seconds))


def rated_anew(record: Record, rates: Sequence[Rate]) -> Record:
    """The record as it would be written with these rates; nothing but costs differs."""
    targets = [
        replace(target, cost=_target_cost(target.callee, target.start_time, rates, talk))
        if target.kind == "external"
        else target
        for target in record.targets
        for talk in (seconds_between(target.answered_time, target.ended_time),)
    ]
    costs = [target.cost for target in targets if target.cost is not None]
    return replace(record, targets=targets, cost=sum(costs, Decimal(0)) if costs else None)


def _target_cost(number: str, at: datetime, rates: Sequence[Rate], talk: int) -> Decimal | None:
    return leg_cost(rates, number, at, talk) if rates else None


def rate_again(tenant: Tenant, since: datetime, until: datetime) -> Iterator[tuple[int, int]]:
    """Corrects the costs of the calls that began in the span; yields how many were seen and how many differed.

    Each batch is a transaction of its own: broken off, it may be begun again.
    """
    rates = current_rates()
    last: tuple[datetime, int] | None = None
    while True:
        with transaction.atomic():
            span = CDR.objects.filter(start_time__gte=since, start_time__lt=until)
            if last:
                span = span.filter(start_time__gte=last[0]).filter(Q(start_time__gt=last[0]) | Q(pk__gt=last[1]))
            places = list(span.order_by("start_time", "pk").values_list("start_time", "pk")[:BATCH])
            # Locked in the order in which every correction locks, and read only then.
            locked = CDR.objects.select_for_update().filter(pk__in=[pk for _, pk in places]).order_by("session_id")
            records = [ledger.record_from(row) for row in locked.prefetch_related("targets")]
            pairs = [(record, rated_anew(record, rates)) for record in records]
            changed = [after for record, after in pairs if after != record]
            ledger.correct(tenant, 0, changed)
        if not places:
            return
        last = places[-1]
        yield len(records), len(changed)


def request_rating(actor: Actor, since: datetime, until: datetime) -> None:
    """Has a worker rate the calls of a span again; what it did stands in the audit trail when it is done."""
    with transaction.atomic():
        announce(
            actor, "rates.rating_requested", subject=_SUBJECT,
            after={"from": since.isoformat(), "until": until.isoformat()},
        )  # fmt: skip

        from cdr.tasks import rate_again_of  # tasks are doors on this module

        schema = current_schema()
        transaction.on_commit(lambda: rate_again_of.delay(schema, since.isoformat(), until.isoformat()), robust=True)


def rate_all_again(tenant: Tenant, since: datetime, until: datetime) -> tuple[int, int]:
    """Returns how many calls were seen and how many were corrected."""
    seen = corrected = 0
    for calls, changed in rate_again(tenant, since, until):
        seen, corrected = seen + calls, corrected + changed
    with transaction.atomic():
        announce(
            SYSTEM, RERATED, subject=_SUBJECT, subject_id="rates",
            after={"from": since.isoformat(), "until": until.isoformat(), "calls": seen, "corrected": corrected},
        )  # fmt: skip
    return seen, corrected
