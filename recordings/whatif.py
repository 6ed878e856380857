"""What would happen if somebody called now: the policy's own answer, for a call that is only thought of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from accounts.models import Extension
from cdr.callevents import Medium, Party, PartyKind
from recordings import policy
from recordings.control import settings_now
from recordings.policy import MEDIA, Settings, Situation, Verdict
from tenants.models import Tenant
from tenants.values import text


@dataclass(frozen=True, slots=True)
class Answer:
    """One medium: whether it would be recorded, and the rule in words."""

    medium: Medium
    verdict: Verdict
    told: str


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of the call: who is connected then, and what would be recorded."""

    what: str
    connected: Sequence[Party]
    answers: Sequence[Answer]


def _number(label: str, *, required: bool = True) -> forms.CharField:
    widget = forms.TextInput(attrs={"list": "extensions", "autocomplete": "off"})
    return forms.CharField(label=label, max_length=64, required=required, widget=widget, validators=[text(64)])


class QuestionForm(forms.Form):
    """A number that is no extension of the tenant is one from outside."""

    caller = _number("Caller")
    callee = _number("Callee")
    video = forms.BooleanField(label="With video", required=False)
    transferred_to = _number("Then transferred to", required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("caller") and cleaned.get("caller") == cleaned.get("callee"):
            self.add_error("callee", "Nobody calls himself: choose another number.")
        if cleaned.get("transferred_to") and cleaned["transferred_to"] in (
            cleaned.get("caller"),
            cleaned.get("callee"),
        ):
            self.add_error("transferred_to", "Choose somebody who is not in the call yet.")
        return cleaned


def steps_of(tenant: Tenant, caller: str, callee: str, *, video: bool, transferred_to: str = "") -> list[Step]:
    """Inside the tenant's schema: when the callee answers, and when whoever is internal has transferred the call."""
    numbers = [number for number in (caller, callee, transferred_to) if number]
    internal = set(Extension.objects.filter(number__in=numbers).values_list("number", flat=True))
    parties = {
        number: Party(number, PartyKind.EXTENSION if number in internal else PartyKind.EXTERNAL) for number in numbers
    }
    settings = settings_now(tenant, internal)
    steps = [_step(f"{callee} answers {caller}", [parties[caller], parties[callee]], settings, video, [])]
    leaver = next((number for number in (callee, caller) if number in internal), "")
    if transferred_to and leaver:
        stays = caller if leaver == callee else callee
        connected = [parties[stays], parties[transferred_to]]
        what = f"{leaver} transfers the call to {transferred_to}"
        steps.append(_step(what, connected, settings, video, steps[0].answers))
    return steps


def _step(what: str, connected: list[Party], settings: Settings, video: bool, before: Sequence[Answer]) -> Step:
    was = {answer.medium: answer.verdict.record for answer in before}
    answers = []
    for medium in MEDIA:
        verdict = policy.decide(medium, Situation(connected, video, was.get(medium, False)), settings)
        answers.append(Answer(medium, verdict, policy.told(medium, verdict.rule, verdict.extension)))
    return Step(what, connected, answers)
