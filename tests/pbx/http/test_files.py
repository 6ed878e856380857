"""The door for files, as a switch uses it: over ASGI, with bodies that come in pieces."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections

from pbx.http import files, uploads
from portal.asgi import application
from recordings import trash, vault
from recordings.models import Recording, RecordingFile
from tenants.changes import SYSTEM
from tenants.crypto import token_hash
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema
from tests.pbx.conftest import BEARER
from tests.recordings.delivered import recording_of
from tests.recordings.media import spoken

pytestmark = pytest.mark.django_db(transaction=True)
FILE = spoken(1)
SHA256 = hashlib.sha256(FILE)
WAV = {"Content-Type": "audio/wav"}
KEPT = "The file is kept in quarantine."


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "recordings"
    return tmp_path / "recordings"


@pytest.fixture
def recording(acme: Tenant, http_switch: Switch) -> Recording:
    made = recording_of(acme, http_switch, segments=2)
    connection.set_schema_to_public()
    return made


@pytest.fixture
async def client(http_switch: Switch) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://portal.test", headers=BEARER) as made:
        yield made
    await sync_to_async(connections.close_all)()


def path(recording: Recording | str, segment: object = 1) -> str:
    recording_id = recording if isinstance(recording, str) else recording.pk
    return f"/api/switch/v1/recordings/{recording_id}/segments/{segment}/file"


@sync_to_async
def rows(schema: str = "acme") -> list[tuple[str, int | None, bytes]]:
    connection.set_schema(schema)
    found = RecordingFile.objects.select_related("segment").order_by("received_at")
    return [(row.state, row.segment and row.segment.number, b"".join(vault.read(row))) for row in found]


def lying_in(media_root: Path) -> int:
    return sum(file.is_file() for file in media_root.rglob("*"))


def error(answer: httpx.Response) -> tuple[int, str, str]:
    said = answer.json()["error"]
    return answer.status_code, said["code"], said["message"]


async def in_pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for place in range(0, len(data), size):
        yield data[place : place + size]


# --- Taken -------------------------------------------------------------------------------------------------


async def test_a_file_is_taken_and_answered(client: httpx.AsyncClient, recording: Recording) -> None:
    answer = await client.put(path(recording, 2), content=FILE, headers=WAV)
    said = answer.json()
    assert said.pop("id").isdigit()
    assert (answer.status_code, said) == (
        201,
        {
            "recording_id": str(recording.pk), "segment": 2, "state": "stored", "problem": "", "size": len(FILE),
            "sha256": SHA256.hexdigest(), "content_type": "audio/wav",
        },
    )  # fmt: skip
    assert await rows() == [("stored", 2, FILE)]


async def test_without_a_segment_it_is_the_first(client: httpx.AsyncClient, recording: Recording) -> None:
    answer = await client.put(f"/api/switch/v1/recordings/{recording.pk}/file", content=FILE, headers=WAV)
    assert (answer.status_code, answer.json()["segment"]) == (201, 1)
    assert await rows() == [("stored", 1, FILE)]


async def test_a_file_may_come_in_chunks_of_unknown_number(client: httpx.AsyncClient, recording: Recording) -> None:
    answer = await client.put(path(recording), content=in_pieces(FILE), headers=WAV)
    assert "content-length" not in answer.request.headers
    assert (answer.status_code, await rows()) == (201, [("stored", 1, FILE)])


async def test_the_same_again_is_no_second_file(client: httpx.AsyncClient, recording: Recording) -> None:
    first = await client.put(path(recording), content=FILE, headers=WAV)
    second = await client.put(path(recording), content=FILE, headers=WAV)
    assert (first.status_code, second.status_code, second.json()) == (201, 200, first.json())
    assert await rows() == [("stored", 1, FILE)]


async def test_a_digest_that_fits_is_fine(client: httpx.AsyncClient, recording: Recording) -> None:
    sha256, md5 = (base64.b64encode(hashlib.new(name, FILE).digest()).decode() for name in ("sha256", "md5"))
    given = [
        {"Content-Digest": f"sha-256=:{sha256}:"},
        {"Digest": f"SHA-256={sha256}"},
        {"Digest": f"md5={md5},UNIXsum=30637"},
        {"Content-Digest": "crc32c=:AAAAAA==:"},
    ]
    answers = [await client.put(path(recording), content=FILE, headers=WAV | each) for each in given]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]


async def test_a_large_file_never_lies_in_memory(
    client: httpx.AsyncClient, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent and is not yet written stays small, however slow the disk is."""
    sent, written, most = 0, 0, 0
    piece = FILE[:44].ljust(65_536, b"\0")
    feed = vault.Writer.write

    def slow(writer: vault.Writer, data: bytes) -> None:
        nonlocal written, most
        written += len(data)
        most = max(most, sent - written)
        feed(writer, data)

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(500):
            sent += len(piece)
            yield piece

    monkeypatch.setattr(vault.Writer, "write", slow)
    answer = await client.put(path(recording), content=endless(), headers=WAV)
    assert (answer.status_code, answer.json()["size"], most <= 2 * len(piece)) == (201, 500 * 65_536, True)


