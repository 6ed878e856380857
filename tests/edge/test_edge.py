"""What the edge makes of each message, between a phone, a switch and a portal that are sockets of the test's own."""

import re
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.asterisk.sip import Message, new_token, uri_in
from tests.edge.rig import HOST, Edge, places, prepare, running_edge

pytestmark = [pytest.mark.edge, pytest.mark.xdist_group("stack")]

PATIENCE = 30.0
TRUNK_HOST = "127.0.0.2"
BODY = '{ "operation" : "pause-audio-recording", "session_id" : "5984923794364"}'


class End:
    """A socket that speaks to the edge."""

    def __init__(self, host: str = HOST) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.port: int = self.socket.getsockname()[1]

    def send(self, text: str, port: int) -> None:
        self.socket.sendto(text.encode(), (HOST, port))

    def hear(self, sent: str, *, seconds: float = PATIENCE) -> Message:
        """What came of the request that was sent: here, or as its final answer; retransmissions of others are left."""
        call_id = Message.parse(sent.encode()).get("call-id")
        self.socket.settimeout(seconds)
        while True:
            message = Message.parse(self.socket.recv(65_535))
            if message.get("call-id") == call_id and (message.is_request or message.status >= 200):
                return message


@dataclass
class Around:
    edge: Edge
    phone: End = field(default_factory=End)
    switch: End = field(default_factory=End)
    portal: End = field(default_factory=End)

    def request(self, method: str, uri: str = "sip:acme.test", *, more: str = "", body: str = "", to: str = "") -> str:
        """As the phone 101 writes it."""
        return (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {HOST}:{self.phone.port};branch=z9hG4bK{new_token()}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:101@acme.test>;tag={new_token()}\r\n"
            f"To: {to or '<sip:101@acme.test>'}\r\nCall-ID: {new_token()}\r\nCSeq: 1 {method}\r\n"
            f"{more}Content-Length: {len(body)}\r\n\r\n{body}"
        )


def answer_to(request: Message, status: str, more: str = "") -> str:
    kept = [f"{name}: {value}" for name, value in request.headers if name in ("via", "from", "to", "call-id", "cseq")]
    return "\r\n".join([f"SIP/2.0 {status}", *kept, f"{more}Content-Length: 0", "", ""])


@pytest.fixture(scope="module")
def around() -> Iterator[Around]:
    prepare()
    switch, portal = End(), End()
    ends, trunks = {"switch_port": switch.port, "control_port": portal.port}, {TRUNK_HOST: "AudioCodes"}
    with places() as found, running_edge(found, **ends, trunks=trunks) as edge:
        yield Around(edge, switch=switch, portal=portal)


CONTROL = "Content-Type: plain/x-media-control\r\n"


@pytest.mark.parametrize(
    "content_type",
    [
        "plain/x-media-control",
        "application/x-media-control",
        "application/x-media-control+json; charset=utf-8",
        "Plain/X-Media-Control",
    ],
)
def test_a_control_message_reaches_the_portal_as_it_is(around: Around, content_type: str) -> None:
    forged = "X-Forwarded-For: 203.0.113.1\r\nX-Edge-Domain: globex.test\r\n"
    sent = around.request("MESSAGE", more=f"Content-Type: {content_type}\r\n{forged}", body=BODY)
    around.phone.send(sent, around.edge.port)
    got = around.portal.hear(sent)
    assert got.start_line == "MESSAGE sip:acme.test SIP/2.0"
    assert (got.body, got.get("content-type")) == (BODY, content_type)
    assert (got.all("x-forwarded-for"), got.all("x-edge-domain")) == ([HOST], [])
    around.portal.send(answer_to(got, "200 OK"), around.edge.port)
    assert around.phone.hear(sent).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "plain/x-media-controls", "text/x-media-control"])
def test_any_other_message_reaches_the_switch(around: Around, content_type: str) -> None:
    sent = around.request("MESSAGE", more=f"Content-Type: {content_type}\r\n", body="hello")
    around.phone.send(sent, around.edge.port)
    got = around.switch.hear(sent)
    assert (got.body, got.all("x-forwarded-for")) == ("hello", [])
    around.switch.send(answer_to(got, "202 Accepted"), around.edge.port)
    assert around.phone.hear(sent).status == 202


