"""The event socket's bytes, cut, wrong and hostile."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.freeswitch.esl import BrokenStreamError, Frame, Parser, encode, message_of, rows_of, text, variable
from tests.pbx.freeswitch.fake import frame, recorded

HELLO = b"Content-Type: auth/request\n\n"
REPLY = b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
EVENT = frame("text/event-json", '{"Event-Name":"HEARTBEAT","Up-Time":"\xfc"}')
STREAM = HELLO + REPLY + EVENT + b"\n" + frame("api/response", "") + frame("api/response", "+OK\n\nmore\n")
FRAMES = [
    Frame({"content-type": "auth/request"}),
    Frame({"content-type": "command/reply", "reply-text": "+OK accepted"}),
    Frame(
        {"content-length": "41", "content-type": "text/event-json"},
        '{"Event-Name":"HEARTBEAT","Up-Time":"\xfc"}'.encode(),
    ),
    Frame({"content-length": "0", "content-type": "api/response"}),
    Frame({"content-length": "10", "content-type": "api/response"}, b"+OK\n\nmore\n"),
]


def frames(data: bytes, *cuts: int) -> list[Frame]:
    parser, found = Parser(), []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        found += parser.feed(data[start:end])
    return found


def test_a_stream_is_cut_into_its_frames() -> None:
    assert frames(STREAM) == FRAMES


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM))))
def test_where_the_reads_break_it_does_not_matter(cuts: list[int]) -> None:
    assert frames(STREAM, *cuts) == FRAMES


def test_a_frame_that_has_not_come_whole_is_none_yet() -> None:
    for length in range(len(EVENT)):
        assert frames(EVENT[:length]) == []


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\n\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n\n\n",
        b"Content-Length: 5\n\nabcde",
        b"Content-Length: -5\nContent-Type: text/event-json\n\n",
        b"Content-Length: 5x\nContent-Type: text/event-json\n\n",
        b"Content-Length: 99999999999\nContent-Type: text/event-json\n\n",
        b"Content-Length: 40000000\nContent-Type: text/event-json\n\n",
        b"\xff\xfe\0\n\n",
        b"x" * 70_000,
        b"A: b\n" * 20_000,
        # A length that is too short: what is left over of the body stands where headers should.
        frame("text/event-json", '{"a":"b","c":"d"}').replace(b"17", b"12") + EVENT,
        # And one that is too long: it has swallowed the beginning of the next frame.
        frame("text/event-json", '{"a":"b"}').replace(b": 9", b": 29") + EVENT,
    ],
)
def test_what_is_no_event_socket_is_left(data: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        frames(data)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_break_the_parser(chunks: list[bytes]) -> None:
    parser = Parser(headers_max=300, body_max=500)
    try:
        for chunk in chunks:
            for found in parser.feed(chunk):
                message_of(found.body)
    except BrokenStreamError:
        pass


HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Content-Length", "Reply-Text", "X", ""]),
    st.sampled_from(["0", "1", "-1", "7", "4000", "text/event-json", "api/response", "\n", ":", "é"]),
)


@settings(deadline=None)
@given(st.lists(st.tuples(HEADERS, st.text(max_size=30))))
def test_no_headers_break_the_parser(told: list[tuple[dict[str, str], str]]) -> None:
    parser = Parser(headers_max=300, body_max=500)
    try:
        for headers, body in told:
            lines = "".join(f"{key}: {value}\n" for key, value in headers.items())
            parser.feed(f"{lines}\n{body}".encode())
    except BrokenStreamError:
        pass
    assert len(parser._data) < 300 + 500 + 1000  # it keeps no more than what is not whole yet


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a":"b","many":["x","y"],"number":7,"nothing":null,"deep":{"a":"b"}}', {"a": "b", "many": ["x", "y"]}),
        (b"[]", None),
        (b"-ERR No such channel!", None),
        (b"", None),
        (b'{"a":"\xff"}', None),
    ],
)
def test_an_event_is_an_object_of_texts(body: bytes, message: Any) -> None:
    assert message_of(body) == message


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ('{"row_count":0}', []),
        ('{"row_count":1,"rows":[{"uuid":"a"},7]}', [{"uuid": "a"}]),
        ("-ERR", None),
        ("[]", None),
        ('{"rows":7}', None),
    ],
)
def test_a_list_of_channels_has_rows(body: str, rows: Any) -> None:
    assert rows_of(body) == rows


def test_a_header_that_was_set_again_counts_as_it_is_now() -> None:
    message = message_of(b'{"variable_transfer_history":["first","second"],"none":[],"name":"a\\u0000b\\u001bc"}')
    assert message is not None
    assert (variable(message, "transfer_history"), text(message, "none"), text(message, "name")) == (
        "second",
        "",
        "abc",
    )


def test_a_command_is_one_line() -> None:
    assert encode("api uuid_record a start /x 0") == b"api uuid_record a start /x 0\n\n"
    for command in ("", " ", "api a\n\nexit", "api a\r", "a\0"):
        with pytest.raises(ValueError, match="one line"):
            encode(command)


def test_recorded_events_come_back_as_they_were_sent() -> None:
    events = recorded("ivr_queue_agent")
    sent = b"".join(frame("text/event-json", json.dumps(event)) for event in events)
    assert [message_of(each.body) for each in frames(sent, 7, 5000, 5001)] == events