# --- Refused -----------------------------------------------------------------------------------------------


async def test_refusals_that_keep_the_file(client: httpx.AsyncClient, recording: Recording) -> None:
    await client.put(path(recording), content=FILE, headers=WAV)
    other = spoken(2)
    answers = [
        await client.put(path("4711"), content=FILE, headers=WAV),
        await client.put(path(recording, 9), content=FILE, headers=WAV),
        await client.put(path(recording), content=other, headers=WAV),
        await client.put(path(recording, 2), content=FILE, headers={"Content-Type": "video/mp4"}),
        await client.put(path(recording, 2), content=b"<html>", headers=WAV),
    ]
    text = "It was announced as a WAV file, but it is a text."
    assert [error(answer) for answer in answers] == [
        (404, "unknown_recording", f"This switch was told of no recording 4711. {KEPT}"),
        (404, "unknown_segment", f"This recording has no segment 9. {KEPT}"),
        (409, "conflict", f"Segment 1 has another file, which came before. {KEPT}"),
        (422, "wrong_medium", f"This is a recording of audio, not video/mp4. {KEPT}"),
        (422, "mislabelled", f"{text} It is kept in quarantine."),
    ]
    quarantined = [("quarantined", None, FILE), ("quarantined", None, other), ("quarantined", None, FILE)]
    assert await rows() == [("stored", 1, FILE), *quarantined, ("quarantined", 2, b"<html>")]
    assert await rows("public") == [("quarantined", None, FILE)]


async def test_refusals_that_keep_nothing(
    client: httpx.AsyncClient, recording: Recording, settings: Any, media_root: Path
) -> None:
    settings.RECORDING_FILE_MAX = len(FILE) - 1
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield FILE

    zero = base64.b64encode(bytes(32)).decode()
    given = [
        (path(recording), WAV | {"Content-Length": str(5 * 1024**3)}),
        (path(recording), {"Content-Type": "text/plain"}),
        (path(recording), WAV | {"Content-Digest": "sha-256=nonsense"}),
        (path(recording), WAV | {"Content-Digest": "sha-256=:AAAA:"}),
        (path(recording), WAV | {"Content-Encoding": "gzip"}),
        (path(recording), WAV | {"Content-Range": "bytes 0-9/10"}),
        (path(recording), WAV | {"Authorization": "Bearer wrong"}),
        (path(recording, "x"), WAV),
        (path(recording, 0), WAV),
        (path(recording, 9999999), WAV),
    ]
    answers = [
        await client.put(where, content=body(), headers={"Expect": "100-continue"} | said) for where, said in given
    ]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (413, "too_large"), (415, "wrong_type"), (400, "bad_digest"), (400, "bad_digest"), (415, "wrong_type"),
        (400, "bad_value"), (401, "not_authenticated"), (404, "not_found"), (404, "not_found"), (404, "not_found"),
    ]  # fmt: skip
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    too_long = await client.put(path(recording), content=FILE, headers=WAV)
    too_long_in_chunks = await client.put(path(recording), content=in_pieces(FILE), headers=WAV)
    settings.RECORDING_FILE_MAX = 10**6
    empty = await client.put(path(recording), content=b"", headers=WAV)
    wrong = await client.put(path(recording), content=FILE, headers=WAV | {"Content-Digest": f"sha-256=:{zero}:"})
    late = (too_long, too_long_in_chunks, empty, wrong)
    assert [(each.status_code, each.json()["error"]["code"]) for each in late] == [
        (413, "too_large"), (413, "too_large"), (400, "empty_file"), (400, "digest_mismatch"),
    ]  # fmt: skip
    assert (await rows(), lying_in(media_root)) == ([], 0)


