"""The wire of AMI: messages out of any bytes, in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.asterisk.ami import Parser, encode_action, plain, text, variables

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
LOGIN = b"Response: Success\r\nActionID: 1\r\nMessage: Authentication accepted\r\n\r\n"
HANGUP = (
    b"Event: Hangup\r\nChannel: PJSIP/101@acme.test-00000001\r\nCause-txt: Normal Clearing\r\nTechCause: 486\r\n\r\n"
)


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (b"", []),
        (BANNER, []),
        (LOGIN, [{"Response": "Success", "ActionID": "1", "Message": "Authentication accepted"}]),
        (
            BANNER + LOGIN + HANGUP,
            [
                {"Response": "Success", "ActionID": "1", "Message": "Authentication accepted"},
                {
                    "Event": "Hangup",
                    "Channel": "PJSIP/101@acme.test-00000001",
                    "Cause-txt": "Normal Clearing",
                    "TechCause": "486",
                },
            ],
        ),
        (b"Event: A\r\nChanVariable: X=1\r\nChanVariable: Y=\r\nChanVariable: Z=a=b\r\n\r\n",
         [{"Event": "A", "ChanVariable": ["X=1", "Y=", "Z=a=b"]}]),
        (b"Event: A\nKey: with: colons: in it\n\n", [{"Event": "A", "Key": "with: colons: in it"}]),
        (b"Event:A\r\nEmpty:\r\n  Spaced  :  v  \r\n\r\n", [{"Event": "A", "Empty": "", "Spaced": "v"}]),
        (b"\r\n\r\n\r\nEvent: A\r\n\r\n\r\n", [{"Event": "A"}]),
        (b"Event: A\r\nno colon here\r\nB: 1\r\n\r\n", [{"Event": "A", "B": "1"}]),
        (b"Event: A\r\nName: \xe9\xff Ren\xc3\xa9\r\n\r\n", [{"Event": "A", "Name": "\ufffd\ufffd Ren\u00e9"}]),
        (b"Event: A\r\nB: 1", []),  # cut off
    ],
)  # fmt: skip
def test_messages_of_a_stream(data: bytes, messages: list[dict[str, str | list[str]]]) -> None:
    assert Parser().feed(data) == messages


@given(st.lists(st.integers(min_value=0, max_value=len(BANNER + LOGIN + HANGUP))))
def test_messages_do_not_depend_on_where_reads_break(cuts: list[int]) -> None:
    data = BANNER + LOGIN + HANGUP
    parser = Parser()
    found = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        found += parser.feed(data[start:end])
    assert found == Parser().feed(data)
    assert (parser.version, parser.malformed) == ("11.0.0", 0)


def test_an_endless_line_is_left_out_and_the_rest_is_read() -> None:
    parser = Parser(line_max=20)
    found = []
    for _ in range(10):
        found += parser.feed(b"X" * 15)
    found += parser.feed(b"\r\nEvent: A\r\n\r\n")
    assert (found, parser.malformed) == ([{"Event": "A"}], 1)


def test_a_long_line_within_one_read_is_left_out() -> None:
    parser = Parser(line_max=20)
    assert parser.feed(b"Event: A\r\nLong: " + b"x" * 30 + b"\r\nB: 1\r\n\r\n") == [{"Event": "A", "B": "1"}]
    assert parser.malformed == 1


def test_an_endless_message_is_left_out_and_the_next_is_read() -> None:
    parser = Parser(message_max=100)
    found = parser.feed(b"Event: A\r\n" + b"Key: value\r\n" * 1000)
    found += parser.feed(b"\r\nEvent: B\r\n\r\n")
    assert (found, parser.malformed) == ([{"Event": "B"}], 1)


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_no_bytes_break_the_parser(parts: list[bytes]) -> None:
    parser = Parser(line_max=64, message_max=256)
    for part in parts:
        for message in parser.feed(part):
            assert message
            for key in message:
                text(message, key)
                variables(message, key)
    sane = parser.feed(b"\r\n\r\nEvent: Sane\r\n\r\n")
    assert sane[-1] == {"Event": "Sane"}


@given(
    st.dictionaries(st.from_regex(r"\A[A-Z][a-z]{1,8}\Z"), st.text(st.characters(exclude_categories=["C", "Z"]))),
)
def test_an_action_is_read_back_as_it_was_meant(fields: dict[str, str]) -> None:
    fields.pop("Action", None)
    assert Parser().feed(encode_action("Originate", fields)) == [{"Action": "Originate", **fields}]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Ping\r\nAction: Command", {}),
        ("Login", {"Secret": "x\r\n\r\nAction: Command"}),
        ("Login", {"Secret\nX": "x"}),
        ("Login", {"A: B": "x"}),
        ("Login", {"": "x"}),
        ("Login", {"Secret": "x\0"}),
    ],
)
def test_an_action_smuggles_nothing(name: str, fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_action(name, fields)


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ({"A": "x"}, "x"),
        ({"A": ["x", "y"]}, "x"),
        ({"A": "<unknown>"}, ""),
        ({}, ""),
        ({"A": "a\x00\x1b[1mb"}, "a[1mb"),
    ],
)
def test_text(message: dict[str, str | list[str]], value: str) -> None:
    assert text(message, "A") == value


def test_variables_leave_out_empty_ones() -> None:
    assert variables({"ChanVariable": ["A=1", "B=", "C=x=y"]}) == {"A": "1", "C": "x=y"}
    assert variables({"ChanVariable": "A=1"}) == {"A": "1"}
    assert variables({}) == {}


@given(st.text())
def test_plain_text_is_safe_to_store(value: str) -> None:
    clean = plain(value)
    assert "\0" not in clean
    clean.encode()
