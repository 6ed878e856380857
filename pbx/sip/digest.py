"""Digest authentication of SIP requests (RFC 3261 section 22, RFC 2617): challenges, nonces, the proof of an answer.

MD5 with and without `qop=auth`, as phones of every age send it. Pure but for the nonces already used, which are
remembered as long as they could be replayed.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Literal

LIFETIME_SECONDS = 60.0
REMEMBERED = 100_000  # nonces in use at once; beyond it the oldest are refused as stale
PARAMETERS_MAX = 20
_STAMP, _RANDOM, _SEAL = 8, 8, 16  # bytes of a nonce
_PARAMETER = re.compile(
    r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;=]+))\s*(?:,|$)""", re.ASCII
)
_NC = re.compile(r"[0-9a-fA-F]{8}", re.ASCII)
_URI = re.compile(r"(sips?):(?:([^@;?]*)@)?([^;?@]+)", re.IGNORECASE)


class MalformedError(Exception):
    """The header is no Digest credentials as RFC 2617 section 3.2.2 writes them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    qop: Literal["", "auth"] = ""
    nc: str = ""
    cnonce: str = ""


class Proof(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    STALE = "stale"  # says nothing, be it right or not: the nonce is old, used, or was not given to that source


def parse(header: str) -> Credentials:
    """The value of an Authorization or Proxy-Authorization header."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest":
        raise MalformedError("The scheme must be Digest.")
    values = _parameters(rest)
    if values.get("algorithm", "MD5").upper() != "MD5":
        raise MalformedError("The algorithm must be MD5.")
    qop = values.get("qop", "").lower()
    if qop not in ("", "auth"):
        raise MalformedError("qop must be auth, or left out.")
    if missing := [name for name in ("username", "realm", "nonce", "uri", "response") if name not in values]:
        raise MalformedError(f"The parameter {missing[0]} is missing.")
    found = Credentials(
        username=values["username"],
        realm=values["realm"],
        nonce=values["nonce"],
        uri=values["uri"],
        response=values["response"],
        qop="auth" if qop else "",
        nc=values.get("nc", ""),
        cnonce=values.get("cnonce", ""),
    )
    if found.qop and not (_NC.fullmatch(found.nc) and found.cnonce):
        raise MalformedError("With qop there must be an nc of eight hexadecimal digits and a cnonce.")
    return found


def challenge(realm: str, nonce: str, *, stale: bool = False) -> str:
    """The value of a WWW-Authenticate or Proxy-Authenticate header; `realm` is one of our SIP domains."""
    return f'Digest realm="{realm}", nonce="{nonce}", algorithm=MD5, qop="auth"{", stale=true" if stale else ""}'


def response_to(ha1: str, method: str, credentials: Credentials) -> str:
    """The answer that who knows HA1 would give (RFC 2617 section 3.2.2.1)."""
    ha2 = _md5(f"{method}:{credentials.uri}")
    if not credentials.qop:
        return _md5(f"{ha1}:{credentials.nonce}:{ha2}")
    return _md5(f"{ha1}:{credentials.nonce}:{credentials.nc}:{credentials.cnonce}:{credentials.qop}:{ha2}")


def means(uri: str, request_uri: str) -> bool:
    """Whether the digest's uri is the request's; parameters and the case of the host may differ (RFC 3261, 22.4)."""
    one, other = _URI.match(uri), _URI.match(request_uri)
    if one is None or other is None:
        return False
    return _plain(one) == _plain(other)


class Nonces:
    """Made and recognised by their seal, so that only used ones are kept; `now` is a clock in seconds.

    A nonce is good for the source it was sent to: nobody can answer, or answer wrongly, in the name of an address
    at which he does not receive.
    """

    def __init__(self, key: bytes, lifetime: float = LIFETIME_SECONDS) -> None:
        self._key, self._lifetime = key, lifetime
        self._used: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when it expires, the highest nc
        self._forgotten = float("-inf")  # what expires by then may have been used: nobody remembers

    def new(self, source: str, now: float) -> str:
        body = int(now * 1000).to_bytes(_STAMP, "big") + secrets.token_bytes(_RANDOM)
        return urlsafe_b64encode(body + self._seal(body, source)).decode()

    def prove(self, credentials: Credentials, ha1: str, method: str, *, source: str, now: float) -> Proof:
        """Whether the credentials are right, under a fresh nonce of that source. Uses the nonce up when they are.

        Under any other nonce the response is not even looked at, so that nobody learns by it whether a guess is right.
        """
        made = self._made_at(credentials.nonce, source)
        if made is None or not 0 <= now - made <= self._lifetime:
            return Proof.STALE
        expected = response_to(ha1, method, credentials)
        if not hmac.compare_digest(expected.encode(), credentials.response.lower().encode(errors="replace")):
            return Proof.WRONG
        return Proof.RIGHT if self._use(credentials, made + self._lifetime, now) else Proof.STALE

    def _use(self, credentials: Credentials, expires: float, now: float) -> bool:
        """Without qop a nonce is good for one request; with it for each nc once, in growing order."""
        while self._used and (len(self._used) > REMEMBERED or next(iter(self._used.values()))[0] < now):
            _, (ended, _) = self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, ended)
        count = int(credentials.nc, 16) if credentials.qop else 1 << 32
        if expires <= self._forgotten and credentials.nonce not in self._used:
            return False
        if count <= self._used.get(credentials.nonce, (0.0, 0))[1]:
            return False
        self._used[credentials.nonce] = (expires, count)
        return True

    def _made_at(self, nonce: str, source: str) -> float | None:
        try:
            raw = urlsafe_b64decode(nonce.encode("ascii"))
        except (Base64Error, ValueError):
            return None
        body, seal = raw[:-_SEAL], raw[-_SEAL:]
        if len(body) != _STAMP + _RANDOM or not hmac.compare_digest(seal, self._seal(body, source)):
            return None
        return int.from_bytes(body[:_STAMP], "big") / 1000

    def _seal(self, body: bytes, source: str) -> bytes:
        return hmac.digest(self._key, body + source.encode(), "sha256")[:_SEAL]


def _parameters(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    place = 0
    while place < len(text):
        found = _PARAMETER.match(text, place)
        if found is None or len(values) >= PARAMETERS_MAX:
            raise MalformedError("The parameters cannot be read.")
        name, quoted, token = found.groups()
        if name.lower() in values:
            raise MalformedError(f"The parameter {name} stands twice.")
        values[name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        place = found.end()
    return values


def _plain(uri: re.Match[str]) -> tuple[str, str, str]:
    scheme, user, host = uri.groups()
    return scheme.lower(), user or "", host.strip().lower()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
