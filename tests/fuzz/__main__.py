"""Feeds the parsers for a minute, or as long as told: `make fuzz`. A crash prints the bytes, a hang where it hangs."""

import argparse
import faulthandler
import os
import resource
import sys
import time
from collections import Counter

HANG_SECONDS = 60  # nothing comes back for so long: it hangs, also on a busy machine
AT_ONCE = 200  # examples of one parser before the next one's turn
GROWTH_MAX_MB = 200  # beyond what each parser has had once; what Hypothesis itself keeps is a part of it


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    asked.add_argument("--seconds", type=float, default=60.0)
    seconds: float = asked.parse_args().seconds
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    import django

    django.setup()
    from hypothesis import HealthCheck, settings

    from tests.fuzz.properties import PROPERTIES

    often = settings(
        max_examples=AT_ONCE, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    feeding = [often(fed) for fed in PROPERTIES]
    rounds: Counter[str] = Counter()
    began, first_peak = time.monotonic(), 0
    while time.monotonic() - began < seconds or not first_peak:
        for fed in feeding:
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            fed()
            rounds[fed.__name__] += 1
        first_peak = first_peak or _peak_mb()
    faulthandler.cancel_dump_traceback_later()
    grown = _peak_mb() - first_peak
    for name, count in rounds.items():
        say(f"{name:16} {count * AT_ONCE:8,} examples")
    say(f"{time.monotonic() - began:.0f} s, {grown} MB grown")
    if grown > GROWTH_MAX_MB:
        say(f"It may grow by {GROWTH_MAX_MB} MB at most.")
    return int(grown > GROWTH_MAX_MB)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
