"""What holds of every parser that strangers feed, whatever bytes come: it says what is wrong, and keeps little.

Half of the bytes are real ones that were spoilt: a parser that only ever sees noise is never looked at inside.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st
from sippy.SipRequest import SipRequest

from cdr import callevent_json
from cdr.callevents import CallEvent
from pbx.asterisk import ami
from pbx.asterisk.interpreter import Interpreter as AsteriskInterpreter
from pbx.freeswitch import esl
from pbx.freeswitch.interpreter import Interpreter as FreeSwitchInterpreter
from pbx.sip import digest, media_control, wire
from tests.pbx.asterisk import fake as asterisk
from tests.pbx.freeswitch import fake as freeswitch
from tests.pbx.sip.test_listener import IN_DIALOG, PRINTED, sample

NOW = datetime(2027, 1, 1, tzinfo=UTC)
LINE_MAX, MESSAGE_MAX, HEADERS_MAX, BODY_MAX = 200, 1_000, 1_000, 4_000  # small, so that they are met often
CHALLENGE = digest.challenge("test.io", digest.Nonces(b"k" * 32).new("192.0.2.7", 1000.0))

# --- Bytes ---------------------------------------------------------------------------------------------------

_TOKENS = (
    b"\r\n", b"\n", b"\r", b"\n\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b'"', b"\\", b"<", b">", b"=",
    b"{", b"}", b"[", b"]", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf0\x9f\x93\x9e", b"Content-Length: ", b"-1",
    b"99999999999999999999", b"0", b"MESSAGE", b"INVITE", b"Via: ", b"To: ", b"sip:", b"Event: ", b"Response: ",
    b"Content-Type: text/event-json\n", b"auth/request", b"true", b"null", b"NaN", b"1e999", b"\\u0000",
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """A real one with pieces cut out, put in, doubled or overwritten."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        piece = draw(st.sampled_from(_TOKENS) | st.binary(max_size=12))
        match draw(st.sampled_from(["cut", "insert", "replace", "double", "long"])):
            case "cut":
                del data[start:end]
            case "insert":
                data[start:start] = piece
            case "replace":
                data[start:end] = piece
            case "double":
                data[start:start] = data[start:end]
            case "long":
                data[start:start] = piece * draw(st.integers(1, 400))
    return bytes(data)


def _pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The same bytes as the network may break them."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


_CUTS = st.lists(st.integers(0, 100_000), max_size=8)

# --- SIP -----------------------------------------------------------------------------------------------------

_BODIES = (b"pause-audio-recording", b'{ "operation" : "pause-audio-recording", "session_id" : "5984923794364"}')
_DATAGRAMS = (
    sample(), sample("pause-audio-recording", to=IN_DIALOG), sample(to="", length=21),
    sample().replace(b"Content-Type:", b"c:\r\n ").replace(b"From:", b"f:"),
    sample().replace(b"MESSAGE", b"OPTIONS"),
)  # fmt: skip


@given(spoilt(_DATAGRAMS) | st.binary(max_size=400))
def sip_datagram(data: bytes) -> None:
    """Refused in words, or read; and what is read, the stack behind can read too."""
    request = _read(data)
    if isinstance(request, wire.UnreadableError):
        assert request.reply is None or request.reply.startswith(f"SIP/2.0 {request.code} ".encode())
        return
    assert len(request.headers) <= wire.HEADERS_MAX
    _answered_by_the_stack(request)
    wire.host_of(request.uri)
    assert isinstance(request.has_to_tag, bool)


def _read(data: bytes) -> wire.Request | wire.UnreadableError:
    try:
        return wire.read(data)
    except wire.UnreadableError as error:
        return error


def _answered_by_the_stack(request: wire.Request) -> None:
    stacked = SipRequest(request.head().decode())
    stacked.getTIds()
    stacked.getTId(wBRN=True)
    stacked.getHFBody("via").getAddr()
    response = stacked.genResponse(200, "OK")
    response.getHFBody("via").getTAddr()
    response.getHFBody("to").getTag()
    assert response.localStr((("192.0.2.1", 5060), "udp")).startswith("SIP/2.0 200 OK\r\n")


@given(spoilt([PRINTED.encode(), CHALLENGE.encode()]) | st.binary(max_size=200), st.text(max_size=60))
def sip_credentials(data: bytes, uri: str) -> None:
    """Read, or said to be malformed; never right without the password."""
    try:
        told = digest.parse(data.decode("utf-8", "replace"))
    except digest.MalformedError:
        return
    digest.means(told.uri, uri)
    proof = digest.Nonces(b"k" * 32).prove(told, "0" * 32, "MESSAGE", source="192.0.2.7", now=1001.0)
    assert proof is not digest.Proof.RIGHT