async def test_another_switch_learns_nothing(client: httpx.AsyncClient, recording: Recording) -> None:
    await sync_to_async(Switch.objects.create)(name="Stranger", kind=Switch.Kind.HTTP, token_hash=token_hash("strange"))
    stranger = {"Authorization": "Bearer strange"} | WAV
    theirs = await client.put(path(recording), content=FILE, headers=stranger)
    nobody_s = await client.put(path("4711"), content=FILE, headers=stranger)
    assert (theirs.status_code, theirs.json()["error"]["code"]) == (404, "unknown_recording")
    assert theirs.text.replace(str(recording.pk), "4711") == nobody_s.text
    assert await rows() == []


async def test_only_put_opens_it(client: httpx.AsyncClient, recording: Recording) -> None:
    answers = [await client.request(method, path(recording)) for method in ("GET", "POST", "DELETE", "PATCH")]
    assert [(answer.status_code, answer.headers["allow"]) for answer in answers] == [(405, "PUT")] * 4


async def test_it_stands_on_the_system_host_alone(client: httpx.AsyncClient, recording: Recording) -> None:
    answer = await client.put(path(recording), content=FILE, headers=WAV | {"Host": "acme.portal.test"})
    assert (answer.status_code, await rows()) == (404, [])


async def test_too_many_at_once_are_asked_to_come_again(client: httpx.AsyncClient, recording: Recording) -> None:
    taken = 0
    while files._slots.acquire(blocking=False):
        taken += 1
    answer = await client.put(path(recording), content=FILE, headers=WAV)
    for _ in range(taken):
        files._slots.release()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_uploads")
    assert answer.headers["retry-after"] == "5"
    assert (await client.put(path(recording), content=FILE, headers=WAV)).status_code == 201


async def test_a_full_disk_is_said(
    client: httpx.AsyncClient, recording: Recording, monkeypatch: pytest.MonkeyPatch, media_root: Path
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = await client.put(path(recording), content=FILE, headers=WAV)
    said = "The store of the recordings is full. Nothing was kept: send it again."
    assert (error(answer), answer.headers["retry-after"]) == ((507, "store_full", said), "5")
    assert (await rows(), lying_in(media_root)) == ([], 0)


# --- A sender that fails -----------------------------------------------------------------------------------


class Sender:
    """An ASGI server's side of one request, to send what no client would."""

    def __init__(self, where: str, **headers: str) -> None:
        given = BEARER | WAV | {"Host": "portal.test", **headers}
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PUT", "scheme": "http",
            "path": where, "raw_path": where.encode(), "query_string": b"", "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("portal.test", 80),
        }  # fmt: skip
        self.says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: list[dict[str, Any]] = []

    def say(self, data: bytes, *, more: bool = True) -> None:
        self.says.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def go(self) -> None:
        self.says.put_nowait({"type": "http.disconnect"})

    async def run(self) -> None:
        async def send(message: dict[str, Any]) -> None:
            self.heard.append(message)

        await asyncio.wait_for(application(self.scope, self.says.get, send), 60)

    @property
    def status(self) -> int:
        return int(self.heard[0]["status"])


