"""Sends a recording to whoever may listen: as a whole or a range of it, with the memory of two blocks.

A store that serves by itself (X-Accel-Redirect, a presigned address) does so for what is not encrypted; the grant is
written down like a play. Otherwise the bytes go through here, in threads of their own beside the server's loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, parse_etags

from recordings import plays, vault
from recordings.errors import VaultError
from recordings.joined import Joined
from recordings.models import Play, Recording
from recordings.ranges import Span, UnsatisfiableError, span_of
from recordings.vault import Direct
from tenants.changes import Actor
from tenants.errors import RefusedError
from tenants.schemas import current_schema, in_schema

log = structlog.get_logger(__name__)

READERS = 64  # files that are read at once; listeners wait for each other here, not for the server
READERS_OF_A_TENANT = 8  # while its store does not answer, the others are still played to
MOST_AT_ONCE = 8  # blocks that are read at once for somebody who takes them quickly
QUICK_SECONDS = 0.1
_readers = ThreadPoolExecutor(READERS, thread_name_prefix="recording")
_turns: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]]" = WeakKeyDictionary()


class NotPlayableError(RefusedError):
    """There is no file to play: not yet, or never."""

    status_code = 409


class GoneError(NotPlayableError):
    status_code = 410


def check_playable(recording: Recording) -> None:
    state = Recording.State(recording.state)
    if state is Recording.State.READY:
        return
    if state in (Recording.State.TRASHED, Recording.State.DELETED):
        raise GoneError("recording_deleted", f"This recording was deleted. {recording.deletion}".strip())
    if state is Recording.State.FAILED:
        raise NotPlayableError("recording_failed", recording.problem or "This recording failed.")
    going_on = "Its file is being taken in." if state is Recording.State.PROCESSING else "The call is still recorded."
    raise NotPlayableError("not_ready", going_on)


@dataclass(frozen=True)
class Sendable:
    """Bytes at rest that can be sent from any place on; `direct` is how somebody else may do it in our place."""

    size: int
    etag: str
    content_type: str
    file_name: str
    read: Callable[[int, int], Iterator[bytes]]
    direct: Callable[[], Direct | None] = lambda: None


# Told of a request before its first byte; what it returns is told how many bytes there were in the end.
Note = Callable[[Span], Callable[[int], None]]


def response_for(
    request: HttpRequest,
    recording: Recording,
    *,
    actor: Actor,
    kind: Play.Kind,
    asks_reason: bool,
    reason: str = "",
) -> HttpResponseBase:
    """For GET and HEAD. Raises what `check_playable`, `plays.note_play` and the vault raise."""
    check_playable(recording)
    media = Joined(recording)
    file_name = media.file_name

    def direct() -> Direct | None:
        """For a recording that is one file, as it came."""
        if len(media.files) != 1:
            return None
        return vault.plain_url_or_path(media.files[0], file_name=file_name, content_type=media.content_type)

    def note(span: Span) -> Callable[[int], None]:
        is_beginning = span.start == 0
        play = plays.note_play(
            actor, recording, kind, is_beginning=is_beginning, asks_reason=asks_reason, reason=reason
        )
        return partial(plays.add_sent, play.pk)

    thing = Sendable(media.size, media.etag, media.content_type, file_name, media.read, direct)
    return send(request, thing, note, is_download=kind is not Play.Kind.PLAY)


def send(request: HttpRequest, thing: Sendable, note: Note, *, is_download: bool) -> HttpResponseBase:
    headers = _headers(thing, is_download=is_download)
    if _is_known(request, thing.etag):
        return HttpResponse(status=304, headers=headers)
    if request.method == "HEAD":
        return HttpResponse(headers=headers | {"Content-Length": str(thing.size)})
    try:
        span = _span(request, thing)
    except UnsatisfiableError:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{thing.size}", "Accept-Ranges": "bytes"})
    part = span or Span(0, thing.size)
    sent = note(part)
    if direct := thing.direct():
        sent(part.length)  # as much as was granted: what is fetched in truth, only the store knows
        return _direct(direct, headers)
    if span:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{thing.size}"
    headers["Content-Length"] = str(part.length)
    sending = Sending(thing.read(part.start, part.end), sent)
    return Streamed(request, sending, status=206 if span else 200, headers=headers)


def _headers(thing: Sendable, *, is_download: bool) -> dict[str, str]:
    return {
        "Content-Type": thing.content_type,
        "Content-Disposition": content_disposition_header(is_download, thing.file_name) or "inline",
        "Accept-Ranges": "bytes",
        "ETag": thing.etag,
        # Nothing of a recording is to lie about in caches, where no play is written down and no deletion reaches.
        "Cache-Control": "private, no-store",
    }


def _is_known(request: HttpRequest, etag: str) -> bool:
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return known == ["*"] or etag in [each.removeprefix("W/") for each in known]


def _span(request: HttpRequest, thing: Sendable) -> Span | None:
    """A range of another version than the one at hand is no use: then the whole is sent (If-Range)."""
    asked, only_of = request.headers.get("Range", ""), request.headers.get("If-Range", "")
    return span_of(asked, thing.size) if asked and only_of in ("", thing.etag) else None


def _direct(direct: Direct, headers: dict[str, str]) -> HttpResponse:
    kept = {name: headers[name] for name in ("Content-Type", "Content-Disposition", "Cache-Control")}
    return HttpResponse(
        status=302 if direct.header == "Location" else 200, headers=kept | {direct.header: direct.value}
    )


class Sending(Iterator[bytes]):
    """The blocks on their way, counted; when it is closed the count is told, in the tenant it belongs to."""

    def __init__(self, blocks: Iterator[bytes], sent: Callable[[int], None]) -> None:
        self._blocks, self._tell, self.schema = blocks, sent, current_schema()
        self.sent, self._closed = 0, False
        self._lock = Lock()  # the listener may go while a thread reads

    def __next__(self) -> bytes:
        for block in self.read(1):
            self.sent += len(block)
            return block
        raise StopIteration

    def read(self, count: int) -> list[bytes]:
        """The next blocks, not yet sent; none at the end."""
        with self._lock:
            if self._closed:
                return []
            try:
                return list(islice(self._blocks, count))
            except VaultError as error:  # too late for another status: the connection breaks off
                log.error("recording broke off", tenant=self.schema, error=error.code)
                raise

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if close := getattr(self._blocks, "close", None):
                close()
        with in_schema(self.schema):
            self._tell(self.sent)


class Streamed(StreamingHttpResponse):
    """Under ASGI the blocks are read in threads, one ahead of the one that is being sent."""

    def __init__(self, request: HttpRequest, sending: Sending, **options: Any) -> None:
        super().__init__(_read_ahead(sending) if isinstance(request, ASGIRequest) else sending, **options)
        self._sending = sending

    def close(self) -> None:
        """Django calls it when the answer is over, also when the listener has gone."""
        self._sending.close()
        super().close()


async def _read_ahead(sending: Sending) -> AsyncIterator[bytes]:
    """A listener who plays has two blocks in memory; one who takes them as fast as they come gets more at once."""
    await sync_to_async(_release_connection)()
    loop = asyncio.get_running_loop()
    count = 1
    ahead = loop.create_task(_read(sending, count))
    try:
        while blocks := await ahead:
            ahead = loop.create_task(_read(sending, count))
            began = loop.time()
            for block in blocks:
                sending.sent += len(block)
                yield block
            count = min(count * 2, MOST_AT_ONCE) if loop.time() - began < QUICK_SECONDS else 1
    finally:
        ahead.cancel()


async def _read(sending: Sending, count: int) -> list[bytes]:
    """In a thread, when it is its tenant's turn. The turn ends with the thread's work: a listener who goes while the
    store does not answer leaves the thread waiting."""
    loop = asyncio.get_running_loop()
    turn = _turns.setdefault(loop, {}).setdefault(sending.schema, asyncio.Semaphore(READERS_OF_A_TENANT))
    await turn.acquire()
    reading = _readers.submit(sending.read, count)
    reading.add_done_callback(partial(_end_turn, loop, turn))
    return await asyncio.wrap_future(reading)


def _end_turn(loop: asyncio.AbstractEventLoop, turn: asyncio.Semaphore, _: "Future[list[bytes]]") -> None:
    with suppress(RuntimeError):  # the server has ended meanwhile
        loop.call_soon_threadsafe(turn.release)


def _release_connection() -> None:
    """A listener may take an hour over it, and the pool has few connections."""
    if not connection.in_atomic_block:
        connection.close()
