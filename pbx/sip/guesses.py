"""Slows down who guesses passwords: after a few wrong ones an address waits for that account, and later for all.

And says what is to be noted of who does the same over and over, so that a flood fills no audit trail.
"""

from collections import OrderedDict, deque

WINDOW_SECONDS = 300.0
MOST_FOR_AN_ACCOUNT = 10  # wrong answers of one address for one account within the window
MOST_OF_AN_ADDRESS = 50
NOTED_EVERY_SECONDS = 60.0
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
    """What was noted lately: the same again within a minute is not noted twice."""

    def __init__(self) -> None:
        self._at: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def is_new(self, now: float, *what: str) -> bool:
        if now - self._at.get(what, float("-inf")) < NOTED_EVERY_SECONDS:
            return False
        self._at[what] = now
        self._at.move_to_end(what)
        while len(self._at) > REMEMBERED:
            self._at.popitem(last=False)
        return True
