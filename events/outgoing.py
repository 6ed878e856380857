"""Outgoing HTTP to addresses that tenants type: resolved, checked, pinned, without redirects, under a deadline.

`post` is the only way out. The address is checked on each attempt, and the connection goes to the addresses checked.
"""

import asyncio
import base64
import os
import re
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings
from yarl import URL

from events import digest
from events.addresses import is_public, may_reach

CONNECT_SECONDS = 5.0
ATTEMPT_SECONDS = 15.0
RESPONSE_BYTES = 1024
URL_LENGTH = 2000
# Kept shorter than the usual servers keep theirs: a POST on a connection the other side just closed is a failure.
_KEEPALIVE_SECONDS = 4.0
_MEMO_SECONDS = 1.0  # a burst to one name asks the resolver once
_HEADERS_KEPT = 20
_HEADER_LENGTH = 200
_HIDDEN = "••••"
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)


class RefusedUrlError(Exception):
    """A URL that may not be called: `code` is stable, the message a sentence for the person who typed it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Credentials:
    """How a request proves itself; the secrets are in clear here and nowhere else."""

    method: Literal["disable", "basic", "digest", "bearer"] = "disable"
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Inside:
    """The portal's own door, reached at the address where its web server listens (`host:port`, the operator's word).

    The host and the scheme of the URL go along as headers, as a proxy in front of the web server would send them.
    """

    address: str
    scheme: str

    async def target(self, url: URL) -> URL:
        parts = urlsplit(f"//{self.address}")
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        # A literal address: the connector asks its resolver, which would refuse it, about names alone.
        host = str(found[0][4][0])
        return URL.build(scheme="http", host=host, port=parts.port, path=url.raw_path, encoded=True)

    def headers(self, url: URL) -> dict[str, str]:
        return {"Host": url.raw_authority, "X-Forwarded-Proto": self.scheme}


@dataclass(frozen=True)
class Answer:
    """What came of one attempt. `status` is None when no answer came, and `reason` says why in words."""

    status: int | None
    reason: str
    latency_ms: int
    retry_after: str = ""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


def check_url(url: str) -> SplitResult:
    """What the text alone tells; where the name leads is `check_destination`'s matter."""
    if len(url) > URL_LENGTH:
        raise RefusedUrlError("url_too_long", f"The address is longer than {URL_LENGTH} characters.")
    if not url.isprintable() or " " in url or "\\" in url:
        raise RefusedUrlError("url_malformed", "The address holds a space, a backslash or a control character.")
    try:
        parts = urlsplit(url)
        port = parts.port
        target = URL(url)
    except ValueError as error:
        raise RefusedUrlError("url_malformed", "The address cannot be read.") from error
    if parts.scheme not in {"http", "https"}:
        raise RefusedUrlError("url_scheme", "Start the address with https:// or http://.")
    if not parts.hostname or port == 0 or target.raw_host is None:
        raise RefusedUrlError("url_malformed", "The address names no host, or a port that is none.")
    if "@" in parts.netloc:
        raise RefusedUrlError("url_userinfo", "Leave user name and password out of the address and set them below it.")
    _check_host(target.raw_host)
    return parts


