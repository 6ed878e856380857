"""Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.body` under a `whsec_` secret."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """One `v1,...` per secret, parted by spaces: while a secret is rotated, the old and the new both sign."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1,"
        + base64.b64encode(hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256)).decode()
        for key in keys
    )


def verifies(given: str, keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> bool:
    """Whether one of the signatures given was made with one of the keys."""
    made = [signature([key], message_id, timestamp, body).encode() for key in keys]
    return any(hmac.compare_digest(one.encode(), own) for one in given.split(" ") for own in made)
