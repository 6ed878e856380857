"""Secrets at rest: encrypted where they must be read again, hashed where they must only be recognised."""

import base64
import hashlib
import secrets
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class SecretUnreadableError(Exception):
    """A stored secret was written under a key this installation no longer has."""


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    derived = (
        HKDF(algorithm=hashes.SHA256(), length=32, salt=b"voxledger", info=b"secrets at rest").derive(key.encode())
        for key in keys
    )
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


def _keys() -> tuple[str, ...]:
    return tuple(settings.ENCRYPTION_KEYS or [settings.SECRET_KEY])


def _current_box() -> MultiFernet:
    return _box(_keys())


def encrypt(secret: str) -> str:
    return _current_box().encrypt(secret.encode()).decode() if secret else ""


def decrypt(stored: str) -> str:
    if not stored:
        return ""
    try:
        return _current_box().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadableError("The stored secret cannot be read with the keys of this installation.") from error


def rotate(stored: str) -> str:
    """The same secret, encrypted by the newest key."""
    try:
        return _current_box().rotate(stored.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadableError("The stored secret cannot be read with the keys of this installation.") from error


def is_newest(stored: str) -> bool:
    """Whether the newest key alone opens it."""
    try:
        _box(_keys()[:1]).decrypt(stored.encode())
    except InvalidToken:
        return False
    return True


def new_token(prefix: str) -> str:
    """A bearer token of 256 random bits; the prefix tells a finder what it opens."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    """A plain hash is enough for 256 random bits; it lets the database find the row."""
    return hashlib.sha256(token.encode()).hexdigest()
