"""How long to wait before the next try: longer each time, up to a limit, and never at the same moment as others."""

import random


class Backoff:
    def __init__(self, *, first: float = 0.5, limit: float = 30.0) -> None:
        self._first = first
        self._limit = limit
        self._tries = 0

    def next(self) -> float:
        """Seconds, of which half are chance."""
        longest = min(self._limit, self._first * float(2 ** min(self._tries, 16)))
        self._tries += 1
        return longest * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        self._tries = 0
