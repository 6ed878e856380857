"""Slows down who guesses passwords: after a few wrong ones an address waits for that account, and later for all.

And says what is to be noted of it, so that a flood fills no audit trail.
"""

from collections import Counter, OrderedDict, deque
from threading import Lock

WINDOW_SECONDS = 300.0
MOST_FOR_AN_ACCOUNT = 10  # wrong answers of one address for one account within the window
MOST_OF_AN_ADDRESS = 50
NOTED_EVERY_SECONDS = 60.0
MOST_NOTED_OF_A_SOURCE = 10  # within that time
MOST_NOTED_IN_ALL = 60  # of all sources, whose addresses may be made up
MOST_GUESSES_NOTED = 600  # of all sources; who guesses receives at his address
REMEMBERED = 50_000  # addresses and accounts; the ones silent longest are forgotten first


class Guesses:
    """Nobody else can lock an account: what counts is always the address too."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def note(self, source: str, account: str, now: float) -> None:
        for key, most in ((source, account), MOST_FOR_AN_ACCOUNT), ((source, ""), MOST_OF_AN_ADDRESS):
            self._wrong.setdefault(key, deque(maxlen=most)).append(now)
            self._wrong.move_to_end(key)
        while len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def wait_of(self, source: str, account: str, now: float) -> int:
        """Seconds until the next answer is looked at; 0: at once."""
        waits = [self._wait(key, now) for key in ((source, account), (source, ""))]
        return max(waits)

    def _wait(self, key: tuple[str, str], now: float) -> int:
        wrong = self._wrong.get(key)
        if wrong is None or len(wrong) < (wrong.maxlen or 0):
            return 0
        return max(0, round(wrong[0] + WINDOW_SECONDS - now))


class Noted:
    """What is noted of attempts that prove nothing: of one source and in all so much a minute, the rest is counted.

    Nothing that a stranger chooses, such as a name, makes an attempt another one.
    """

    def __init__(self, of_a_source: int = MOST_NOTED_OF_A_SOURCE, in_all: int = MOST_NOTED_IN_ALL) -> None:
        self._of_a_source, self._in_all, self._lock = of_a_source, in_all, Lock()
        self._since, self._by_source = float("-inf"), Counter[str]()
        self._told: set[tuple[str, str, str]] = set()
        self._left_out = Counter[str]()

    def left_out(self, now: float, schema: str, source: str, once: str = "") -> int | None:
        """None: this one is left out, too. Else how many that trail has not been told since the last note.

        What bears the same `once` is the same again, and noted once a minute.
        """
        with self._lock:
            if not 0 <= now - self._since < NOTED_EVERY_SECONDS:
                self._since, self._by_source, self._told = now, Counter(), set()
            if not self._has_room(source) or (once and (schema, source, once) in self._told):
                self._left_out[schema] += 1
                return None
            self._told.add((schema, source, once))
            self._by_source[source] += 1
            return self._left_out.pop(schema, 0)

    def _has_room(self, source: str) -> bool:
        return self._by_source[source] < self._of_a_source and self._by_source.total() < self._in_all
