"""The keys of recordings: a data key for each file, wrapped by its tenant's key, which the installation's key wraps.

A wrapped data key is bound to the place its file is stored under. Without the tenant's key, or the installation's,
there is no way to it: whoever deletes a key deletes what it opened.
"""

import base64
import os
import secrets
from datetime import datetime, timedelta
from functools import reduce
from itertools import pairwise
from operator import or_

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import transaction
from django.db.models import Q

from recordings.errors import KeyGoneError
from recordings.models import Bulk, RecordingFile, TenantKey
from recordings.sealing import KEY_BYTES, SALT_BYTES, DataKey
from tenants import crypto
from tenants.changes import Actor, announce

OVERLAP = timedelta(days=1)  # a file that began to come under a former key is in the books by then
_WRAPPED = (RecordingFile, Bulk)
_FORM = b"\x01"
_NONCE_BYTES = 12

log = structlog.get_logger(__name__)


def new_data_key() -> DataKey:
    return DataKey(key=secrets.token_bytes(KEY_BYTES), salt=secrets.token_bytes(SALT_BYTES))


def wrap(data_key: DataKey, storage_key: str) -> bytes:
    """By the newest key of the tenant whose schema this is; the first file of a tenant makes one."""
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


def renew(actor: Actor) -> TenantKey:
    """A new key for the tenant whose schema this is: files that come are wrapped by it, those that are there follow."""
    with transaction.atomic():
        row = _make_tenant_key()
        announce(actor, "recording_key.renewed", subject="Key of the recordings", subject_id=row.pk)
    return row


def rewrap(limit: int) -> int:
    """Wraps data keys that a former key wraps by the newest one, at most so many; says how many. The files themselves
    are not touched. Harmless at any time; what cannot be opened stays as it is."""
    former = _former_keys()
    if not former:
        return 0
    by_former = reduce(or_, map(_wrapped_by, former))
    done = 0
    for model in _WRAPPED:
        rows = model._default_manager.filter(by_former).order_by("pk")
        for pk, wrapped, storage_key in rows.values_list("pk", "wrapped_key", "storage_key").iterator():
            if done == limit:
                return done
            try:
                again = wrap(unwrap(bytes(wrapped), storage_key), storage_key)
            except KeyGoneError:
                log.error("data key not wrapped anew", storage_key=storage_key)
                continue
            done += model._default_manager.filter(pk=pk, wrapped_key=bytes(wrapped)).update(wrapped_key=again)
    return done


def drop_former(now: datetime) -> int:
    """Deletes keys that another one followed so long ago that nothing is being written under them, and that wrap
    nothing any more: what only they open, in a backup, is noise from then on."""
    dropped = 0
    for row, follower in pairwise(TenantKey.objects.order_by("id")):
        is_used = any(model._default_manager.filter(_wrapped_by(row)).exists() for model in _WRAPPED)
        if follower.created_at < now - OVERLAP and not is_used:
            row.delete()
            dropped += 1
    return dropped


def _former_keys() -> list[TenantKey]:
    return list(TenantKey.objects.order_by("-id")[1:])


def _wrapped_by(row: TenantKey) -> Q:
    """By its beginning: the form, and the key's id."""
    first, after = _FORM + row.pk.to_bytes(8, "big"), _FORM + (row.pk + 1).to_bytes(8, "big")
    return Q(wrapped_key__gte=first, wrapped_key__lt=after)


def _make_tenant_key() -> TenantKey:
    return TenantKey.objects.create(wrapped=crypto.encrypt(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()))


def _opened(row: TenantKey) -> bytes:
    try:
        return base64.b64decode(crypto.decrypt(row.wrapped))
    except crypto.SecretUnreadableError as error:
        raise KeyGoneError from error
