"""The digests by which a sender proves its file, as RFC 9530 and RFC 3230 write them."""

import base64

import pytest

from pbx.http.files import digests_of
from recordings.files import FileRefusedError


def b64(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("content_digest", "digest", "found"),
    [
        ("", "", {}),
        (f"sha-256=:{b64(32)}:, sha-512=:{b64(64)}:;x=1", "", {"sha256": bytes(32), "sha512": bytes(64)}),
        ("", f"SHA-256={b64(32)} , MD5={b64(16)}", {"sha256": bytes(32), "md5": bytes(16)}),
        ("", f"sha={b64(20)}", {"sha1": bytes(20)}),
        ("unknown=:AAAA:", "adler32=03da0195", {}),
    ],
)  # fmt: skip
def test_digests_are_read(content_digest: str, digest: str, found: dict[str, bytes]) -> None:
    assert digests_of(content_digest, digest) == found


@pytest.mark.parametrize(
    ("content_digest", "digest"),
    [
        ("sha-256", ""), ("sha-256=", ""), (f"sha-256={b64(32)}", ""), (f"sha-256=:{b64(31)}:", ""),
        ("sha-256=:=:", ""),
        (f"sha-256=:{b64(32)}:,", ""), ("", "sha-256"), ("", "SHA-256=:AAAA:"), ("", "SHA-256=A"), ("", "MD5=AAAA"),
    ],
)  # fmt: skip
def test_digests_that_cannot_be_read_are_refused(content_digest: str, digest: str) -> None:
    with pytest.raises(FileRefusedError) as caught:
        digests_of(content_digest, digest)
    assert caught.value.code == "bad_digest"