def test_the_portals_refusals_reach_the_phone_in_its_words(around: Around) -> None:
    told = 'Warning: 399 voxledger "Too many messages at once"\r\nRetry-After: 2\r\n'
    for status in ("503 Service Unavailable", "488 Not Acceptable Here", "403 Forbidden"):
        sent = around.request("MESSAGE", more=CONTROL, body=BODY)
        around.phone.send(sent, around.edge.port)
        around.portal.send(answer_to(around.portal.hear(sent), status, told), around.edge.port)
        heard = around.phone.hear(sent)
        assert (heard.start_line, heard.get("retry-after")) == (f"SIP/2.0 {status}", "2")
        assert heard.get("warning") == '399 voxledger "Too many messages at once"'


def test_a_silent_portal_is_said_to_be_so(around: Around) -> None:
    sent = around.request("MESSAGE", more=CONTROL, body=BODY)
    around.phone.send(sent, around.edge.port)
    heard = around.phone.hear(sent, seconds=60)
    assert (heard.start_line, heard.get("warning")) == (
        "SIP/2.0 504 Server Time-out",
        '399 edge "The portal did not answer"',
    )


def test_a_wrong_length_as_printed_is_refused_in_words(around: Around) -> None:
    short = around.request("MESSAGE", more=CONTROL, body=BODY).replace(
        f"Content-Length: {len(BODY)}", "Content-Length: 21"
    )
    around.phone.send(short, around.edge.port)
    assert around.phone.hear(short).start_line == "SIP/2.0 400 Content-Length mis-match"


def sealed(around: Around, contact: str) -> str:
    """The whole Contact that the switch gets of a phone that is there."""
    phone = urlsafe_b64encode(contact.encode()).decode().rstrip("=")
    flow = f"{HOST}~{around.phone.port}~udp~acme.test"
    return rf"<(sip:101@{HOST}:{around.edge.port};flow={flow};phone={phone};seal=[A-Za-z0-9_-]{{22}})>"


def registered(around: Around, contact: str, *, to: str = "") -> tuple[str, Message]:
    """The REGISTER of a phone, and how it came to the switch."""
    sent = around.request("REGISTER", more=f"{contact}\r\n", to=to)
    around.phone.send(sent, around.edge.port)
    return sent, around.switch.hear(sent)


def test_a_registered_phone_is_at_the_edge(around: Around) -> None:
    contact = "<sip:me@192.168.0.16:5568;rinstance=1>;expires=60"
    sent, got = registered(around, f"Contact: {contact}")
    there = re.fullmatch(sealed(around, "sip:me@192.168.0.16:5568;rinstance=1") + ";expires=60", got.get("contact"))
    assert there, got.get("contact")
    others = f"<sip:101@{HOST}:1;other=2>;expires=9"
    around.switch.send(
        answer_to(got, "200 OK", f"Contact: {got.get('contact')}\r\nContact: {others}\r\n"), around.edge.port
    )
    assert around.phone.hear(sent).all("contact") == [contact, others]

    ringing = rings(around, there.group(1))
    around.switch.send(ringing, around.edge.port)
    rung = around.phone.hear(ringing)
    assert rung.start_line == "INVITE sip:me@192.168.0.16:5568;rinstance=1 SIP/2.0"
    assert rung.all("x-session-id") == ["77"]
    assert "domain=acme.test" in rung.get("record-route")


@pytest.mark.parametrize(
    ("written", "uri", "kept"),
    [
        ("Contact: sip:me@192.0.2.77:5568;expires=60", "sip:me@192.0.2.77:5568", ";expires=60"),
        ("m: <sips:me@192.0.2.77>", "sips:me@192.0.2.77", ""),
        (
            'CONTACT : "Me, \\"<sip:you@a>\\"" <sip:me@192.0.2.77>;+sip.instance="<urn:uuid:1>";methods="INVITE, ACK"',
            "sip:me@192.0.2.77",
            "",
        ),
        ("Contact: <sip:me@192.0.2.77>;expires=0", "sip:me@192.0.2.77", ";expires=0"),
    ],
)
@pytest.mark.parametrize("to", ["", "<sip:101@acme.test>;tag=2"])
def test_the_switch_gets_one_contact_that_the_edge_has_written(
    around: Around, written: str, uri: str, kept: str, to: str
) -> None:
    _, got = registered(around, written, to=to)
    contacts = got.all("contact") + got.all("m")
    assert len(contacts) == 1
    assert re.fullmatch(sealed(around, uri) + kept, contacts[0]), contacts


