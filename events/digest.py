"""Digest authentication of HTTP (RFC 7616): MD5 and SHA-256, with qop=auth or without qop."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_PARAMETER = re.compile(r'\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCHEME = re.compile(r"(?:^|,)\s*Digest\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Challenge:
    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: str = ""  # auth, or empty for the older form
    opaque: str = ""


def strongest_challenge(headers: Sequence[str]) -> Challenge | None:
    """Of the WWW-Authenticate headers of an answer, the best Digest challenge that can be met."""
    found = [challenge for header in headers for part in _SCHEME.split(header)[1:] if (challenge := _read(part))]
    return max(found, key=lambda challenge: challenge.algorithm == "SHA-256", default=None)


def _read(text: str) -> Challenge | None:
    values: dict[str, str] = {}
    position = 0
    while match := _PARAMETER.match(text, position):
        values[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        position = match.end()
    algorithm = values.get("algorithm", "MD5").upper()
    offered = {word.strip().lower() for word in values.get("qop", "").split(",") if word.strip()}
    if (
        "realm" not in values
        or "nonce" not in values
        or algorithm not in _HASHES
        or (offered and "auth" not in offered)
    ):
        return None
    return Challenge(values["realm"], values["nonce"], algorithm, "auth" if offered else "", values.get("opaque", ""))


def authorization(challenge: Challenge, *, method: str, uri: str, username: str, password: str, cnonce: str) -> str:
    """The Authorization header that answers a challenge for the first time (nc=00000001)."""

    def hashed(text: str) -> str:
        return _HASHES[challenge.algorithm](text.encode()).hexdigest()

    ha1 = hashed(f"{username}:{challenge.realm}:{password}")
    ha2 = hashed(f"{method}:{uri}")
    fields = {
        "username": _quoted(username), "realm": _quoted(challenge.realm), "nonce": _quoted(challenge.nonce),
        "uri": _quoted(uri), "algorithm": challenge.algorithm,
    }  # fmt: skip
    if challenge.qop:
        response = hashed(f"{ha1}:{challenge.nonce}:00000001:{cnonce}:auth:{ha2}")
        fields |= {"qop": "auth", "nc": "00000001", "cnonce": _quoted(cnonce)}
    else:
        response = hashed(f"{ha1}:{challenge.nonce}:{ha2}")
    fields["response"] = _quoted(response)
    if challenge.opaque:
        fields["opaque"] = _quoted(challenge.opaque)
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
