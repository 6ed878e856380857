"""Ids that grow with time and are unlikely to meet those of another installation."""

import secrets
import time

_EPOCH_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z
_RANDOM_BITS = 22


def new_id() -> int:
    """A 63-bit id: 41 bits of milliseconds since 2020, 22 random ones. The database's key decides on a clash."""
    elapsed_ms = time.time_ns() // 1_000_000 - _EPOCH_MS
    return (elapsed_ms << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