REAL, ELSEWHERE = "<sip:101@192.0.2.77>", "<sip:+8815551234@203.0.113.7>"


@pytest.mark.parametrize(
    "contact",
    [
        f"Contact: {REAL}\r\nContact: {ELSEWHERE}",
        f"Contact: {REAL}\r\nm: {ELSEWHERE}",
        f"Contact: {REAL}\r\nX-Between: 1\r\ncontact : {ELSEWHERE}",
        f"Contact: {REAL}, {ELSEWHERE}",
        f"Contact: {REAL};expires=60,\r\n {ELSEWHERE}",
        f'Contact: "a" {REAL}, "b" {ELSEWHERE}',
        f"Contact: sip:101@192.0.2.77, {ELSEWHERE}",
        f"Contact: {REAL}{ELSEWHERE}",
        f"Contact: {REAL}\r\nContact: *\r\nExpires: 0",
        f"Contact: *, {ELSEWHERE}\r\nExpires: 0",
        "Contact: *",
        "Contact: *\r\nExpires: 60",
        "Contact: ",
        "Contact: <mailto:101@acme.test>",
        "Contact: <sip:101@192.0.2.77",
        "Contact: <sip:101@192.0.2.77;a=\r\n b>",
    ],
)
@pytest.mark.parametrize("to", ["", "<sip:101@acme.test>;tag=2"])
def test_any_other_contact_is_refused(around: Around, contact: str, to: str) -> None:
    sent = around.request("REGISTER", more=f"{contact}\r\n", to=to)
    around.phone.send(sent, around.edge.port)
    assert around.phone.hear(sent).status == 400
    assert_nothing_came(around.switch, sent)


@pytest.mark.parametrize("between", ["\r", "\0", "\0\r", "\r\r\n"])
@pytest.mark.parametrize("hidden", [f"Contact: {ELSEWHERE}", "X-Edge-Trunk: AudioCodes"])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_no_header_hides_behind_a_character_that_ends_no_line(
    around: Around, method: str, hidden: str, between: str
) -> None:
    sent = around.request(method, more=f"Contact: {REAL}\r\nX-Before: 1{between}{hidden}\r\n")
    around.phone.send(sent, around.edge.port)
    assert around.phone.hear(sent).status == 400
    assert_nothing_came(around.switch, sent)


def test_a_body_may_have_any_character(around: Around) -> None:
    sent = around.request("MESSAGE", more="Content-Type: text/plain\r\n", body="a\rb\0c")
    around.phone.send(sent, around.edge.port)
    assert around.switch.hear(sent).body == "a\rb\0c"


@pytest.mark.parametrize("to", ["<sip:101;flow=1@acme.test>", "<sip:acme.test>", "<sip:101@[::1]>", "<tel:101>"])
def test_whom_the_edge_cannot_name_to_the_switch_is_refused(around: Around, to: str) -> None:
    sent = around.request("REGISTER", more=f"Contact: {REAL}\r\n", to=to)
    around.phone.send(sent, around.edge.port)
    assert around.phone.hear(sent).status == 400
    assert_nothing_came(around.switch, sent)


def test_a_trunk_does_not_register(around: Around) -> None:
    """So nobody who writes a trunk's address as his own has himself called there."""
    trunk = End(TRUNK_HOST)
    sent = around.request("REGISTER", more=f"Contact: {REAL}\r\n")
    trunk.send(sent, around.edge.port)
    assert trunk.hear(sent).status == 403
    assert_nothing_came(around.switch, sent)


def test_a_path_is_the_edges_to_say(around: Around) -> None:
    _, got = registered(around, f"Contact: {REAL}\r\nPath: <sip:203.0.113.7;lr>")
    assert got.all("path") == []


