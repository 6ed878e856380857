"""What a test of launched calls needs: a switch that is there, and one that answers in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.utils import timezone

from tenants import outbox
from tenants.models import Switch, SwitchCommand

PATIENCE = 60.0  # seconds that a busy test machine may take


def fetches_commands(switch: Switch) -> Switch:
    """As a switch that asks for its commands is known to."""
    Switch.objects.filter(pk=switch.pk).update(connector_seen_at=timezone.now())
    switch.refresh_from_db()
    return switch


@contextmanager
def answering(switch: Switch, work: Callable[[SwitchCommand], None]) -> Iterator[None]:
    """Meanwhile a thread hands the first command it finds to `work`."""
    is_over = threading.Event()

    def look() -> None:
        try:
            deadline = time.monotonic() + PATIENCE
            while not is_over.is_set() and time.monotonic() < deadline:
                if rows := outbox.pending_for(switch):
                    work(rows[0])
                    return
                time.sleep(0.02)
        finally:
            connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def confirming(switch: Switch, state: str = "done", reason: str = "") -> Callable[[SwitchCommand], Any]:
    return lambda row: outbox.confirm(switch, row.pk, SwitchCommand.State(state), reason)
