"""The keys of recordings: a data key for each file, wrapped by its tenant's key, which the installation's key wraps.

A wrapped data key is bound to the place its file is stored under. Without the tenant's key, or the installation's,
there is no way to it: whoever deletes a key deletes what it opened.
"""

import base64
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from recordings.errors import KeyGoneError
from recordings.models import TenantKey
from recordings.sealing import KEY_BYTES, SALT_BYTES, DataKey
from tenants import crypto

_FORM = b"\x01"
_NONCE_BYTES = 12


def new_data_key() -> DataKey:
    return DataKey(key=secrets.token_bytes(KEY_BYTES), salt=secrets.token_bytes(SALT_BYTES))


def wrap(data_key: DataKey, storage_key: str) -> bytes:
    """By the newest key of the tenant whose schema this is; the first file of a tenant makes it."""
    row = TenantKey.objects.order_by("-id").first() or _make_tenant_key()
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_opened(row)).encrypt(nonce, data_key.key + data_key.salt, storage_key.encode())
    return _FORM + row.pk.to_bytes(8, "big") + nonce + sealed


def unwrap(wrapped: bytes, storage_key: str) -> DataKey:
    row = TenantKey.objects.filter(pk=int.from_bytes(wrapped[1:9], "big")).first()
    if row is None or wrapped[:1] != _FORM:
        raise KeyGoneError
    nonce, sealed = wrapped[9 : 9 + _NONCE_BYTES], wrapped[9 + _NONCE_BYTES :]
    try:
        opened = AESGCM(_opened(row)).decrypt(nonce, sealed, storage_key.encode())
    except InvalidTag as error:
        raise KeyGoneError from error
    return DataKey(key=opened[:KEY_BYTES], salt=opened[KEY_BYTES:])


def rotate() -> int:
    """Wraps the keys of the tenant whose schema this is anew, by the installation's newest key; says how many."""
    rows = list(TenantKey.objects.order_by("id"))
    for row in rows:
        row.wrapped = _rewrapped(row)
        row.save(update_fields=["wrapped"])
    return len(rows)


def _make_tenant_key() -> TenantKey:
    return TenantKey.objects.create(wrapped=crypto.encrypt(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()))


def _opened(row: TenantKey) -> bytes:
    try:
        return base64.b64decode(crypto.decrypt(row.wrapped))
    except crypto.SecretUnreadableError as error:
        raise KeyGoneError from error


def _rewrapped(row: TenantKey) -> str:
    try:
        return crypto.rotate(row.wrapped)
    except crypto.SecretUnreadableError as error:
        raise KeyGoneError from error