def test_a_phone_that_calls_itself_what_the_edge_would_is_called_where_it_is(around: Around) -> None:
    elsewhere = End()
    forged = f"sip:x@{HOST}:{around.edge.port};flow={HOST}~{elsewhere.port}~udp~acme.test;phone=c2lwOnhAeQ"
    _, got = registered(around, f"Contact: <{forged}>")
    there = re.fullmatch(sealed(around, forged), got.get("contact"))
    assert there, got.get("contact")
    ringing = rings(around, there.group(1))
    around.switch.send(ringing, around.edge.port)
    assert around.phone.hear(ringing).start_line == f"INVITE {forged} SIP/2.0"
    assert_nothing_came(elsewhere, ringing)


def test_nobody_forges_where_a_phone_is(around: Around) -> None:
    """Whatever way such a URI has come to the switch."""
    elsewhere = End()
    _, got = registered(around, f"Contact: {REAL}")
    real = uri_in(got.get("contact"))
    flow, phone, seal = real.split(";")[1:]
    there = f"flow={HOST}~{elsewhere.port}~udp~acme.test"
    at_edge = f"sip:101@{HOST}:{around.edge.port}"
    for forged in (
        f"{at_edge};{there};{phone};{seal}",
        f"{at_edge};{there};{phone}",
        f"{at_edge};{there};{phone};seal=",
        f"{at_edge};{flow};phone=c2lwOnhAeQ;{seal}",
        f"{at_edge};{flow};{phone};{seal};{there}",
        f"{at_edge};{seal}",
        at_edge,
        f"sip:101@{HOST}:{around.edge.tls_port};transport=tls",
    ):
        ringing = rings(around, forged)
        around.switch.send(ringing, around.edge.port)
        assert around.switch.hear(ringing).status == 404, forged
        assert_nothing_came(elsewhere, ringing)


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_without_a_secret_nothing_is_sealed(secret: str) -> None:
    switch, portal = End(), End()
    with (
        places() as found,
        running_edge(found, switch_port=switch.port, control_port=portal.port, trunks={}, secret=secret) as edge,
    ):
        around = Around(edge, switch=switch, portal=portal)
        sent = around.request("REGISTER", more=f"Contact: {REAL}\r\n")
        around.phone.send(sent, edge.port)
        assert around.phone.hear(sent).status == 500
        assert_nothing_came(switch, sent)
        ringing = rings(around, f"sip:101@{HOST}:{edge.port};flow={HOST}~{around.phone.port}~udp~acme.test;seal=")
        switch.send(ringing, edge.port)
        assert switch.hear(ringing).status == 500
        assert_nothing_came(around.phone, ringing)


def rings(around: Around, uri: str) -> str:
    """The switch's INVITE."""
    plain = around.request("INVITE", uri, more="X-Session-Id: 77\r\n")
    return plain.replace(f"UDP {HOST}:{around.phone.port}", f"UDP {HOST}:{around.switch.port}")


def assert_nothing_came(end: End, sent: str) -> None:
    with pytest.raises(TimeoutError):
        end.hear(sent, seconds=0.1)


def test_every_contact_is_let_go(around: Around) -> None:
    _, got = registered(around, "Contact: *\r\nExpires: 0")
    assert got.all("contact") == ["*"]


def test_a_phone_may_ask_who_is_registered(around: Around) -> None:
    sent = around.request("REGISTER")
    around.phone.send(sent, around.edge.port)
    assert around.switch.hear(sent).all("contact") == []


def test_elsewhere_no_id_is_told(around: Around) -> None:
    elsewhere = End()
    ringing = rings(around, f"sip:5551000@{HOST}:{elsewhere.port}")
    around.switch.send(ringing, around.edge.port)
    assert elsewhere.hear(ringing).all("x-session-id") == []


@pytest.mark.parametrize("to", ["<sip:102@acme.test>", "<sip:102@acme.test>;tag=2"])
def test_nobody_outside_sends_elsewhere_than_to_the_switch(around: Around, to: str) -> None:
    elsewhere = End()
    request = around.request(
        "OPTIONS", f"sip:102@{HOST}:{elsewhere.port}", to=to, more=f"Route: <sip:{HOST}:{elsewhere.port};lr>\r\n"
    )
    around.phone.send(request, around.edge.port)
    got = around.switch.hear(request)
    assert got.all("route") == []
    assert_nothing_came(elsewhere, request)
