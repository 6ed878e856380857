"""The door through which a switch delivers the files of its recordings (`docs/switch-api.md`)."""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any, cast

import structlog
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from pbx.http.doors import DoorError, answer, switch_door
from pbx.http.uploads import BODY, Body
from recordings import files
from recordings.files import FileRefusedError
from recordings.models import RecordingFile
from tenants.models import Switch

log = structlog.get_logger(__name__)

_STATUS = {
    "bad_digest": 400,
    "cut_off": 400,
    "digest_mismatch": 400,
    "empty_file": 400,
    "unknown_recording": 404,
    "unknown_segment": 404,
    "too_slow": 408,
    "conflict": 409,
    "recording_deleted": 410,
    "too_large": 413,
    "wrong_type": 415,
    "mislabelled": 422,
    "wrong_medium": 422,
    "store_full": 507,
    "quarantine_full": 507,
}
_UNAVAILABLE = 503
_DIGESTS = {"sha-256": "sha256", "sha-512": "sha512", "sha": "sha1", "md5": "md5"}
_LENGTHS = {"sha256": 32, "sha512": 64, "sha1": 20, "md5": 16}
_FIELD = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*(;.*)?")  # RFC 9530, a dictionary of RFC 9651
_INSTANCE = re.compile(r"\s*([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)\s*")  # RFC 3230

_slots = BoundedSemaphore(settings.RECORDING_UPLOADS_MAX)


@switch_door("PUT")
def file(request: HttpRequest, switch: Switch, recording_id: str, number: str = "1") -> HttpResponse:
    began = timezone.now()
    _refuse_parts(request)
    try:
        with _a_slot():
            row = files.receive(
                switch,
                recording_id,
                _segment(number),
                _body(request).chunks(),
                content_type=request.headers.get("Content-Type", ""),
                digests=digests_of(request.headers.get("Content-Digest", ""), request.headers.get("Digest", "")),
                expected_size=_announced(request),
            )
    except FileRefusedError as error:
        if error.kept is None:  # else it is in the log as quarantined
            log.warning("file refused", recording_id=recording_id[:64], segment=number[:8], reason=error.code)
        raise DoorError(_STATUS.get(error.code, _UNAVAILABLE), error.code, error.message) from error
    return answer(_represented(row, recording_id), status=201 if row.received_at >= began else 200)


def digests_of(content_digest: str, digest: str) -> dict[str, bytes]:
    """What the sender proves its file by. Algorithms that we do not know are passed over, as both RFCs have it."""
    found: dict[str, bytes] = {}
    for given, form in ((content_digest, _FIELD), (digest, _INSTANCE)):
        for part in given.split(",") if given.strip() else ():
            match = form.fullmatch(part)
            name = _DIGESTS.get(match[1].lower()) if match else ""
            if match is None:
                raise FileRefusedError("bad_digest", "Content-Digest or Digest cannot be read.")
            if name:
                found[name] = _decoded(match[2], name)
    return found


def _decoded(written: str, name: str) -> bytes:
    try:
        value = base64.b64decode(written, validate=True)
    except binascii.Error:
        value = b""
    if len(value) != _LENGTHS[name]:
        raise FileRefusedError("bad_digest", f"The digest by {name} is not as long as such a digest is, in base64.")
    return value


def _refuse_parts(request: HttpRequest) -> None:
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise DoorError(415, "wrong_type", "A file is sent as it is, without a Content-Encoding.")
    if "Content-Range" in request.headers:
        raise DoorError(400, "bad_value", "A file is sent whole: Content-Range is not taken.")


def _segment(number: str) -> int:
    if not (number.isascii() and number.isdigit() and len(number) <= 6 and int(number) > 0):
        raise DoorError(404, "not_found", "There is no such thing here.")
    return int(number)


def _announced(request: HttpRequest) -> int | None:
    given = request.headers.get("Content-Length", "")
    return int(given) if given.isascii() and given.isdigit() else None


def _body(request: HttpRequest) -> Body:
    return cast(Body, cast(ASGIRequest, request).scope[BODY])


@contextmanager
def _a_slot() -> Iterator[None]:
    """Each file on its way holds a thread; there is an end to them."""
    if not _slots.acquire(blocking=False):
        raise DoorError(_UNAVAILABLE, "too_many_uploads", "Too many files are on their way. Send it again in a while.")
    try:
        yield
    finally:
        _slots.release()


def _represented(row: RecordingFile, recording_id: str) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "recording_id": recording_id,
        "segment": row.said_segment,
        "state": row.state,
        "problem": row.problem,
        "size": row.size,
        "sha256": row.sha256,
        "content_type": row.content_type,
    }
