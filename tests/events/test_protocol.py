"""The messages of /wsi as tables: what is understood, what is refused, what is said, byte for byte."""

import orjson
import pytest

from events.protocol import (
    AUTH_ERROR,
    Command,
    ExtensionAuth,
    PasswordAuth,
    ProtocolError,
    Replies,
    SessionAuth,
    Subscribe,
    TokenAuth,
    Unsubscribe,
    closing,
    cursor_reason,
    message_bytes,
    parse,
)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (
            '{"command":"auth","username":"anna","password":"p","domain":"test.io"}',
            PasswordAuth("anna", "p", "test.io"),
        ),
        ('{"command":"auth","username":"admin","password":"p"}', PasswordAuth("admin", "p", "")),
        (
            '{"command":"auth","extension_number":"101","password":"p","domain":"test.io"}',
            ExtensionAuth("101", "p", "test.io"),
        ),
        ('{"command":"auth","access_token":"tok"}', TokenAuth("tok")),
        ('{"command":"auth"}', SessionAuth()),
        ('{"command":"subscribe","topics":["cdr_events"]}', Subscribe(("cdr_events",))),
        (
            '{"command":"subscribe","topics":["cdr_events"],"since":"17","event_types":["call_cdr","cdr_updated"],'
            '"profile":"v22"}',
            Subscribe(("cdr_events",), ("call_cdr", "cdr_updated"), "v22", 17),
        ),
        (
            '{"command":"subscribe","topics":["global_cdr_events"],"tenants":["234"]}',
            Subscribe(("global_cdr_events",), tenants=("234",)),
        ),
        (
            '{"command":"subscribe","topics":["global_cdr_events"],"since":{"234":"5"}}',
            Subscribe(("global_cdr_events",), since_by_tenant={"234": 5}),
        ),
        ('{"command":"unsubscribe","topics":["cdr_events"]}', Unsubscribe(("cdr_events",))),
        ('{"command":"subscribe","topics":["cdr_events"],"new_field":1}', Subscribe(("cdr_events",))),
    ],
)
def test_understood(text: str, command: Command) -> None:
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "command", "error"),
    [
        ("", "", "the message is not JSON"),
        ("{", "", "the message is not JSON"),
        ("[]", "", "the message is not a JSON object"),
        ("{}", "", "command is missing"),
        ('{"command":7}', "", "command is missing"),
        ('{"command":"dance"}', "dance", "unknown command"),
        ('{"command":"auth","username":"anna"}', "auth", AUTH_ERROR),
        ('{"command":"auth","username":"anna","password":7}', "auth", AUTH_ERROR),
        ('{"command":"auth","username":["anna"],"password":"p"}', "auth", AUTH_ERROR),
        ('{"command":"auth","username":"an\\u0000na","password":"p"}', "auth", AUTH_ERROR),
        ('{"command":"auth","extension_number":"101","password":"p"}', "auth", AUTH_ERROR),
        ('{"command":"auth","extension_number":101,"password":"p","domain":"d"}', "auth", AUTH_ERROR),
        ('{"command":"auth","access_token":"t","username":"anna","password":"p"}', "auth", AUTH_ERROR),
        ('{"command":"subscribe"}', "subscribe", "topics is an array of strings"),
        ('{"command":"subscribe","topics":"cdr_events"}', "subscribe", "topics is an array of strings"),
        ('{"command":"subscribe","topics":[]}', "subscribe", "topics is empty"),
        ('{"command":"subscribe","topics":["weather"]}', "subscribe", "unknown topic weather"),
        (
            '{"command":"subscribe","topics":["cdr_events"],"since":17}',
            "subscribe",
            "since is an event_id, as a string",
        ),
        (
            '{"command":"subscribe","topics":["cdr_events"],"since":"-1"}',
            "subscribe",
            "since is an event_id, as a string",
        ),
        ('{"command":"subscribe","topics":["cdr_events"],"event_types":[]}', "subscribe", "event_types is empty"),
        (
            '{"command":"subscribe","topics":["cdr_events"],"event_types":["x"]}',
            "subscribe",
            "unknown event type x",
        ),
        ('{"command":"subscribe","topics":["cdr_events"],"profile":"v9"}', "subscribe", "profile is one of v16, v22"),
        (
            '{"command":"subscribe","topics":["cdr_events"],"profile":["v16"]}',
            "subscribe",
            "profile is one of v16, v22",
        ),
        (
            '{"command":"subscribe","topics":["global_cdr_events"],"tenants":[234]}',
            "subscribe",
            "tenants is an array of strings",
        ),
        (
            '{"command":"subscribe","topics":["global_cdr_events"],"since":"5"}',
            "subscribe",
            "since of a global topic is a map of tenant id to event id",
        ),
        ('{"command":"unsubscribe","topics":[]}', "unsubscribe", "topics is empty"),
    ],
)
def test_refused(text: str, command: str, error: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        parse(text)
    assert (refused.value.command, refused.value.message) == (command, error)


def test_replies_byte_for_byte() -> None:
    replies = Replies()
    assert replies.done("auth") == '{"command":"auth","id":"1","status":0}'
    assert replies.refused("auth", AUTH_ERROR) == (
        '{"command":"auth","error":"access_token , username , domain or password error","id":"2","status":-1}'
    )
    assert replies.done("subscribe", cursor="17") == '{"command":"subscribe","id":"3","status":0,"cursor":"17"}'


def test_cursor_of_a_close_stands_in_its_reason_or_in_a_message_before() -> None:
    assert cursor_reason(17) == '{"cursor":"17"}'
    assert len(cursor_reason(10**18)) <= 123
    assert closing(4008, {"7": 17, "8": 2}) == '{"command":"closing","code":4008,"cursor":{"7":"17","8":"2"}}'


def test_a_thousand_tenants_with_the_longest_ids_fit_a_system_administrators_message() -> None:
    tenants = [str(10**17 + n) for n in range(1000)]
    since = dict.fromkeys(tenants, "9" * 18)
    text = orjson.dumps({"command": "subscribe", "topics": ["global_cdr_events"], "tenants": tenants, "since": since})
    assert message_bytes(is_system_administrator=False) < len(text) < message_bytes(is_system_administrator=True)
    assert parse(text.decode()) == Subscribe(
        ("global_cdr_events",), tenants=tuple(tenants), since_by_tenant=dict.fromkeys(tenants, 10**18 - 1)
    )
