"""What the pages of this room ask for. What a value may be, the verbs decide."""

from django import forms

from pbx.launches import USER_DATA_MAX


class LaunchForm(forms.Form):
    """Who has only the own extension is not asked for it."""

    caller = forms.CharField(
        label="From", max_length=32, help_text="The extension that rings first.",
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off"}),
    )  # fmt: skip
    callee = forms.CharField(
        label="To", max_length=33, widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off"})
    )
    user_data = forms.CharField(
        label="User data", required=False, max_length=USER_DATA_MAX, help_text="A word that is kept with the call.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip

    def __init__(self, *args: object, own_only: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if own_only:
            del self.fields["caller"]
