"""Outgoing HTTP against a real receiver: what goes out, what comes back, and where it may not go."""

import asyncio
import contextlib
import hashlib
import re
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django import Settings

from events import outgoing
from events.outgoing import Answer, Credentials, RefusedUrlError, Sender, check_destination, check_url
from tests.events.receiver import receiver

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


def post(url: str, body: bytes = b"{}", credentials: Credentials | None = None, times: int = 1) -> Answer:
    async def run() -> Answer:
        async with Sender() as sender:
            for _ in range(times):
                answer = await sender.post(url, body, {"webhook-id": "1"}, credentials or Credentials())
            return answer

    return asyncio.run(run())


@pytest.fixture
def loopback(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = LOOPBACK


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", "url_scheme"),
        ("file:///etc/passwd", "url_scheme"),
        ("example.com/hook", "url_scheme"),
        ("", "url_scheme"),
        ("javascript:alert(1)", "url_scheme"),
        ("http://", "url_malformed"),
        ("http:///path", "url_malformed"),
        ("http://example.com:99999/", "url_malformed"),
        ("http://example.com:0/", "url_malformed"),
        ("http://exa mple.com/", "url_malformed"),
        ("http://example.com\\@127.0.0.1/", "url_malformed"),
        ("http://example.com/\r\nHost: x", "url_malformed"),
        ("http://[::1/", "url_malformed"),
        ("http://user:secret@example.com/", "url_userinfo"),
        ("http://user@example.com/", "url_userinfo"),
        ("https://example.com/" + "x" * 2000, "url_too_long"),
    ],
)
def test_url_is_refused_for_its_text(url: str, code: str) -> None:
    with pytest.raises(RefusedUrlError) as refused:
        check_url(url)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://localhost/",
        "http://[::1]:8000/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.5/",
        "http://0/",
    ],
)
def test_inner_destination_is_refused_before_and_at_the_attempt(url: str) -> None:
    with pytest.raises(RefusedUrlError) as refused:
        check_destination(url)
    assert refused.value.code == "url_inner_address"
    answer = post(url)
    assert answer.status is None
    assert "inner address" in answer.reason or "Not sent" in answer.reason or "name has no address" in answer.reason


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://[fe80::1%25eth0]/", "url_inner_address"),
        ("http://[fe80::1%eth0]/", "url_inner_address"),
        ("http://[fe80::1]/", "url_inner_address"),
        ("http://[2606:2800::1%25eth0]/", "url_inner_address"),
        ("http://[::ffff:7f00:1]/", "url_inner_address"),
        ("http://[::ffff:0:7f00:1]/", "url_inner_address"),
        ("http://[::127.0.0.1]/", "url_inner_address"),
        ("http://[64:ff9b::10.0.0.1]/", "url_inner_address"),
        ("http://[64:ff9b:1::1]/", "url_inner_address"),
        ("http://[2002:7f00:1::]/", "url_inner_address"),
        ("http://[2001:0:7f00:1::]/", "url_inner_address"),
        ("http://[fd00::1]/", "url_inner_address"),
        ("http://[::]/", "url_inner_address"),
        ("http://0177.0.0.1/", "url_inner_address"),
        ("http://0300.0250.0.1/", "url_inner_address"),
        ("http://0x7f000001/", "url_inner_address"),
        ("http://0xA9.0xFE.0xA9.0xFE/", "url_inner_address"),
        ("http://100.64.0.1/", "url_inner_address"),
        ("http://\uff11\uff12\uff17.0.0.1/", "url_inner_address"),
        ("http://127\u30020\u30020\u30021/", "url_inner_address"),
        ("http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", "url_inner_address"),
        ("http://localhost./", "url_inner_address"),
        ("http://127.0.0.1./", "url_malformed"),
        ("http://2130706433./", "url_malformed"),
        ("http://4294967296/", "url_malformed"),
        ("http://256.256.256.256/", "url_malformed"),
        ("http://1.2.3.4.5/", "url_malformed"),
        ("http://%31%32%37.0.0.1/", "url_malformed"),
        ("http://127.0.0.1%00.example.com/", "url_malformed"),
        ("http://example..com/", "url_malformed"),
        ("http://[v1.fe80::a]/", "url_malformed"),
        ("http:127.0.0.1/", "url_malformed"),
        ("http://@127.0.0.1/", "url_userinfo"),
        ("http://example.com@127.0.0.1/", "url_userinfo"),
        ("http://127.0.0.1#@example.com/", "url_inner_address"),
    ],
)
def test_literal_address_is_judged_by_itself(url: str, code: str) -> None:
    with pytest.raises(RefusedUrlError) as refused:
        check_destination(url)
    assert refused.value.code == code
    assert post(url).status is None


