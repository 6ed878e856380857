"""What each page of this room asks for. What a value may be, the verbs decide; their word stands beside the field."""

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError

from accounts.roles import Permission
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.values import CURRENCIES, time_zones

T = TypeVar("T")


def attempt(form: forms.Form, verb: Callable[[], T]) -> T | None:
    """The verb's result, or None with its refusal in the form."""
    if not form.is_valid():
        return None
    try:
        return verb()
    except RefusedError as refused:
        form.add_error(None, refused.message)
    except ValidationError as wrong:
        for name, said in (wrong.message_dict if hasattr(wrong, "error_dict") else {"": wrong.messages}).items():
            for sentence in said:
                form.add_error(name if name in form.fields else None, sentence)
    return None


def line(label: str, *, max_length: int, help_text: str = "", **attrs: str) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, max_length=max_length, help_text=help_text, widget=forms.TextInput(attrs=attrs)
    )


def password_field(label: str, autocomplete: str, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label=label, max_length=256, strip=False, help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": autocomplete}),
    )  # fmt: skip


def zones(empty: str = "") -> list[tuple[str, str]]:
    return [*([("", empty)] if empty else []), *((zone, zone.replace("_", " ")) for zone in time_zones())]


class CompanyDomainForm(forms.Form):
    domain = forms.CharField(
        label="SIP domain of your company", max_length=253, help_text="The part after the @ in your phone's address.",
        widget=forms.TextInput(attrs={"autocomplete": "organization", "autofocus": True, "placeholder": "example.com"}),
    )  # fmt: skip


class SignInForm(forms.Form):
    username = forms.CharField(
        label="User name", max_length=254, widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True})
    )
    password = password_field("Password", "current-password")


class ProfileForm(forms.Form):
    display_name = line("Display Name", max_length=120, autocomplete="name")
    email = line("Email", max_length=254, autocomplete="email")
    time_zone = forms.ChoiceField(
        label="Time zone", required=False, choices=lambda: zones("The company's"), help_text="Of every time you see."
    )


class OwnPasswordForm(forms.Form):
    current = password_field("Present password", "current-password")
    password = password_field("New password", "new-password", "At least 10 characters.")
    again = password_field("New password again", "new-password")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "password" in cleaned and "again" in cleaned and cleaned["password"] != cleaned["again"]:
            self.add_error("again", "The two new passwords differ.")
        return cleaned


class UserForm(forms.Form):
    username = line("User name", max_length=64, autocomplete="off")
    display_name = line("Display Name", max_length=120, autocomplete="off")
    email = line("Email", max_length=254, autocomplete="off")
    role = forms.ChoiceField(label="Role")

    def __init__(self, *args: Any, roles: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]


class NewUserForm(UserForm):
    number = line(
        "Extension Number", max_length=32, help_text="Leave it empty for a user without a phone.", inputmode="tel"
    )
    may_sign_in = forms.BooleanField(
        label="May sign in", required=False, initial=True,
        help_text="A first password is made and shown once. Without, only the extension is there.",
    )  # fmt: skip


class ExtensionForm(forms.Form):
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)
    display_name = line("Name of the extension", max_length=120, help_text="Shown beside its number in every call.")
    outbound_caller_id = line("Outbound Caller ID", max_length=32, help_text="Shown to the person called.")
    record_audio = forms.BooleanField(
        label="Record Audio Calls", required=False, help_text="Every call is kept as a WAV file, a video call too."
    )
    record_video = forms.BooleanField(
        label="Record Video Calls", required=False, help_text="A video call is also kept as an MP4 file."
    )
    enabled = forms.BooleanField(
        label="Enabled", required=False, help_text="Off: its SIP password is accepted nowhere in this portal."
    )


class NewExtensionForm(forms.Form):
    number = line("Extension Number", max_length=32, inputmode="tel")


