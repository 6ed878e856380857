"""Ids that grow with time and are unlikely to meet those of another installation."""

import secrets
import threading
import time

_EPOCH_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z
_RANDOM_BITS = 22
_STEP = 4096  # at most, from one id to the next of the same millisecond

_turn = threading.Lock()
_last = 0


def new_id() -> int:
    """A 63-bit id: 41 bits of milliseconds since 2020, 22 random ones. The database's key decides on a clash.

    Those of one process grow from each to the next, within a millisecond and when the clock is set back too.
    """
    global _last
    elapsed_ms = time.time_ns() // 1_000_000 - _EPOCH_MS
    found = (elapsed_ms << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    with _turn:
        _last = found if found > _last else _last + 1 + secrets.randbelow(_STEP)
        return _last