@pytest.fixture
async def sender(recording: Recording, http_switch: Switch) -> AsyncIterator[Callable[..., Sender]]:
    yield lambda **headers: Sender(path(recording), **headers)
    await sync_to_async(connections.close_all)()


async def test_who_goes_away_in_the_middle_leaves_nothing(sender: Callable[..., Sender], media_root: Path) -> None:
    one = sender(**{"Content-Length": str(len(FILE))})
    one.say(FILE[:1000])
    one.go()
    await one.run()
    assert (await rows(), lying_in(media_root)) == ([], 0)


@pytest.mark.parametrize("state", ["trashed", "deleted"])
async def test_recording_that_is_deleted_while_its_file_comes(
    sender: Callable[..., Sender], recording: Recording, media_root: Path, state: str
) -> None:
    """In the trash its file is kept with it, and goes with it; once it is gone for good nothing of the file stays."""
    one = sender(**{"Content-Length": str(len(FILE))})
    one.say(FILE[:1000])
    coming = asyncio.create_task(one.run())
    async with asyncio.timeout(60):
        while not lying_in(media_root):
            await asyncio.sleep(0.01)
    await put_away(recording, for_good=state == "deleted")
    one.say(FILE[1000:], more=False)
    await coming
    if state == "deleted":
        assert (one.status, json.loads(one.heard[1]["body"])["error"]["code"]) == (410, "recording_deleted")
        assert (await rows(), lying_in(media_root)) == ([], 0)
    else:
        assert (one.status, await rows(), lying_in(media_root)) == (201, [("stored", 1, FILE)], 1)
        await put_away(recording, for_good=True)
        assert lying_in(media_root) == 0


@sync_to_async
def put_away(recording: Recording, *, for_good: bool) -> None:
    with in_schema("acme"):
        Recording.objects.filter(pk=recording.pk, state="processing").update(state="failed")
        trash.trash(SYSTEM, recording)
        if for_good:
            trash.delete_now(SYSTEM, recording)


async def test_who_falls_silent_is_let_go(
    sender: Callable[..., Sender], media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(uploads, "LINGER_SECONDS", 0.2)
    one = sender()
    one.say(FILE[:1000])
    await one.run()
    assert (one.status, await rows(), lying_in(media_root)) == (408, [], 0)


async def test_who_never_ends_is_let_go(
    sender: Callable[..., Sender], media_root: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(uploads, "LINGER_SECONDS", 0.2)
    settings.RECORDING_UPLOAD_SECONDS = 1
    one = sender()

    async def drip() -> None:
        while True:
            one.say(b"x")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    await one.run()
    dripping.cancel()
    assert (one.status, await rows(), lying_in(media_root)) == (408, [], 0)


async def test_who_talks_on_after_a_refusal_hears_why(sender: Callable[..., Sender]) -> None:
    """The reason is sent before the connection closes, and some of what still comes is heard out."""
    one = sender(Authorization="Bearer wrong")
    for _ in range(5):
        one.say(b"x" * 1000)
    one.say(b"", more=False)
    await one.run()
    start, said, end = one.heard
    assert (start["status"], (b"connection", b"close") in start["headers"]) == (401, True)
    assert (said["more_body"], end) == (True, {"type": "http.response.body", "body": b"", "more_body": False})
    assert one.says.empty()


async def test_who_talks_for_ever_is_not_heard_out(
    sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LINGER_BYTES", 10_000)
    one = sender(Authorization="Bearer wrong")
    for _ in range(100):
        one.say(b"x" * 1000)
    await one.run()
    assert (one.status, one.says.qsize()) == (401, 90)