class CompanyForm(forms.Form):
    version = forms.IntegerField(widget=forms.HiddenInput)
    time_zone = forms.ChoiceField(label="Time zone", choices=zones)
    currency = forms.ChoiceField(label="Currency", choices=[(code, code) for code in CURRENCIES])
    enable_extension_audio_recording = forms.BooleanField(
        label="Enable extension audio recording", required=False,
        help_text="Records every call of all extensions as WAV, whatever their own switch says.",
    )  # fmt: skip
    enable_extension_video_recording = forms.BooleanField(
        label="Enable extension video recording", required=False,
        help_text="Records every video call of all extensions as MP4.",
    )  # fmt: skip
    record_dual_tracks = forms.BooleanField(
        label="Record as two tracks", required=False,
        help_text="The caller on the left channel, whoever answers on the right. Files are twice as large.",
    )  # fmt: skip
    pause_style = forms.ChoiceField(
        label="When paused", choices=Tenant.PauseStyle.choices,
        help_text="Skipping makes the file shorter. Silence keeps its clock equal to the call's."
        " The gap is noted either way.",
    )  # fmt: skip
    longest_pause_seconds = forms.IntegerField(
        label="Longest pause", widget=forms.NumberInput(attrs={"min": 0, "max": 86_400, "size": 6}),
        help_text="Then recording resumes by itself, and the call's page says so. 0: there is none.",
    )  # fmt: skip
    announce_recording = forms.BooleanField(
        label="Recording is announced", required=False,
        help_text="Each recording and its CDR say that the callers were told. Your switch plays the announcement.",
    )  # fmt: skip
    ask_play_reason = forms.BooleanField(
        label="Ask for a reason", required=False,
        help_text="Whoever plays or downloads a recording says why, and the list of its plays keeps it.",
    )  # fmt: skip


class FeatureCodesForm(forms.Form):
    version = forms.IntegerField(widget=forms.HiddenInput)
    start_recording_code = line(
        "Start recording", max_length=7, inputmode="tel", autocomplete="off",
        help_text="Records the call from here on, whatever the switches say; not against the system's rule for calls"
        " between external numbers.",
    )  # fmt: skip
    stop_recording_code = line(
        "Stop recording", max_length=7, inputmode="tel", autocomplete="off",
        help_text="Ends the recording. What was recorded so far is kept; starting again adds to it.",
    )  # fmt: skip
    pause_recording_code = line(
        "Pause recording", max_length=7, inputmode="tel", autocomplete="off",
        help_text="Nothing is recorded until it is resumed. The gap is noted, with the extension that dialled.",
    )  # fmt: skip
    resume_recording_code = line(
        "Resume recording", max_length=7, inputmode="tel", autocomplete="off",
        help_text="Goes on recording after a pause.",
    )  # fmt: skip


_SCOPES = {
    Permission.OWN_CALLS: "The owner's own calls and recordings",
    Permission.CALLS_LAUNCH: "Launch calls from the owner's extension",
    Permission.CALLS_LAUNCH_ALL: "Launch calls from every extension",
    Permission.CDR_VIEW: "Read all CDRs",
    Permission.CDR_FULL: "Change CDRs and calls",
    Permission.RECORDINGS_VIEW: "Read all recordings",
    Permission.RECORDINGS_FULL: "Delete recordings",
    Permission.USERS: "Users and extensions",
    Permission.COMPANY: "Company settings",
    Permission.EVENT_URL: "Event URL and deliveries",
    Permission.SUBSCRIBE: "Subscribe to events",
    Permission.API_TOKENS: "API tokens",
    Permission.AUDIT: "Read the audit trail",
    Permission.SYSTEM_TENANTS: "Tenants, trunks, inbound rules",
    Permission.SYSTEM_SWITCHES: "Switches",
    Permission.SYSTEM_SETTINGS: "System settings",
    Permission.SYSTEM_QUARANTINE: "Quarantine",
    Permission.SYSTEM_EVENTS: "Events of all tenants",
    Permission.SYSTEM_ADMINISTRATORS: "Administrators",
}


class TokenForm(forms.Form):
    name = line("Name", max_length=100, help_text="The program that will use it.", autocomplete="off")
    days = forms.ChoiceField(
        label="Ends after", initial="365",
        choices=[("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("0", "Never")],
    )  # fmt: skip
    scopes = forms.MultipleChoiceField(
        label="It may", widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one."}
    )

    def __init__(self, *args: Any, scopes: list[Permission], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = [(scope.value, _SCOPES[scope]) for scope in scopes]  # type: ignore[attr-defined]


class AuditFilterForm(forms.Form):
    who = line("Who", max_length=200)
    action = line("Action", max_length=64, placeholder="user.changed")
    subject = line("What", max_length=200)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
