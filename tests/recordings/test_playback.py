"""A recording's file over the doors: ranges, validators, who may, what is written down, and the way of the bytes."""

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client

from accounts.roles import Role
from portal.asgi import django_application
from recordings import playback
from recordings.models import Play, Recording, RecordingFile
from tenants.models import Tenant
from tests.recordings.people import browser, program
from tests.recordings.played import content_of, make_ready

pytestmark = pytest.mark.django_db


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def status(response: Any) -> int:
    """Of an answer that is read to its end, as a client does."""
    body(response)
    return int(response.status_code)


def file_of(recording: Recording) -> str:
    return f"/api/v1/recordings/{recording.pk}/file"


def page_file(recording: Recording) -> str:
    return f"/call-statistics/recordings/{recording.pk}/file"


def download(recording: Recording) -> str:
    return f"/call-statistics/recordings/{recording.pk}/download"


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("lengths", [(2.0,), (2.0, 1.0, 0.5)])
def test_whole_file(acme: Tenant, settings: Any, sealed: bool, lengths: tuple[float, ...]) -> None:
    settings.RECORDING_ENCRYPTION = sealed
    recording = make_ready(*lengths, session_id="690852418417590001")
    whole = content_of(recording)
    answer = program().get(file_of(recording))

    assert (answer.status_code, body(answer)) == (200, whole)
    tag = answer.headers["ETag"]
    assert tag.startswith('"')
    assert {name: answer.headers[name] for name in _HEADERS} == {
        "Content-Type": "audio/wav",
        "Content-Length": str(len(whole)),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": (f'attachment; filename="{acme.pk}_690852418417590001_1888722_1_20230322-120000.wav"'),
    }


_HEADERS = (
    "Content-Type", "Content-Length", "Accept-Ranges", "Cache-Control", "X-Content-Type-Options", "Content-Disposition",
)  # fmt: skip


def test_player_of_a_page_gets_it_inline(acme: Tenant) -> None:
    recording = make_ready()
    answer = browser().get(page_file(recording))
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("inline; filename=")
    assert body(answer) == content_of(recording)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=40-60", 40, 61), ("bytes=16000-", 16000, None), ("bytes=-44", -44, None)],
)
def test_range(acme: Tenant, settings: Any, sealed: bool, header: str, start: int, end: int | None) -> None:
    settings.RECORDING_ENCRYPTION = sealed
    recording = make_ready(1.0, 1.0)
    whole = content_of(recording)
    answer = program().get(file_of(recording), headers={"range": header})
    part = whole[start:end]
    first = start if start >= 0 else len(whole) + start
    assert (answer.status_code, body(answer)) == (206, part)
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{len(whole)}"
    assert answer.headers["Content-Length"] == str(len(part))


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=9-2", "lines=1-2", "bytes=x"])
def test_what_is_no_single_range_gets_the_whole(acme: Tenant, header: str) -> None:
    recording = make_ready()
    answer = program().get(file_of(recording), headers={"range": header})
    assert (answer.status_code, body(answer)) == (200, content_of(recording))


