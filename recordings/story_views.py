"""The story of a call's recordings on its page, and its decisions over REST, for whoever may see its recordings."""

from collections.abc import Mapping
from typing import Any, cast

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from rest_framework import serializers

from accounts.access import signed_in
from accounts.numbers import is_own
from accounts.rest import rfc3339
from accounts.roles import Permission
from cdr.api import Asker, MomentField
from cdr.models import CDR
from recordings.models import MEDIUM_CHOICES, Decision
from recordings.selectors import sees_all
from recordings.story import decisions_of, is_announced, ledger_of, second_of, story_of
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


def story_detail(call: CDR, asker: Asker) -> Mapping[str, Any]:
    """What this room adds to one call over REST beside its recordings."""
    decisions = decisions_of(call) if sees_story(asker, call) else []
    return {
        "policy_decisions": [_told(call, decision) for decision in decisions],
        "recording_announced": is_announced(call),
    }


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
    """The shape of `story_detail`, for the OpenAPI document."""
    return {
        "policy_decisions": lambda: cast(Any, PolicyDecisionSerializer(many=True)),
        "recording_announced": lambda: serializers.BooleanField(help_text="Callers were told that they are recorded."),
    }