@given(st.lists(st.text(max_size=60) | st.sampled_from(media_control.CONTENT_TYPES), max_size=3),
       spoilt(_BODIES) | st.binary(max_size=200), st.booleans())  # fmt: skip
def sip_body(content_types: list[str], body: bytes, in_dialog: bool) -> None:
    """One of four commands, or a refusal with a SIP status."""
    for types in (content_types, [media_control.CONTENT_TYPES[0]]):
        wish = _wish(types, body, in_dialog)
        if isinstance(wish, media_control.RefusedBodyError):
            assert wish.code in (400, 413, 415)
            continue
        assert wish.command in media_control.COMMANDS
        assert len(wish.session_id) <= media_control.SESSION_ID_MAX


def _wish(types: Sequence[str], body: bytes, in_dialog: bool) -> media_control.Wish | media_control.RefusedBodyError:
    try:
        return media_control.read(types, body, in_dialog=in_dialog)
    except media_control.RefusedBodyError as error:
        return error


# --- Asterisk's manager interface ----------------------------------------------------------------------------


def _as_ami(flow: str) -> bytes:
    told = bytearray(b"Asterisk Call Manager/11.0.0\r\n")
    for row in asterisk.recorded(flow)[:40]:
        if row["source"] == "ami":
            for key, value in row["event"].items():
                for each in value if isinstance(value, list) else [value]:
                    told += f"{key}: {each}\r\n".encode()
            told += b"\r\n"
    return bytes(told)


_AMI = [_as_ami(flow) for flow in ("extension_to_extension", "ivr_queue_agent", "attended_transfer_by_callee")]


@given(spoilt(_AMI) | st.binary(max_size=400), _CUTS)
def ami_stream(data: bytes, cuts: list[int]) -> None:
    """Nothing stops the stream, and nothing is kept of what has no end."""
    parser = ami.Parser(line_max=LINE_MAX, message_max=MESSAGE_MAX)
    interpreter, told = AsteriskInterpreter(), []
    for piece in _pieces(data, cuts):
        for message in parser.feed(piece):
            told += interpreter.ami(message, NOW)
        assert len(parser._rest) <= LINE_MAX
        assert _size(parser._message) <= MESSAGE_MAX
    _check_storable(told)


def _size(message: ami.Message) -> int:
    return sum(len(key) + sum(map(len, value)) for key, value in message.items())


# --- FreeSWITCH's event socket -------------------------------------------------------------------------------


def _as_esl(flow: str) -> bytes:
    told = bytearray(b"Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n")
    for event in freeswitch.recorded(flow)[:40]:
        body = orjson.dumps(event)
        told += f"Content-Length: {len(body)}\nContent-Type: text/event-json\n\n".encode() + body
    return bytes(told)


_ESL = [_as_esl(flow) for flow in ("extension_to_extension", "ivr_queue_agent", "attended_transfer_by_callee")
        if (freeswitch.STREAMS / f"{flow}.jsonl").exists()]  # fmt: skip


@given(spoilt(_ESL) | st.binary(max_size=400), _CUTS)
def esl_stream(data: bytes, cuts: list[int]) -> None:
    """Either the stream goes on or it is said to be lost, and no more is kept than was announced."""
    parser = esl.Parser(headers_max=HEADERS_MAX, body_max=BODY_MAX)
    interpreter, told = FreeSwitchInterpreter(), []
    for piece in _pieces(data, cuts):
        try:
            frames = parser.feed(piece)
        except esl.BrokenStreamError:
            break
        for frame in frames:
            if (message := esl.message_of(frame.body)) is not None:
                told += interpreter.take(message, NOW)
            esl.rows_of(frame.body.decode("utf-8", "replace"))
        assert len(parser._data) <= max(HEADERS_MAX, BODY_MAX)
    _check_storable(told)


def _check_storable(told: Sequence[CallEvent]) -> None:
    for event in told:
        document = callevent_json.write(event)
        assert callevent_json.write(callevent_json.read(document)) == document


PROPERTIES: Sequence[Callable[[], None]] = (
    sip_datagram, sip_credentials, sip_body, ami_stream, esl_stream,
)  # fmt: skip
