"""Recordings in an S3-compatible store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from recordings.errors import GoneError, StoreForbiddenError, StoreFullError, StoreUnavailableError, VaultError
from recordings.stores import Found, Stretch

_GONE = frozenset({"404", "NoSuchKey"})
_FORBIDDEN = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "EntityTooLarge"})


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _of_answer(error) from error
    except (Boto3Error, BotoCoreError) as error:  # an upload has an error of its own for what the store answered
        raise _of_answer(error.__context__) from error


def _of_answer(error: BaseException | None) -> VaultError:
    code = str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
    if code in _GONE:
        return GoneError()
    if code in _FORBIDDEN:
        return StoreForbiddenError()
    if code in _FULL:
        return StoreFullError()
    if code == "NoSuchBucket":
        return StoreUnavailableError("The bucket of the recordings does not exist.")
    return StoreUnavailableError()


class S3Store(S3Storage):  # type: ignore[misc]
    """A bucket. It waits for the store within bounds, and asks it for nothing that only Amazon's has."""

    def __init__(self, *, addressing_style: str, **options: Any) -> None:
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 3},
            signature_version="s3v4",
            s3={"addressing_style": addressing_style},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        super().__init__(client_config=config, querystring_auth=True, file_overwrite=True, **options)

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def put(self, storage_key: str, file: Path) -> None:
        """In parts, when it is large; a file that did not arrive whole is not there."""
        with _told_plainly():
            self._client.upload_file(str(file), self.bucket_name, self._name(storage_key))

    def stretch(self, storage_key: str, start: int, length: int) -> Stretch:
        if length <= 0:
            return _Nothing()
        wanted = f"bytes={start}-{start + length - 1}"
        with _told_plainly():
            answer = self._client.get_object(Bucket=self.bucket_name, Key=self._name(storage_key), Range=wanted)
        return _Body(answer["Body"])

    def remove(self, storage_key: str) -> None:
        with _told_plainly():
            self._client.delete_object(Bucket=self.bucket_name, Key=self._name(storage_key))

    def found(self, prefix: str) -> Iterator[Found]:
        top = self._name("")
        with _told_plainly():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket_name, Prefix=self._name(prefix).rstrip("/") + "/"):
                for each in page.get("Contents", ()):
                    yield Found(each["Key"].removeprefix(top), each["Size"], each["LastModified"])

    def link(self, storage_key: str, seconds: int, *, file_name: str, content_type: str) -> str:
        """An address that opens this file to whoever has it, for so long."""
        wanted = {
            "ResponseContentType": content_type,
            "ResponseContentDisposition": f'attachment; filename="{file_name}"',
        }
        return str(self.url(storage_key, parameters=wanted, expire=seconds))

    def _name(self, storage_key: str) -> str:
        location = self.location.strip("/")
        return f"{location}/{storage_key}" if location else storage_key


class _Body:
    """What the store sends, with its failures in our words."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, amount: int, /) -> bytes:
        with _told_plainly():
            return bytes(self._body.read(amount))

    def close(self) -> None:
        self._body.close()


class _Nothing:
    def read(self, amount: int, /) -> bytes:
        return b""

    def close(self) -> None:
        pass
