"""Requests as datagrams hold them: what is read, what is refused in words; what is let through the stack can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sippy.SipRequest import SipRequest

from pbx.sip import wire
from pbx.sip.wire import UnreadableError
from tests.pbx.sip.test_listener import TO, sample


def with_header(name: str, value: str) -> bytes:
    """The sample with that header in the place of its own."""
    lines = [line for line in sample(to=TO).decode().split("\r\n") if not line.startswith(f"{name}:")]
    return "\r\n".join([lines[0], f"{name}: {value}", *lines[1:]]).encode()


def refusal(datagram: bytes) -> str:
    with pytest.raises(UnreadableError) as refused:
        wire.read(datagram)
    assert refused.value.reply is None or refused.value.reply.startswith(f"SIP/2.0 {refused.value.code} ".encode())
    return refused.value.warning


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Via", "SIP/2.0/UDP 192.168.0.16:5568;branch=z9hG4bK-1;rport"),
        ("Via", "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK-1;rport=5060;received=192.0.2.1"),
        ("Via", "SIP/2.0/UDP edge.test;branch=z9hG4bK-1, SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK-2"),
        ("From", '"Anna \\"A\\" <x>" <sip:101@test.io>;tag=1'),
        ("From", "Anna B <sips:101@test.io:5061;transport=tcp>;tag=1"),
        ("From", "sip:101@test.io;tag=1"),
        ("To", "<sip:test.io>"),
        ("To", "Žofie <sip:101@[2001:db8::1]>"),
        ("CSeq", "2147483647 MESSAGE"),
    ],
)
def test_header_as_phones_write_it_is_read_and_the_stack_reads_it_too(name: str, value: str) -> None:
    request = wire.read(with_header(name, value))
    assert request.first(name.lower()) == value
    answered(request)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Via", "x", "The Via header cannot be read"),
        ("Via", "SIP/2.0/UDP", "The Via header cannot be read"),
        ("Via", "SIP/2.0/UDP h:x;branch=1", "The Via header cannot be read"),
        ("Via", "SIP/2.0/UDP h;rport=abc", "The Via header cannot be read"),
        ("Via", "SIP/2.0/UDP h;branch=1, x", "The Via header cannot be read"),
        ("From", "", "There must be one From header"),
        ("From", "<sip:", "The From header cannot be read"),
        ("From", '"a <sip:101@test.io>', "The From header cannot be read"),
        ("From", "<tel:101>", "The From header cannot be read"),
        ("From", "<sip:a@[::1>;tag=1", "The From header cannot be read"),
        ("To", "*", "The To header cannot be read"),
        ("CSeq", "3", "The CSeq header cannot be read"),
        ("CSeq", "x MESSAGE", "The CSeq header cannot be read"),
        ("CSeq", "3 INVITE", "The CSeq header cannot be read"),
        ("CSeq", "99999999999 MESSAGE", "The CSeq header cannot be read"),
        ("Call-ID", "", "There must be one Call-ID header"),
        ("Content-Length", "-1", "The Content-Length cannot be read"),
        ("Subject", "a\rb", "A header holds a control character"),
        ("Subject", "a\0b", "A header holds a control character"),
    ],
)
def test_header_that_cannot_be_read_is_named(name: str, value: str, said: str) -> None:
    assert refusal(with_header(name, value)) == said


@pytest.mark.parametrize(
    "uri", ["tel:101", "ip:101@test.io", "sip:", "sip:101@", "sip:101@test.io:x", "*", "http://a/"]
)
def test_request_for_no_sip_uri_is_refused(uri: str) -> None:
    assert refusal(sample().replace(b"sip:101@test.io SIP", f"{uri} SIP".encode())) == "The request is for no SIP URI"


@pytest.mark.parametrize("filling", [" ", ";", "a", '"', "\\", "<", ":", ",", "@", "; ", "=,", "\t"])
@pytest.mark.parametrize("name", ["Via", "From", "CSeq", "Proxy-Authorization"])
def test_long_headers_are_read_or_refused_at_once(name: str, filling: str) -> None:
    """An expression that backtracks would not come back from this within the test's time."""
    for value in (
        filling * 3_000,
        f"SIP/2.0/UDP h{filling * 3_000}",
        f"<sip:a@b>{filling * 3_000}",
        f"1{filling * 3_000}",
    ):
        try:
            wire.read(with_header(name, value))
        except UnreadableError:
            continue


def answered(request: wire.Request) -> bytes:
    """What the stack makes of the part that it is given."""
    stacked = SipRequest(request.head().decode())
    stacked.getTIds()
    stacked.getTId(wBRN=True)
    stacked.getHFBody("via").getAddr()
    response = stacked.genResponse(200, "OK")
    response.getHFBody("via").getTAddr()
    response.getHFBody("to").genTag()
    return bytes(response.localStr((("192.0.2.1", 5060), "udp")).encode())


_PIECES = st.sampled_from(
    ["sip:", "<", ">", '"', "\\", ";", "tag=", "@", "a", "1", "[::1]", ":", " ", ",", "rport=", "branch=",
     "SIP/2.0/UDP ", "h", "received=", "MESSAGE", "é", "=", "?", "%", "*"]
)  # fmt: skip


@given(st.sampled_from(["Via", "From", "To", "CSeq", "Call-ID", "Max-Forwards"]), st.lists(_PIECES, max_size=12))
def test_whatever_is_let_through_the_stack_can_read(name: str, pieces: list[str]) -> None:
    try:
        request = wire.read(with_header(name, "".join(pieces)))
    except UnreadableError:
        return
    assert answered(request).startswith(b"SIP/2.0 200 OK\r\n")
