import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry
from tenants.changes import SYSTEM
from tenants.models import Switch
from tenants.switches import (
    change_switch,
    create_switch,
    credentials_of,
    delete_switch,
    rotate_token,
    switch_of_token,
)

GIVEN = {
    "name": "Berlin",
    "kind": "asterisk",
    "address": {"host": "10.0.0.1"},
    "credentials": {"ami_secret": "pässword"},
}


def _audit() -> list[tuple[str, str, dict, dict]]:
    return list(AuditEntry.objects.order_by("id").values_list("action", "subject", "before", "after"))


def test_create_switch_gives_a_token_that_finds_it(tenants: None) -> None:
    switch, token = create_switch(SYSTEM, GIVEN)
    assert switch_of_token(token) == switch
    stored = Switch.objects.get()
    assert token not in (stored.token_hash, stored.token_hint)
    assert "pässword" not in stored.credentials
    assert credentials_of(stored) == {"ami_secret": "pässword"}
    told = {"name": "Berlin", "kind": "asterisk", "address": {"host": "10.0.0.1"}, "credentials": "replaced"}
    assert _audit() == [("switch.created", "Berlin", {}, told)]


def test_switch_of_token_knows_only_live_tokens_of_enabled_switches(tenants: None) -> None:
    switch, token = create_switch(SYSTEM, GIVEN)
    newer = rotate_token(SYSTEM, switch)
    assert [switch_of_token(given) for given in (token, newer, "", "x" * 5000, "nul\0")] == [
        None, switch, None, None, None,
    ]  # fmt: skip
    change_switch(SYSTEM, switch, {"enabled": False})
    assert switch_of_token(newer) is None


def test_change_switch_keeps_what_is_not_given(tenants: None) -> None:
    switch, _ = create_switch(SYSTEM, GIVEN)
    change_switch(SYSTEM, switch, {"name": "Köln 北 ß"})
    switch.refresh_from_db()
    assert (switch.name, switch.address, credentials_of(switch)) == (
        "Köln 北 ß", {"host": "10.0.0.1"}, {"ami_secret": "pässword"},
    )  # fmt: skip
    assert _audit()[1] == ("switch.changed", "Köln 北 ß", {"name": "Berlin"}, {"name": "Köln 北 ß"})


def test_delete_switch_is_noted_under_its_id(tenants: None) -> None:
    switch, _ = create_switch(SYSTEM, GIVEN)
    switch_id = switch.pk
    delete_switch(SYSTEM, switch)
    entry = AuditEntry.objects.get(action="switch.deleted")
    assert (entry.subject, entry.subject_id, Switch.objects.count()) == ("Berlin", str(switch_id), 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("name", "nul\0"),
        ("name", "\u202egnihton"),
        ("name", "x" * 101),
        ("name", 7),
        ("kind", "pbx"),
        ("kind", None),
        ("enabled", "yes"),
        ("address", []),
        ("address", {"host": "\0"}),
        ("address", {"host": "\ud800"}),
        ("address", {"host": "x" * 10_001}),
        ("credentials", "secret"),
        ("token_hash", "x"),
    ],
)
def test_create_switch_refuses(tenants: None, field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        create_switch(SYSTEM, {**GIVEN, field: value})
    assert list(caught.value.message_dict) == [field]
    assert (Switch.objects.count(), _audit()) == (0, [])


def test_create_switch_refuses_a_name_twice(tenants: None) -> None:
    create_switch(SYSTEM, GIVEN)
    with pytest.raises(ValidationError) as caught:
        create_switch(SYSTEM, GIVEN)
    assert caught.value.message_dict == {"name": ["Another switch has this name."]}