def _check_host(host: str) -> None:
    """What looks like a literal address must be one: whether it leads anywhere must not depend on who reads it."""
    if ":" in host:
        try:
            ip_address(host)
        except ValueError as error:
            raise RefusedUrlError("url_malformed", "What stands in brackets is no IPv6 address.") from error
        return
    last_label = host.rstrip(".").rpartition(".")[2]
    if _NUMBER.fullmatch(last_label):
        if host.endswith("."):
            raise RefusedUrlError("url_malformed", "Write the IPv4 address without a dot at its end.")
        try:
            socket.inet_aton(host)
        except OSError as error:
            raise RefusedUrlError("url_malformed", "The host is a number, and no IPv4 address.") from error
    if "%" in host or ".." in host or host.startswith("."):
        raise RefusedUrlError("url_malformed", "This is not the name of a host.")


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: where credentials that go along with a request end up."""
    target = URL(url)
    return target.scheme, (target.raw_host or "").lower().rstrip("."), target.port


def check_destination(url: str) -> None:
    """Refuses what the tenant may not reach. A name without an address yet is no refusal: each attempt checks again."""
    parts = check_url(url)
    host = str(URL(url).raw_host)
    if ":" in host:  # a literal; the resolver knows no zone that this machine does not have
        _check_addresses(host, [host])
        return
    if host.lower().rstrip(".") == "localhost":  # whatever the resolver says (RFC 6761)
        _check_addresses(host, ["127.0.0.1"])
        return
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    _check_addresses(str(parts.hostname), [str(entry[4][0]) for entry in found])


def _check_addresses(host: str, addresses: list[str]) -> None:
    refused = [address for address in addresses if not may_reach(address, settings.WEBHOOK_ALLOWED_NETWORKS)]
    if refused:
        where = host if host == refused[0] else f"{host} ({refused[0]})"
        raise RefusedUrlError("url_inner_address", f"{where} is an inner address, which may not be called from here.")


class CheckedResolver(AbstractResolver):
    """The connector's resolver: what it hands out was checked, and the connector connects to nothing else."""

    def __init__(self) -> None:
        self._memo: dict[tuple[str, int], tuple[float, list[ResolveResult]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        known = self._memo.get((host, port))
        if known and known[0] > time.monotonic():
            return known[1]
        found = await self._found(host, port)
        _check_addresses(host, [str(entry[4][0]) for entry in found])
        results: list[ResolveResult] = [
            {"hostname": host, "host": str(address[0]), "port": port, "family": kind, "proto": proto,
             "flags": socket.AI_NUMERICHOST}
            for kind, _type, proto, _name, address in found
        ]  # fmt: skip
        if len(self._memo) > 1000:
            self._memo.clear()
        self._memo[host, port] = time.monotonic() + _MEMO_SECONDS, results
        return results

    async def _found(self, host: str, port: int) -> list[Any]:
        """Who asks for a name that is being asked for waits for that answer: a name server that does not answer holds
        one thread, however many attempts give up on it meanwhile."""
        key = host, port
        if key not in self._asking:
            asking = asyncio.create_task(asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
            asking.add_done_callback(_look_at_error)
        return await asyncio.shield(self._asking[key])

    async def close(self) -> None:
        self._memo.clear()


def _look_at_error(asking: "asyncio.Task[list[Any]]") -> None:
    """Nobody may be left to see it; asyncio complains of errors that nobody saw."""
    if not asking.cancelled():
        asking.exception()


class Sender:
    """The kept connections of one event loop. Use it as an async context manager."""

    def __init__(self) -> None:
        self._resolver = CheckedResolver()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Sender":
        reused = aiohttp.TraceConfig()
        reused.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, limit=0, keepalive_timeout=_KEEPALIVE_SECONDS
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=4 * RESPONSE_BYTES,
            trace_configs=[reused],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        credentials: Credentials,
        *,
        inside: Inside | None = None,
    ) -> Answer:
        """One attempt, the digest's challenge included. The world's failures come back as an Answer, never raised.

        `inside` is for a URL that the portal recognised as its own: it alone passes the check of addresses by.
        """
        started = time.perf_counter()
        request = _Request(url, body, {**headers, "Accept-Encoding": "identity"}, credentials, inside)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._attempt(request, started)
        except RefusedUrlError as error:
            reason = error.message
        except TimeoutError as error:
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            reason = (
                f"No connection within {CONNECT_SECONDS:g} s"
                if connecting
                else f"No answer within {ATTEMPT_SECONDS:g} s"
            )
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError) as error:
            reason = _words(error)
        return Answer(None, _storable(reason)[:300], _ms_since(started), request_headers=request.shown())

    async def _attempt(self, request: "_Request", started: float) -> Answer:
        parts = check_url(request.url)
        target = URL(request.url)
        if request.inside is None:
            public = await self._check(str(target.raw_host), target.port or (443 if parts.scheme == "https" else 80))
        else:
            public, target = False, await request.inside.target(target)
        response = await self._send(request, target, request.first_authorization())
        if response.status == 401 and request.credentials.method == "digest":
            challenge = digest.strongest_challenge(response.headers.getall("WWW-Authenticate", []))
            if challenge is not None:
                await _first_kilobyte(response)
                response = await self._send(
                    request, target, request.digest_authorization(challenge, target.raw_path_qs)
                )
        latency_ms = _ms_since(started)
        received = await _first_kilobyte(response)
        return Answer(
            status=response.status,
            reason=_storable(f"{response.status} {response.reason or ''}").strip()[:300],
            latency_ms=latency_ms,
            retry_after=response.headers.get("Retry-After", ""),
            request_headers=request.shown(),
            headers=_headers_kept(response.headers) if public else {},
            body=received.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}") if public else "",
        )

    async def _check(self, host: str, port: int) -> bool:
        """Refuses inner addresses, also those the connector asks no resolver about; True when all are public."""
        try:
            ip_address(host)
        except ValueError:
            addresses = [entry["host"] for entry in await self._resolver.resolve(host, port)]
        else:
            _check_addresses(host, [host])
            addresses = [host]
        return all(is_public(ip_address(address)) for address in addresses)

    async def _send(self, request: "_Request", target: URL, authorization: str) -> aiohttp.ClientResponse:
        assert self._session is not None  # noqa: S101 - entered by `async with`
        request.sent = {**request.headers, **({"Authorization": authorization} if authorization else {})}
        connection = SimpleNamespace(reused=False)
        for last_try in (False, True):
            try:
                return await self._session.post(
                    target,
                    data=request.body,
                    headers={**request.sent, **request.forwarded()},
                    allow_redirects=False,
                    trace_request_ctx=connection,
                )
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # The other side closed a kept connection in the same moment: once more on a new one.
                if last_try or not connection.reused:
                    raise
        raise AssertionError("unreachable")