def test_range_beyond_the_end(acme: Tenant) -> None:
    recording = make_ready()
    size = len(content_of(recording))
    answer = program().get(file_of(recording), headers={"range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["Content-Range"], answer.content) == (416, f"bytes */{size}", b"")
    assert Play.objects.count() == 0


def test_head_tells_all_and_is_no_play(acme: Tenant) -> None:
    recording = make_ready()
    asker = program()
    answer = asker.head(file_of(recording), headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(content_of(recording)))
    assert Play.objects.count() == 0


@pytest.mark.parametrize("known", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_what_is_known_already_is_not_sent(acme: Tenant, known: str) -> None:
    recording, asker = make_ready(), program()
    tag = asker.head(file_of(recording)).headers["ETag"]
    answer = asker.get(file_of(recording), headers={"if-none-match": known.format(tag=tag)})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    assert Play.objects.count() == 0


def test_another_version_is_sent_as_a_whole(acme: Tenant) -> None:
    recording, asker = make_ready(), program()
    tag = asker.head(file_of(recording)).headers["ETag"]
    asked = {"range": "bytes=0-9"}
    right = asked | {"if-none-match": '"other"', "if-range": tag}
    assert status(asker.get(file_of(recording), headers=right)) == 206
    for other in ('"other"', f"W/{tag}", "Wed, 22 Mar 2023 12:00:00 GMT"):
        assert status(asker.get(file_of(recording), headers=asked | {"if-range": other})) == 200


def test_etag_is_the_same_until_the_bytes_differ(acme: Tenant) -> None:
    recording, asker = make_ready(1.0, 1.0), program()
    tags = [asker.head(file_of(recording)).headers["ETag"] for _ in range(2)]
    RecordingFile.objects.filter(segment__recording=recording, segment__number=2).update(sha256="0" * 64)
    assert tags[0] == tags[1] != asker.head(file_of(recording)).headers["ETag"]


# --- Who ---------------------------------------------------------------------------------------------------


def test_own_recording_only(acme: Tenant) -> None:
    own, other = make_ready(extensions=["101", "102"]), make_ready(extensions=["1020"])
    asker, sitting = program(Role.USER, "102"), browser(Role.USER, "103")
    assert status(asker.get(file_of(own))) == 200
    assert status(asker.get(file_of(other))) == 404
    assert status(sitting.get(page_file(own))) == 404
    assert {(row.recording_id, row.actor_kind) for row in Play.objects.all()} == {(own.pk, "token")}


def test_token_without_the_right(acme: Tenant) -> None:
    recording = make_ready()
    assert status(program(scopes=["cdr.view"]).get(file_of(recording))) == 403
    assert status(program(scopes=["recordings.view"]).get(file_of(recording))) == 200


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_wrong_method(acme: Tenant, method: str) -> None:
    recording = make_ready()
    assert getattr(program(), method)(file_of(recording)).status_code == 405
    assert getattr(browser(), method)(page_file(recording)).status_code == 405


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("recording", 409, "not_ready"),
        ("processing", 409, "not_ready"),
        ("failed", 409, "recording_failed"),
        ("trashed", 410, "recording_deleted"),
        ("deleted", 410, "recording_deleted"),
    ],
)
def test_what_cannot_be_played_says_why(acme: Tenant, state: str, status: int, code: str) -> None:
    recording = make_ready(state=state, deletion="Deleted by ada.")
    answer = program().get(file_of(recording))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    page = browser().get(page_file(recording))
    assert (page.status_code, b"There is nothing to play" in page.content) == (status, True)
    assert Play.objects.count() == 0


def test_file_that_is_gone_from_the_store(acme: Tenant) -> None:
    from recordings import vault

    recording = make_ready()
    vault.remove(RecordingFile.objects.get(segment__recording=recording).storage_key)
    answer = program().get(file_of(recording))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "file_gone")
    assert status(browser().get(page_file(recording))) == 503


# --- Written down ------------------------------------------------------------------------------------------


def test_play_and_download_are_written_down(acme: Tenant) -> None:
    recording, sitting = make_ready(session_id="s-1"), browser()
    size = len(content_of(recording))
    for headers in ({"range": "bytes=0-"}, {"range": "bytes=100-199"}):
        body(sitting.get(page_file(recording), headers=headers))
    body(sitting.get(download(recording)))
    body(sitting.get(download(recording)))
    body(sitting.get(download(recording), headers={"range": "bytes=100-"}))
    found = [
        (row.session_id, row.kind, row.actor_kind, row.actor, row.address, row.sent, row.reason)
        for row in Play.objects.order_by("at", "id")
    ]
    who = ("user", "u-admin", "127.0.0.1")
    assert found == [
        ("s-1", "play", *who, size + 100, ""),
        ("s-1", "download", *who, size, ""),
        ("s-1", "download", *who, size + size - 100, ""),
    ]


