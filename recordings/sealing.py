"""How a recording is sealed: chunks of AES-256-GCM, so that any stretch of it can be opened by itself. Pure.

Each chunk is bound to its place and says whether it is the last: what is changed, moved or cut off does not open.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from recordings.errors import DamagedError

CHUNK = 64 * 1024
TAG = 16
KEY_BYTES = 32
SALT_BYTES = 4


@dataclass(frozen=True, slots=True)
class DataKey:
    """Of one file and no other; with it the counter of chunks makes every nonce unique."""

    key: bytes
    salt: bytes

    def nonce(self, index: int) -> bytes:
        return self.salt + index.to_bytes(8, "big")


def chunks_of(size: int) -> int:
    """An empty file has one chunk too: it proves that it is empty."""
    return max(1, -(-size // CHUNK))


def place_of(index: int) -> int:
    """Where this chunk begins in the sealed file."""
    return index * (CHUNK + TAG)


def sealed_size(size: int) -> int:
    return size + chunks_of(size) * TAG


def _bound(index: int, *, last: bool) -> bytes:
    return index.to_bytes(8, "big") + (b"\x01" if last else b"\x00")


class Sealer:
    """Takes a file in pieces of any length; `end` gives the rest and must be called once."""

    def __init__(self, data_key: DataKey) -> None:
        self._data_key, self._cipher = data_key, AESGCM(data_key.key)
        self._open = bytearray()
        self._index = 0

    def feed(self, data: bytes) -> bytes:
        self._open += data
        sealed = []
        while len(self._open) > CHUNK:  # what could be the last chunk waits for the end
            sealed.append(self._seal(bytes(self._open[:CHUNK]), last=False))
            del self._open[:CHUNK]
        return b"".join(sealed)

    def end(self) -> bytes:
        return self._seal(bytes(self._open), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> bytes:
        index, self._index = self._index, self._index + 1
        return self._cipher.encrypt(self._data_key.nonce(index), chunk, _bound(index, last=last))


class Opener:
    """Opens the chunks of a file of that size, in any order."""

    def __init__(self, data_key: DataKey, size: int) -> None:
        self._data_key, self._cipher = data_key, AESGCM(data_key.key)
        self._chunks, self._sealed_size = chunks_of(size), sealed_size(size)

    def place_after(self, end: int) -> int:
        """Where, in the sealed file, the chunk ends that holds what is before `end`."""
        return min(place_of(chunks_of(end)), self._sealed_size)

    def open(self, index: int, sealed: bytes) -> bytes:
        bound = _bound(index, last=index == self._chunks - 1)
        try:
            return self._cipher.decrypt(self._data_key.nonce(index), sealed, bound)
        except InvalidTag as error:
            raise DamagedError from error