@dataclass
class _Request:
    url: str
    body: bytes
    headers: Mapping[str, str]
    credentials: Credentials
    inside: Inside | None = None
    sent: Mapping[str, str] = field(default_factory=dict)

    def forwarded(self) -> dict[str, str]:
        return self.inside.headers(URL(self.url)) if self.inside else {}

    def first_authorization(self) -> str:
        match self.credentials.method:
            case "basic":
                pair = f"{self.credentials.username}:{self.credentials.password}"
                return "Basic " + base64.b64encode(pair.encode()).decode()
            case "bearer":
                return f"Bearer {self.credentials.token}"
            case _:
                return ""

    def digest_authorization(self, challenge: digest.Challenge, uri: str) -> str:
        return digest.authorization(
            challenge, method="POST", uri=uri, username=self.credentials.username,
            password=self.credentials.password, cnonce=secrets.token_hex(8),
        )  # fmt: skip

    def shown(self) -> dict[str, str]:
        """The headers as sent, for the log of deliveries, without the credentials."""
        return {
            name: f"{value.split(' ', 1)[0]} {_HIDDEN}" if name == "Authorization" else value
            for name, value in (self.sent or self.headers).items()
        }


async def _note_reuse(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    context.trace_request_ctx.reused = True


async def _first_kilobyte(response: aiohttp.ClientResponse) -> bytes:
    """Reads that much and no more; the status stands, whatever becomes of the rest of the answer."""
    received = b""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            while len(received) < RESPONSE_BYTES:
                chunk = await response.content.read(RESPONSE_BYTES - len(received))
                if not chunk:
                    break
                received += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()
    if response.content.at_eof():
        response.release()
    else:
        response.close()
    return received


def _storable(text: str) -> str:
    """What a receiver said, whatever bytes it chose, in characters that the database takes."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _headers_kept(headers: Mapping[str, str]) -> dict[str, str]:
    shown = list(headers.items())[:_HEADERS_KEPT]
    return {_storable(name[:_HEADER_LENGTH]): _storable(value[:_HEADER_LENGTH]) for name, value in shown}


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)


def _words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"The certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError() | socket.gaierror():
            return "The name has no address"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "No secure connection could be made"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            return f"No connection: {os.strerror(number).lower() if number and number > 0 else 'refused'}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return "The receiver closed the connection without an answer"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "The answer is not HTTP"
        case _:
            return f"Not sent: {type(error).__name__}"
