"""What the pages of Company > Retention ask for. What a value may be, the verbs decide."""

from django import forms

from tenants.models import Tenant


class RetentionForm(forms.Form):
    version = forms.IntegerField(widget=forms.HiddenInput)
    recording_days = forms.IntegerField(
        label="Keep recordings for", widget=forms.NumberInput(attrs={"min": 1, "max": 3_650, "size": 6}),
        help_text="1 to 3650 days from the start of the call. Then a recording goes to the trash, and a week later"
        " it is gone for good.",
    )  # fmt: skip
    when_quota_full = forms.ChoiceField(
        label="When the disk quota is full", choices=Tenant.QuotaFull.choices,
        help_text="A new recording is kept in any case. What makes room is deleted for good, the trash first;"
        " a legal hold keeps what it holds.",
    )  # fmt: skip
    event_log_days = forms.IntegerField(
        label="Keep events for", widget=forms.NumberInput(attrs={"min": 1, "max": 365, "size": 6}),
        help_text="1 to 365 days. So long an event can be sent or read again, and the delivery log reaches back.",
    )  # fmt: skip
    confirmed = forms.BooleanField(label="Put them into the trash", required=False)


class HoldForm(forms.Form):
    reason = forms.CharField(
        label="Reason", required=False, max_length=300, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