def test_reason_over_rest(acme: Tenant) -> None:
    Tenant.objects.filter(pk=acme.pk).update(ask_play_reason=True)
    recording, asker = make_ready(), program()
    refused = asker.get(file_of(recording))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "reason_required")
    assert "parameter reason" in refused.json()["error"]["message"]
    assert status(asker.get(file_of(recording), {"reason": "   "})) == 403
    assert status(asker.get(file_of(recording), {"reason": "x" * 301})) == 400
    assert Play.objects.count() == 0
    assert status(asker.get(file_of(recording), {"reason": "Complaint 17"})) == 200
    assert status(asker.get(file_of(recording))) == 200, "the reason holds"
    assert {row.reason for row in Play.objects.all()} == {"Complaint 17"}


def test_reason_on_a_page(acme: Tenant) -> None:
    Tenant.objects.filter(pk=acme.pk).update(ask_play_reason=True)
    recording, sitting = make_ready(), browser()
    page = f"/call-statistics/recordings/{recording.pk}"
    for address in (page_file(recording), download(recording)):
        refused = sitting.get(address)
        assert (refused.status_code, refused["Location"]) == (302, page)
    assert b"<audio" not in sitting.get(page).content
    assert b"Why do you listen" in sitting.get(page).content
    assert sitting.post(f"{page}/reason", {"reason": ""}).status_code == 302
    assert Play.objects.count() == 0

    given = sitting.post(f"{page}/reason", {"reason": "Complaint 17", "back": f"{page}?t=3"})
    assert (given.status_code, given["Location"]) == (302, f"{page}?t=3#recording-{recording.pk}")
    assert b"<audio" in sitting.get(page).content
    assert status(sitting.get(page_file(recording))) == 200
    assert [(row.kind, row.reason) for row in Play.objects.all()] == [("play", "Complaint 17")]


@pytest.mark.parametrize("back", ["//evil.test/", "https://evil.test/", "javascript:x", "\\\\evil.test"])
def test_reason_leads_nowhere_else(acme: Tenant, back: str) -> None:
    recording = make_ready()
    page = f"/call-statistics/recordings/{recording.pk}"
    given = browser().post(f"{page}/reason", {"reason": "x", "back": back})
    assert given["Location"] == f"{page}#recording-{recording.pk}"


# --- Served by somebody else -------------------------------------------------------------------------------


def test_nginx_serves_what_is_not_encrypted(acme: Tenant, settings: Any) -> None:
    settings.X_ACCEL_PREFIX = "/protected/"
    recording = make_ready()
    file = RecordingFile.objects.get(segment__recording=recording)
    answer = program().get(file_of(recording))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["X-Accel-Redirect"] == f"/protected/{file.storage_key}"
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert Play.objects.get().sent == file.size, "the grant is written down like a play"


def test_nginx_serves_nothing_encrypted_or_joined(acme: Tenant, settings: Any) -> None:
    settings.X_ACCEL_PREFIX = "/protected/"
    joined = make_ready(1.0, 1.0)
    settings.RECORDING_ENCRYPTION = True
    sealed = make_ready()
    asker = program()
    for recording in (joined, sealed):
        answer = asker.get(file_of(recording))
        assert "X-Accel-Redirect" not in answer.headers
        assert body(answer) == content_of(recording)


# --- Under ASGI --------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(django_application), base_url="http://acme.portal.test")


def _make(seconds: float, host: str = "acme") -> tuple[int, str, bytes]:
    connection.set_schema(host)
    recording = make_ready(seconds)
    token = program(host=host).defaults["HTTP_AUTHORIZATION"]
    return recording.pk, token, content_of(recording)


def _plays() -> list[int]:
    connection.set_schema("acme")
    return list(Play.objects.values_list("sent", flat=True))


@pytest.mark.django_db(transaction=True)
async def test_asgi_streams_in_pieces(tenants: None, listener: httpx.AsyncClient) -> None:
    recording_id, token, whole = await sync_to_async(_make)(60.0)
    headers = {"authorization": token}
    async with listener:
        answer = await listener.get(f"/api/v1/recordings/{recording_id}/file", headers=headers)
        part = await listener.get(
            f"/api/v1/recordings/{recording_id}/file", headers=headers | {"range": "bytes=500000-"}
        )
    assert (answer.status_code, answer.content) == (200, whole)
    assert (part.status_code, part.content) == (206, whole[500000:])
    assert await sync_to_async(_plays)() == [len(whole) + len(whole) - 500000]


