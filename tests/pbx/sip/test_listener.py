"""Datagrams to a listener on a real socket."""

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from sippy.Core.EventDispatcher import ED2

from pbx.sip.desk import Message, Reply
from pbx.sip.listener import Listener

SAMPLE = """MESSAGE sip:101@test.io SIP/2.0
Via: SIP/2.0/UDP 192.168.0.16:5568;branch=z9hG4bK-524287-1---{branch};rport
Max-Forwards: 70
From: <sip:101@test.io>;tag=fa2d6f1d
{to}Call-ID: SFNH1yZ5c4LrG70_Tlyxgg..
CSeq: 3 MESSAGE
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, REGISTER, SUBSCRIBE, INFO, PUBLISH
Content-Type: plain/x-media-control
Proxy-Authorization: {authorization}
User-Agent: abcd
Allow-Events: hold, talk, conference, dialog
Content-Length: {length}

{body}"""
PRINTED = (
    'Digest username="101",realm="test.io",nonce="13323933303:c8b6b255488669affb8a3e657188569a",uri="sip:101@test.io",'
    'response="da014b313dde19ff29c82043404af10f",algorithm=MD5'
)
JSON = '{ "operation" : "pause-audio-recording", "session_id" : "5984923794364"}'
TO = "To: <sip:101@test.io>\n"
IN_DIALOG = "To: <sip:103@test.io>;tag=77\n"


PATIENCE = 30.0  # seconds that a busy test machine may take


def sample(body: str = JSON, *, to: str = TO, length: int | None = None, branch: str = "a67ad51a25df052f") -> bytes:
    """The specification's out-of-dialog message; as printed it has no To and a Content-Length of 21."""
    length = len(body) if length is None else length
    told = SAMPLE.format(to=to, body=body, branch=branch, length=length, authorization=PRINTED)
    return told.replace("\n", "\r\n").encode()


class Phone:
    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def hear(self, seconds: float = PATIENCE) -> str:
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(65_535).decode()
        except TimeoutError:
            return ""

    def ask(self, datagram: bytes) -> str:
        self.send(datagram)
        return self.hear()