def test_name_is_refused_when_one_of_its_addresses_is_inner(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_faced(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two_faced)
    assert post("http://crm.example/").reason == (
        "crm.example (127.0.0.1) is an inner address, which may not be called from here."
    )


def test_each_attempt_checks_the_name_again(monkeypatch: pytest.MonkeyPatch, loopback: None) -> None:
    """A name that first leads to an allowed address and later to an inner one, on a connection that was kept."""
    monkeypatch.setattr(outgoing, "_MEMO_SECONDS", 0.0)
    led_to: list[str] = []
    with receiver() as there:

        def rebinding(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            led_to.append("127.0.0.1" if len(led_to) < 2 else "10.0.0.1")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (led_to[-1], port))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        first = post(f"http://rebind.example:{there.port}/")
        second = post(f"http://rebind.example:{there.port}/")
    assert (first.status, second.status) == (200, None)
    assert second.reason == "rebind.example (10.0.0.1) is an inner address, which may not be called from here."
    assert len(there.got) == 1


def test_a_name_server_that_does_not_answer_holds_one_thread(monkeypatch: pytest.MonkeyPatch, loopback: None) -> None:
    asked: list[str] = []
    silence_ends = threading.Event()

    def answer_late(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        if host == "silent.example":
            silence_ends.wait(120)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def run(port: int) -> Answer:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        async with Sender() as sender:
            stuck = [
                asyncio.create_task(sender.post("http://silent.example/", b"", {}, Credentials())) for _ in range(8)
            ]
            await asyncio.sleep(0.1)
            abandoned = stuck.pop()
            abandoned.cancel()  # the others go on waiting for the answer it asked for
            try:
                other = sender.post(f"http://other.example:{port}/", b"", {}, Credentials())
                return await asyncio.wait_for(other, 60)
            finally:
                silence_ends.set()
                ended.extend(await asyncio.gather(*stuck))

    ended: list[Answer] = []
    with receiver() as there:
        monkeypatch.setattr(socket, "getaddrinfo", answer_late)
        answer = asyncio.run(run(there.port))
    assert answer.status == 200
    assert [one.reason for one in ended] == ["The name has no address"] * 7
    assert asked.count("silent.example") == 1


def test_request_arrives_as_given_and_inner_answers_are_not_shown(loopback: None) -> None:
    with receiver() as there:
        answer = post(there.url, b'{"a":"\xc3\xbc"}')
    (got,) = there.got
    assert (got.path, got.body) == ("/hook?x=1", b'{"a":"\xc3\xbc"}')
    assert got.headers["webhook-id"] == "1"
    assert (answer.status, answer.reason, answer.body, answer.headers) == (200, "200 OK", "", {})


def test_public_answer_is_kept_to_a_kilobyte(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "is_public", lambda _address: True)

    async def long(_request: web.Request, _body: bytes) -> web.Response:
        return web.Response(body=b"\x00\xff" + b"x" * 100_000, headers={"X-Said": "hello"}, status=500)

    with receiver(long) as there:
        answer = post(there.url)
    assert answer.status == 500
    assert answer.body == "\N{REPLACEMENT CHARACTER}" * 2 + "x" * 1022
    assert answer.headers["X-Said"] == "hello"


def test_redirect_is_not_followed(loopback: None) -> None:
    async def redirect(request: web.Request, _body: bytes) -> web.Response:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    with receiver(redirect) as there:
        answer = post(there.url)
    assert (answer.status, [got.path for got in there.got]) == (307, ["/hook?x=1"])


def test_environment_proxy_is_not_used(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    with receiver() as there:
        assert post(there.url).status == 200


def test_basic_and_bearer(loopback: None) -> None:
    with receiver() as there:
        basic = post(there.url, credentials=Credentials("basic", "anna", "pässword"))
        bearer = post(there.url, credentials=Credentials("bearer", token="tok-3f9a"))
        plain = post(there.url)
    assert [got.headers.get("authorization") for got in there.got] == [
        "Basic YW5uYTpww6Rzc3dvcmQ=", "Bearer tok-3f9a", None,
    ]  # fmt: skip
    assert basic.request_headers["Authorization"] == "Basic ••••"
    assert bearer.request_headers["Authorization"] == "Bearer ••••"
    assert "Authorization" not in plain.request_headers


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("qop", ["auth", ""])
def test_digest_challenge_is_part_of_the_attempt(loopback: None, algorithm: str, qop: str) -> None:
    hashed = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm]

    def h(text: str) -> str:
        return hashed(text.encode()).hexdigest()

    async def challenge(request: web.Request, _body: bytes) -> web.Response:
        sent = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("Authorization", "")))
        if not sent:
            offer = f'Digest realm="crm", nonce="n1", algorithm={algorithm}' + (f', qop="{qop}"' if qop else "")
            return web.Response(status=401, headers={"WWW-Authenticate": offer})
        middle = f"n1:{sent['nc']}:{sent['cnonce']}:auth" if qop else "n1"
        expected = h(f"{h('anna:crm:secret1')}:{middle}:{h('POST:/hook?x=1')}")
        return web.Response(status=200 if sent["response"] == expected else 403)

    with receiver(challenge) as there:
        answer = post(there.url, b'{"a":1}', Credentials("digest", "anna", "secret1"))
        wrong = post(there.url, b'{"a":1}', Credentials("digest", "anna", "secret2"))
    assert (answer.status, wrong.status) == (200, 403)
    assert [got.body for got in there.got] == [b'{"a":1}'] * 4
    assert answer.request_headers["Authorization"] == "Digest ••••"


