"""What the Event URL page asks for. What a value may be, `events.endpoints` decides."""

from typing import Any

from django import forms

from events.endpoints import Settings
from events.models import Delivery, Endpoint, Profile, Redelivery
from events.redeliveries import RATE, RATE_MAX, Selection
from events.selectors import LogFilters
from events.types import DEFAULT, EVENT_TYPES


def _secret(label: str) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )


class EndpointForm(forms.Form):
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)
    enabled = forms.BooleanField(label="Enable", required=False, initial=True)
    url = forms.CharField(
        label="URL", widget=forms.TextInput(attrs={"inputmode": "url", "placeholder": "https://crm.example.com/cdr"}),
        error_messages={"required": "Start the address with https:// or http://."},
    )  # fmt: skip
    auth = forms.ChoiceField(
        label="Authentication Method", choices=Endpoint.Auth.choices, initial=Endpoint.Auth.DISABLE,
        widget=forms.RadioSelect,
    )  # fmt: skip
    username = forms.CharField(label="User name", required=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    password = _secret("Password")
    token = _secret("Token")
    profile = forms.ChoiceField(
        label="Form of the message", choices=[(Profile.V16, "v16, as before"), (Profile.V22, "v22")],
        help_text="Every retry sends the same bytes.",
    )  # fmt: skip
    event_types = forms.MultipleChoiceField(
        label="Events", choices=[(name, name) for name in EVENT_TYPES], initial=[DEFAULT],
        widget=forms.CheckboxSelectMultiple, help_text="call_cdr is a finished call.",
        error_messages={"required": "Choose at least one event type."},
    )  # fmt: skip

    def __init__(self, *args: Any, endpoint: Endpoint | None = None, **kwargs: Any) -> None:
        if endpoint is not None:
            kwargs["initial"] = {
                name: getattr(endpoint, name)
                for name in ("version", "enabled", "url", "auth", "username", "profile", "event_types")
            }
        super().__init__(*args, **kwargs)
        kept = "Kept when left empty, unless the URL leads to another host." if endpoint is not None else ""
        self.fields["password"].help_text = (
            kept if endpoint is not None and endpoint.password else "6 to 64 characters."
        )
        self.fields["token"].help_text = kept if endpoint is not None and endpoint.token else ""

    def settings(self) -> Settings:
        given = self.cleaned_data
        return Settings(
            url=given["url"], enabled=given["enabled"], auth=given["auth"], username=given["username"],
            password=given["password"] or None, token=given["token"] or None,
            event_types=tuple(given["event_types"]), profile=given["profile"],
        )  # fmt: skip


def _moment(label: str) -> forms.DateTimeField:
    shape = "%Y-%m-%dT%H:%M"
    return forms.DateTimeField(
        label=label, required=False, input_formats=[shape, "%Y-%m-%dT%H:%M:%S"],
        widget=forms.DateTimeInput(format=shape, attrs={"type": "datetime-local"}),
    )  # fmt: skip


def _event_id(label: str) -> forms.IntegerField:
    widget = forms.TextInput(attrs={"inputmode": "numeric"})
    return forms.IntegerField(label=label, required=False, min_value=1, max_value=2**63 - 1, widget=widget)


class LogForm(forms.Form):
    """The filters of the log of deliveries, as they stand in the address."""

    state = forms.ChoiceField(
        choices=[("", "All"), ("failing", "Failing"), *Delivery.State.choices], required=False,
        error_messages={"invalid_choice": "There is no such state."},
    )  # fmt: skip
    event_type = forms.ChoiceField(
        label="Event", choices=[("", "Any"), *((name, name) for name in EVENT_TYPES)], required=False,
        error_messages={"invalid_choice": "There is no such event type."},
    )  # fmt: skip
    session_id = forms.CharField(label="Session id", required=False, max_length=128)
    from_time, to_time = _moment("From"), _moment("Until")

    def asked(self) -> dict[str, str]:
        """What is in use, as it was written."""
        self.full_clean()
        return {name: self.data[name] for name in self.fields if self.cleaned_data.get(name)}

    def filters(self) -> LogFilters:
        self.full_clean()
        given = self.cleaned_data
        return LogFilters(
            event_type=given.get("event_type", ""), session_id=given.get("session_id", ""),
            from_time=given.get("from_time"), to_time=given.get("to_time"),
        )  # fmt: skip


class RedeliveryForm(forms.Form):
    """Which deliveries are to be sent again, and how fast."""

    what = forms.ChoiceField(
        label="What", choices=Redelivery.What.choices, initial=Redelivery.What.UNACKNOWLEDGED, widget=forms.RadioSelect
    )
    delivery_state = forms.ChoiceField(label="State", choices=[("", "Any"), *Delivery.State.choices], required=False)
    event_type = forms.ChoiceField(
        label="Event", choices=[("", "Any"), *((name, name) for name in EVENT_TYPES)], required=False
    )
    session_id = forms.CharField(label="Session id", required=False, max_length=128)
    from_time, to_time = _moment("Written from"), _moment("Written until")
    from_event, to_event = _event_id("From event"), _event_id("To event")
    rate = forms.IntegerField(
        label="Rate", min_value=1, max_value=RATE_MAX, initial=RATE,
        widget=forms.NumberInput(attrs={"min": 1, "max": RATE_MAX}),
        help_text="Live events keep their place in between.",
    )  # fmt: skip

    def selection(self) -> Selection:
        given = self.cleaned_data
        return Selection(
            what=given["what"], delivery_state=given["delivery_state"], event_type=given["event_type"],
            session_id=given["session_id"], from_event=given["from_event"], to_event=given["to_event"],
            from_time=given["from_time"], to_time=given["to_time"],
        )  # fmt: skip