class Desk:
    """Keeps what it was asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.reply = Reply(200, "OK")
        self.is_open = threading.Event()
        self.is_open.set()

    def __call__(self, message: Message) -> Reply:
        self.asked.append(message)
        self.is_open.wait(PATIENCE)
        return self.reply


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[Desk, int, Listener]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    desk = Desk()
    listener = Listener(desk, "127.0.0.1", port)
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    yield desk, port, listener
    ED2.callFromThread(listener.stop)
    thread.join(PATIENCE)


@pytest.fixture
def desk(listening: tuple[Desk, int, Listener]) -> Desk:
    desk = listening[0]
    desk.asked, desk.reply = [], Reply(200, "OK")
    return desk


@pytest.fixture
def phone(listening: tuple[Desk, int, Listener]) -> Iterator[Phone]:
    phone = Phone(listening[1])
    yield phone
    phone.socket.close()


def first_line(reply: str) -> str:
    return reply.partition("\r\n")[0]


def warning(reply: str) -> str:
    found = re.search(r'Warning: 399 \S+ "([^"]*)"', reply)
    return found.group(1) if found else ""


def test_the_specifications_message_reaches_the_desk_whole(phone: Phone, desk: Desk) -> None:
    reply = phone.ask(sample(branch="one"))
    assert first_line(reply) == "SIP/2.0 200 OK"
    assert "CSeq: 3 MESSAGE" in reply
    assert "Call-ID: SFNH1yZ5c4LrG70_Tlyxgg.." in reply
    (asked,) = desk.asked
    assert (asked.request_uri, asked.request_domain, asked.from_domain) == ("sip:101@test.io", "test.io", "test.io")
    assert (asked.is_in_dialog, asked.body, asked.content_types) == (False, JSON.encode(), ("plain/x-media-control",))
    assert asked.authorization.startswith('Digest username="101"')
    assert (asked.source, asked.call_id) == ("127.0.0.1", "SFNH1yZ5c4LrG70_Tlyxgg..")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "source"),
    [
        ("", "198.51.100.9", "127.0.0.1"),
        ("127.0.0.0/8", "198.51.100.9", "198.51.100.9"),
        ("127.0.0.0/8", "203.0.113.1, 198.51.100.9", "198.51.100.9"),
        ("127.0.0.0/8", "junk", "127.0.0.1"),
        ("192.0.2.0/24", "198.51.100.9", "127.0.0.1"),
    ],
)
def test_only_an_edge_that_is_trusted_says_where_a_phone_is(
    phone: Phone, desk: Desk, settings: Any, trusted: str, forwarded: str, source: str
) -> None:
    settings.TRUSTED_PROXIES = [ip_network(trusted)] if trusted else []
    datagram = sample(branch=f"edge{abs(hash((trusted, forwarded)))}")
    phone.ask(datagram.replace(b"User-Agent: abcd", f"X-Forwarded-For: {forwarded}".encode()))
    assert [asked.source for asked in desk.asked] == [source]


def test_inside_a_dialog(phone: Phone, desk: Desk) -> None:
    assert first_line(phone.ask(sample("pause-audio-recording", to=IN_DIALOG, branch="two"))) == "SIP/2.0 200 OK"
    assert (desk.asked[0].is_in_dialog, desk.asked[0].body) == (True, b"pause-audio-recording")


@pytest.mark.parametrize(
    ("datagram", "code", "said"),
    [
        (sample(to="", length=21, branch="p1"), 400, "There must be one To header"),  # as printed
        (sample("pause-audio-recording", to="", branch="p2"), 400, "There must be one To header"),  # as printed
        (sample(length=21, branch="p3"), 400, "Content-Length says 21, the body has 72 bytes"),
        (sample(length=4000, branch="p4"), 400, "Content-Length says 4000, the body has 72 bytes"),
        (sample(branch="p5").replace(b"Content-Length: 72", b"Content-Length: x"), 400, "cannot be read"),
        (sample(branch="p6").replace(b"Max-Forwards: 70", b"To: <sip:a@b>"), 400, "There must be one To header"),
        (sample("x" * 9000, branch="p7"), 413, "At most 8000 bytes are taken"),
        (sample(branch="p8").replace(b"Max-Forwards: 70", b"X: 1\r\n" * 70 + b"X: 1"), 400, "At most 64 headers"),
        (sample(branch="p9").partition(b"\r\n\r\n")[0], 400, "The headers have no end"),
    ],
)
def test_what_is_no_sip_is_refused_in_words(phone: Phone, desk: Desk, datagram: bytes, code: int, said: str) -> None:
    reply = phone.ask(datagram)
    assert first_line(reply).startswith(f"SIP/2.0 {code} ")
    assert said in warning(reply)
    assert desk.asked == []


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\r\n\r\n",
        b"\0" * 100,
        b"junk!",
        b"\xff" * 1000,
        b"SIP/2.0 200 OK\r\n\r\n",
        sample().replace(b"Via", b"Vie"),
        sample().replace(b"MESSAGE", b"ACK"),
        sample().replace(b"abcd", b"\xff\xfe"),
    ],
)
def test_what_cannot_be_answered_harms_nothing(phone: Phone, desk: Desk, datagram: bytes) -> None:
    phone.send(datagram)
    assert first_line(phone.ask(sample(branch=f"after{len(datagram)}"))) == "SIP/2.0 200 OK"


def test_a_body_in_any_bytes_reaches_the_desk(phone: Phone, desk: Desk) -> None:
    datagram = sample("x" * 10, branch="bytes").replace(b"x" * 10, bytes(range(0xF0, 0xFA)))
    assert first_line(phone.ask(datagram)) == "SIP/2.0 200 OK"
    assert desk.asked[0].body == bytes(range(0xF0, 0xFA))


def test_folded_and_short_headers_are_read(phone: Phone, desk: Desk) -> None:
    datagram = sample(branch="fold").replace(b"Content-Type: plain", b"c:\r\n plain").replace(b"Call-ID:", b"i:")
    assert first_line(phone.ask(datagram)) == "SIP/2.0 200 OK"
    assert desk.asked[0].content_types == ("plain/x-media-control",)


def test_two_content_types_are_both_told(phone: Phone, desk: Desk) -> None:
    phone.ask(sample(branch="types").replace(b"User-Agent: abcd", b"Content-Type: text/plain"))
    assert desk.asked[0].content_types == ("plain/x-media-control", "text/plain")


def test_other_methods_are_not_allowed(phone: Phone, desk: Desk) -> None:
    invite = phone.ask(as_method("INVITE"))
    assert (first_line(invite), "Allow: MESSAGE, OPTIONS" in invite) == ("SIP/2.0 405 Method Not Allowed", True)
    assert first_line(phone.ask(as_method("OPTIONS"))) == "SIP/2.0 200 OK"
    assert desk.asked == []


def as_method(method: str) -> bytes:
    plain = sample(branch=method).replace(b"MESSAGE sip", f"{method} sip".encode())
    return plain.replace(b"3 MESSAGE", f"3 {method}".encode())


def test_a_retransmission_gets_the_same_answer_and_acts_once(phone: Phone, desk: Desk) -> None:
    desk.is_open.clear()
    datagram = sample(branch="again")
    for _ in range(3):
        phone.send(datagram)
    time.sleep(0.2)
    desk.is_open.set()
    first = phone.hear()
    phone.send(datagram)
    assert (phone.hear(), len(desk.asked)) == (first, 1)


@pytest.mark.parametrize("name", ["Proxy-Authenticate", "WWW-Authenticate"])
def test_a_challenge_a_warning_and_a_wait_are_sent_as_they_are(phone: Phone, desk: Desk, name: str) -> None:
    told = 'Digest realm="test.io", nonce="abc=", algorithm=MD5, qop="auth", stale=true'
    desk.reply = Reply(407, "Proxy Authentication Required", 'He said "no"', (name, told), retry_after=9)
    reply = phone.ask(sample(branch=name))
    assert f"{name}: {told}\r\n" in reply
    assert 'Warning: 399 voxledger "He said \\"no\\""\r\n' in reply
    assert "retry-after: 9\r\n" in reply.lower()


def test_a_desk_that_fails_is_a_500(phone: Phone, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(desk.is_open, "wait", fail)
    assert first_line(phone.ask(sample(branch="fail"))) == "SIP/2.0 500 Server Internal Error"


def test_more_than_can_wait_are_turned_away(phone: Phone, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.sip.listener.WAITING_MAX", 3)
    desk.is_open.clear()
    waiting = [sample(branch=f"queue{number}") for number in range(3)]
    for datagram in waiting:
        phone.send(datagram)
    until(lambda: len(desk.asked) == 3)
    busy = phone.ask(sample(branch="busy"))
    assert (first_line(busy), "Retry-After: 2" in busy) == ("SIP/2.0 503 Service Unavailable", True)
    phone.send(waiting[0])  # one that waits already is not turned away, it waits
    desk.is_open.set()
    assert [first_line(phone.hear()) for _ in range(3)] == ["SIP/2.0 200 OK"] * 3
    assert len(desk.asked) == 3


def test_answers_that_are_remembered_are_bounded(
    phone: Phone, desk: Desk, listening: tuple[Desk, int, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sample(branch="remembered")
    first = phone.ask(known)
    stack = listening[2]._transactions
    monkeypatch.setattr("pbx.sip.listener.REMEMBERED", len(stack.l1rcache) + len(stack.l2rcache))
    assert first_line(phone.ask(sample(branch="one too many"))) == "SIP/2.0 503 Service Unavailable"
    assert (phone.ask(known), len(desk.asked)) == (first, 1)


def test_64_kib_are_refused_in_words(phone: Phone, desk: Desk) -> None:
    reply = phone.ask(sample("x" * 64_000, branch="64k"))
    assert (first_line(reply), warning(reply)) == (
        "SIP/2.0 413 Request Entity Too Large", "At most 8000 bytes are taken",
    )  # fmt: skip
    assert desk.asked == []


def test_storm_of_a_thousand_a_second_is_answered_whole_and_each_acts_once(
    phone: Phone, desk: Desk, listening: tuple[Desk, int, Listener]
) -> None:
    """As phones do, whatever got no answer is sent again: a busy machine's sockets lose datagrams."""
    storm = {f"storm{number}": sample(branch=f"storm{number}") for number in range(2_000)}
    for name, datagram in storm.items():
        storm[name] = datagram.replace(b"SFNH1yZ5c4LrG70_Tlyxgg..", name.encode())
    answers: dict[str, str] = {}
    began = time.monotonic()
    while len(answers) < len(storm) and time.monotonic() - began < 4 * PATIENCE:
        for name in [name for name in storm if name not in answers]:
            phone.send(storm[name])
            keep(answers, phone.hear(0.001))
        while reply := phone.hear(0.5):
            keep(answers, reply)
    assert len(answers) == len(storm)
    assert set(answers.values()) <= {"SIP/2.0 200 OK", "SIP/2.0 503 Service Unavailable"}
    asked = Counter(message.call_id for message in desk.asked)
    assert {name for name, said in answers.items() if said.endswith("OK")} <= set(asked)
    assert set(asked.values()) == {1}
    assert first_line(phone.ask(sample(branch="after the storm"))) == "SIP/2.0 200 OK"


def keep(answers: dict[str, str], reply: str) -> None:
    if found := re.search(r"Call-ID: (\S+)", reply):
        answers.setdefault(found.group(1), first_line(reply))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