def test_slow_answer_is_cut_off(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "ATTEMPT_SECONDS", 0.2)

    async def slow(_request: web.Request, _body: bytes) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    with receiver(slow) as there:
        answer = post(there.url)
    assert (answer.status, answer.reason) == (None, "No answer within 0.2 s")


def test_nobody_there(loopback: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = post(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert answer.status is None
    assert answer.reason.startswith("No connection: ")


def test_no_http_is_a_failure_in_words(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            peer, _ = server.accept()
            peer.recv(65536)
            peer.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            peer.close()

        threading.Thread(target=talk, daemon=True).start()
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}/")
    assert (answer.status, answer.reason) == (None, "The answer is not HTTP")


def test_connection_is_kept_between_attempts(loopback: None) -> None:
    peers: set[Any] = set()

    async def note(request: web.Request, _body: bytes) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="ok")

    with receiver(note) as there:
        assert post(there.url, times=5).status == 200
    assert (len(there.got), len(peers)) == (5, 1)


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def test_certificate_nobody_vouches_for_is_refused(loopback: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake_hands() -> None:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                self_signed(tmp_path).wrap_socket(peer, server_side=True).recv(65536)

        talking = threading.Thread(target=shake_hands)
        talking.start()
        answer = post(f"https://127.0.0.1:{server.getsockname()[1]}/")
        talking.join()
    assert answer.status is None
    assert answer.reason.startswith("The certificate is not trusted: ")
