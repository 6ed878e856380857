"""The story of a call's recordings on its page, and its decisions over REST, for whoever may see its recordings."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from rest_framework import serializers

from accounts.access import signed_in
from accounts.numbers import is_own, numbers_of
from accounts.rest import rfc3339
from accounts.roles import Permission
from cdr.api import Asker, MomentField
from cdr.models import CDR
from recordings.models import MEDIUM_CHOICES, Decision
from recordings.selectors import sees_all
from recordings.story import announced_among, decisions_of_calls, ledger_of, second_of, story_of
from recordings.words import answer_words, decision_words


def sees_story(asker: Asker, call: CDR) -> bool:
    if sees_all(asker.may):
        return True
    return asker.may(Permission.OWN_CALLS) and is_own(asker.person, call.extensions, call.start_time)


def story_part(request: HttpRequest, call: CDR) -> SafeString:
    """What this room shows of a call beside its recordings."""
    person = signed_in(request)
    if not sees_story(Asker(person, person.may), call):
        return SafeString()
    return render_to_string("recordings/story.html", {"story": story_of(call, ledger_of(call))})


class PolicyDecisionSerializer(serializers.Serializer[Decision]):
    """Something that was decided about a medium, and what the switch made of it."""

    at = MomentField()
    second = serializers.FloatField(help_text="From the start of the call.")
    medium = serializers.ChoiceField(choices=MEDIUM_CHOICES)
    record = serializers.BooleanField(help_text="Whether it was to be recorded from then on.")
    rule = serializers.CharField(help_text="A rule of the policy, a person's word, or what else it rests on.")
    words = serializers.CharField(help_text="The same in a sentence, with the command and its answer.")
    extension = serializers.CharField(allow_null=True, help_text="Whose switch it was, when it was a user's.")
    settings = serializers.DictField(help_text="The switches then in force: tenant, users, record_external_calls.")
    parties = serializers.ListField(child=serializers.DictField(), help_text="Who was connected: number, kind.")
    actor = serializers.CharField(help_text="Who decided, with the kind before the name.")
    via = serializers.ChoiceField(
        choices=["policy", "feature_code", "rest", "live_calls", "sip_message", "longest_pause", "switch"]
    )
    recording_id = serializers.CharField(allow_null=True)
    command = serializers.ChoiceField(choices=["start", "stop", "pause", "resume"], allow_null=True)
    segment = serializers.IntegerField(allow_null=True)
    outcome = serializers.ChoiceField(choices=Decision.Outcome.choices)
    outcome_reason = serializers.CharField()
    answered_at = MomentField(allow_null=True)


def story_details(calls: Sequence[CDR], asker: Asker) -> list[Mapping[str, Any]]:
    """What this room adds to each call over REST beside its recordings."""
    all_are_seen, held = sees_all(asker.may), numbers_of(asker.person) if asker.may(Permission.OWN_CALLS) else []
    seen = [
        call
        for call in calls
        if all_are_seen or any(each.number in call.extensions and each.covers(call.start_time) for each in held)
    ]
    decisions, announced = decisions_of_calls(seen), announced_among(calls)
    return [
        {
            "policy_decisions": [_told(call, decision) for decision in decisions.get(call.pk, ())],
            "recording_announced": call.pk in announced,
        }
        for call in calls
    ]


def _told(call: CDR, decision: Decision) -> dict[str, Any]:
    return {
        "at": rfc3339(decision.at),
        "second": second_of(call, decision.at),
        "medium": decision.medium,
        "record": decision.record,
        "rule": decision.rule,
        "words": " ".join(filter(None, (decision_words(decision), answer_words(decision)))),
        "extension": decision.extension or None,
        "settings": decision.settings,
        "parties": decision.parties,
        "actor": decision.actor,
        "via": decision.via,
        "recording_id": str(decision.recording_id) if decision.recording_id else None,
        "command": decision.command.removesuffix("_recording") or None,
        "segment": decision.segment or None,
        "outcome": decision.outcome,
        "outcome_reason": decision.outcome_reason,
        "answered_at": rfc3339(decision.answered_at),
    }


def story_fields() -> dict[str, Any]:
    """The shape of `story_details`, for the OpenAPI document."""
    return {
        "policy_decisions": lambda: cast(Any, PolicyDecisionSerializer(many=True)),
        "recording_announced": lambda: serializers.BooleanField(help_text="Callers were told that they are recorded."),
    }