@pytest.mark.django_db(transaction=True)
async def test_asgi_sends_no_more_once_the_listener_has_gone(tenants: None) -> None:
    recording_id, token, whole = await sync_to_async(_make)(300.0)
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": f"/api/v1/recordings/{recording_id}/file",
        "raw_path": b"", "query_string": b"", "scheme": "http", "server": ("acme.portal.test", 80),
        "client": ("192.0.2.7", 1), "headers": [(b"host", b"acme.portal.test"), (b"authorization", token.encode())],
    }  # fmt: skip
    gone, sent = asyncio.Event(), bytearray()

    async def receive() -> dict[str, Any]:
        if not sent:
            asked = asyncio.get_running_loop().create_future() if receive_calls else None
            receive_calls.append(1)
            if asked is None:
                return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.extend(message.get("body", b""))
        if sent:
            gone.set()
            await asyncio.sleep(0.05)

    receive_calls: list[int] = []
    await django_application(scope, receive, send)
    assert 0 < len(sent) < len(whole)
    (counted,) = await sync_to_async(_plays)()
    assert len(sent) <= counted <= len(sent) + playback.vault.BLOCK


@pytest.mark.django_db(transaction=True)
async def test_a_store_that_does_not_answer_one_tenant_freezes_no_other(
    tenants: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "READERS_OF_A_TENANT", 2)
    answers, stuck, whole_read = Event(), list[str](), playback.vault.read

    def stalled(file: RecordingFile, start: int, end: int) -> Iterator[bytes]:
        blocks = whole_read(file, start, end)
        return blocks if file.storage_key.startswith("globex/") else waits(file.storage_key, blocks)

    def waits(storage_key: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
        stuck.append(storage_key)
        assert answers.wait(60)
        yield from blocks

    acme, globex = [await sync_to_async(_make)(2.0, host) for host in ("acme", "globex")]
    monkeypatch.setattr(playback.vault, "read", stalled)
    with ThreadPoolExecutor(3) as readers:
        monkeypatch.setattr(playback, "_readers", readers)
        try:
            stalling = [asyncio.create_task(_heard(*acme[:2], "acme")) for _ in range(4)]
            async with asyncio.timeout(60):
                while len(stuck) < 2:
                    await asyncio.sleep(0.02)
                assert await _heard(*globex[:2], "globex") == globex[2]
            assert len(stuck) == 2
        finally:
            answers.set()
        assert await asyncio.gather(*stalling) == [acme[2]] * 4


async def _heard(recording_id: int, token: str, host: str) -> bytes:
    transport = httpx.ASGITransport(django_application)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}.portal.test") as client:
        answer = await client.get(f"/api/v1/recordings/{recording_id}/file", headers={"authorization": token})
    return answer.content


@pytest.mark.django_db(transaction=True)
async def test_listener_holds_no_connection_to_the_database(tenants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    release = playback._release_connection
    monkeypatch.setattr(playback, "_release_connection", lambda: (release(), released.append(connection.connection)))
    recording_id, token, _ = await sync_to_async(_make)(1.0)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(django_application), base_url="http://acme.portal.test")
    async with client:
        await client.get(f"/api/v1/recordings/{recording_id}/file", headers={"authorization": token})
    assert released == [None]


def test_digest_of_what_was_sent_is_the_files(acme: Tenant) -> None:
    recording = make_ready()
    (file,) = RecordingFile.objects.filter(segment__recording=recording)
    assert hashlib.sha256(body(program().get(file_of(recording)))).hexdigest() == file.sha256


def test_stranger(acme: Tenant) -> None:
    recording = make_ready()
    stranger = Client(headers={"host": "acme.portal.test"})
    assert stranger.get(file_of(recording)).status_code == 401
    assert stranger.get(page_file(recording))["Location"].startswith("/sign-in")
