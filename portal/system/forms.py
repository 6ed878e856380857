"""What the pages of the system host ask for. What a value may be, the verbs decide."""

import json
from typing import Any

import orjson
from django import forms

from accounts.forms import line, zones
from tenants.models import InboundRule, Switch, Tenant, Trunk
from tenants.values import CURRENCIES


class TenantForm(forms.Form):
    name = line("Name", max_length=200)
    host = line("Host", max_length=63, help_text="The first part of its portal's address: letters, digits, hyphens.")
    sip_domain = line("SIP domain", max_length=253, help_text="The part after the @ in its phones' addresses.")
    time_zone = forms.ChoiceField(label="Time zone", choices=zones, initial="UTC")
    currency = forms.ChoiceField(label="Currency", choices=[(code, code) for code in CURRENCIES], initial="EUR")


class TenantChangeForm(TenantForm):
    sip_domain = None  # type: ignore[assignment]  # has a list of its own on the page
    recording_quota_mb = forms.IntegerField(
        label="Disk quota of recordings", min_value=0, max_value=10**9,
        widget=forms.NumberInput(attrs={"min": 0}),
        help_text="0: none. What happens when it is full, the tenant chooses; a new recording is never dropped.",
    )  # fmt: skip
    version = forms.IntegerField(widget=forms.HiddenInput)


class SipDomainForm(forms.Form):
    domain = line("SIP domain", max_length=253)


class DeletionForm(forms.Form):
    confirm = line("Its host, typed out", max_length=63, autocomplete="off")
    without_export = forms.BooleanField(label="No export is wanted", required=False)


class TrunkForm(forms.Form):
    name = line("Name", max_length=100)
    switch = forms.ModelChoiceField(Switch.objects.all(), label="Switch", required=False, empty_label="None")
    switch_name = line(
        "Name on the switch", max_length=100, help_text="Its endpoint or gateway there, when it is not the name above."
    )
    host = line("Host", max_length=253)
    tenant = forms.ModelChoiceField(
        Tenant.objects.exclude(schema_name="public"), label="Tenant", required=False, empty_label="Shared by all"
    )


class InboundRuleForm(forms.Form):
    kind = forms.ChoiceField(label="Kind", choices=InboundRule.Kind.choices)
    number = line("Number", max_length=64, help_text="A whole DID, or how the numbers begin.", inputmode="tel")
    tenant = forms.ModelChoiceField(Tenant.objects.exclude(schema_name="public"), label="Tenant", required=False)
    trunk = forms.ModelChoiceField(Trunk.objects.all(), label="Trunk", required=False, empty_label="Any")
    note = line("Note", max_length=200)


class SwitchForm(forms.Form):
    name = line("Name", max_length=100)
    enabled = forms.BooleanField(
        label="Enabled", required=False, initial=True, help_text="Off: its token is refused, its connector stops."
    )
    address = forms.CharField(
        label="Address", required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 4}),
        help_text='A JSON object. Asterisk, FreeSWITCH: {"host": "192.0.2.10"}; docs/switches names the other fields.',
    )  # fmt: skip
    credentials = forms.CharField(
        label="Credentials", required=False, max_length=10_000, strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
        help_text="A JSON object. Asterisk: ami_user, ami_password; FreeSWITCH: password."
        " Kept encrypted and never shown; leave it empty to keep what is there.",
    )  # fmt: skip

    def clean_address(self) -> Any:
        return _object(self.cleaned_data["address"])

    def clean_credentials(self) -> Any:
        return _object(self.cleaned_data["credentials"])

    def given(self) -> dict[str, Any]:
        """Empty credentials change nothing."""
        kept = {name for name in ("credentials",) if not self.cleaned_data[name]}
        return {name: value for name, value in self.cleaned_data.items() if name not in kept}


class NewSwitchForm(SwitchForm):
    kind = forms.ChoiceField(label="Kind", choices=Switch.Kind.choices)
    field_order = ["name", "kind"]


class AdministratorForm(forms.Form):
    username = line("User name", max_length=64, autocomplete="off")
    display_name = line("Display Name", max_length=120, autocomplete="off")
    email = line("Email", max_length=254, autocomplete="off")


def written(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def _object(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise forms.ValidationError(f"This is not JSON: {error}.") from error
