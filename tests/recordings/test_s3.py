"""The vault on an S3-compatible store: a real client against a local server that speaks S3."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from django.core.files.storage import storages
from moto.server import ThreadedMotoServer

from recordings import vault
from recordings.errors import GoneError, StoreForbiddenError, StoreUnavailableError
from recordings.sealing import CHUNK
from recordings.vault import BLOCK, Direct
from tests.recordings.test_vault import content, encrypted, files_below, keep, row_of

__all__ = ["encrypted"]
pytestmark = pytest.mark.usefixtures("acme")
KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104
    server.stop()


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    made = boto3.client("s3", endpoint_url=address, **KEYS)
    made.create_bucket(Bucket="kept")
    return made


def configure(settings: Any, address: str, **options: Any) -> None:
    chosen = {
        "bucket_name": "kept", "endpoint_url": address, "region_name": "us-east-1", "addressing_style": "path",
        "location": "of/voxledger", "access_key": "key", "secret_key": "secret",
    }  # fmt: skip
    store = {"BACKEND": "recordings.s3.S3Store", "OPTIONS": chosen | options}
    settings.STORAGES = settings.STORAGES | {"recordings": store}


@pytest.fixture(autouse=True)
def bucket(settings: Any, address: str, client: Any) -> Any:
    configure(settings, address)
    return client


def names_in(client: Any) -> list[str]:
    return [each["Key"] for each in client.list_objects_v2(Bucket="kept").get("Contents", ())]


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * BLOCK + 12345, 9_000_000])
def test_what_goes_in_comes_out(encrypted: bool, size: int, media_root: Path, bucket: Any) -> None:
    data = content(size)
    stored = keep(data)
    assert b"".join(vault.read(stored)) == data
    for start, end in [(0, 1), (CHUNK - 1, CHUNK + 1), (size - 5, size), (size // 2, None), (size, size + 5)]:
        assert b"".join(vault.read(stored, start, end)) == data[max(start, 0) : end]
    with vault.open_file(stored) as file:
        file.seek(size // 3)
        assert file.read() == data[size // 3 :]
    assert f"of/voxledger/{stored.storage_key}" in names_in(bucket)
    assert files_below(media_root) == []
    vault.remove(stored.storage_key)
    assert names_in(bucket) == []


def test_a_stretch_asks_the_store_for_no_more(bucket: Any) -> None:
    stored = keep(content(9_000_000))
    reading = vault.read(stored, 8_000_000, 8_000_010)
    assert int(reading._stretch._body._raw_stream.headers["Content-Length"]) == 10  # type: ignore[attr-defined]
    assert b"".join(reading) == content(9_000_000)[8_000_000:8_000_010]
    vault.remove(stored.storage_key)


def test_a_deleted_file_is_gone(encrypted: bool, bucket: Any) -> None:
    row = row_of(keep(b"secret"))
    vault.delete(row)
    with pytest.raises(GoneError):
        vault.read(row)
    vault.delete(row)
    assert names_in(bucket) == []


def test_all_of_a_tenant_can_be_listed_and_dropped(bucket: Any) -> None:
    own = sorted(keep(bytes(size)).storage_key for size in (1, 2, 3))
    bucket.put_object(Bucket="kept", Key="of/voxledger/acme2/x", Body=b"")
    assert sorted(each.storage_key for each in vault.found()) == own
    assert sorted(each.size for each in vault.found()) == [1, 2, 3]
    assert vault.drop_all("acme") == 3
    assert names_in(bucket) == ["of/voxledger/acme2/x"]
    bucket.delete_object(Bucket="kept", Key="of/voxledger/acme2/x")


def test_the_store_serves_what_is_not_encrypted_when_told_to(settings: Any) -> None:
    stored = keep(b"plain")
    assert vault.plain_url_or_path(stored) is None
    settings.S3_LINK_SECONDS = 60
    direct = vault.plain_url_or_path(stored, file_name="call.wav", content_type="audio/wav")
    assert isinstance(direct, Direct)
    assert direct.header == "Location"
    parts = urlsplit(direct.value)
    assert "X-Amz-Expires=60" in parts.query
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"plain")
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="call.wav"'
    connection.close()
    settings.RECORDING_ENCRYPTION = True
    sealed = keep(b"sealed")
    assert vault.plain_url_or_path(sealed) is None
    vault.remove(stored.storage_key)
    vault.remove(sealed.storage_key)


def test_a_bucket_that_does_not_exist_is_told(settings: Any, address: str, media_root: Path) -> None:
    configure(settings, address, bucket_name="nowhere")
    with pytest.raises(StoreUnavailableError) as told:
        keep(b"x")
    assert told.value.message == "The bucket of the recordings does not exist."
    assert files_below(media_root) == []


def test_a_store_that_is_away_is_told(
    settings: Any, unused_tcp_port: int, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its tries
    configure(settings, f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(StoreUnavailableError) as told:
        keep(b"x")
    assert told.value.message == "The store of the recordings does not answer."
    assert files_below(media_root) == []


def test_a_store_that_refuses_us_is_told(encrypted: bool, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    def refuse(*args: Any, **more: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")

    stored = keep(b"x")
    store = storages["recordings"]
    monkeypatch.setattr(store.connection.meta.client, "get_object", refuse)
    with pytest.raises(StoreForbiddenError):
        vault.read(stored)
