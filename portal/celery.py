"""The Celery application; tasks are found in each room's `tasks.py`, its `BEAT` is its share of the timetable."""

import os
from importlib import import_module
from typing import Any

from celery import Celery, signals
from celery.beat import PersistentScheduler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

TIMETABLES = ("portal.tasks", "tenants.tasks", "events.tasks", "cdr.tasks", "recordings.tasks", "pbx.tasks")

app = Celery("voxledger")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def timetable() -> dict[str, dict[str, Any]]:
    """What the rooms want done again and again. A name stands once."""
    merged: dict[str, dict[str, Any]] = {}
    for module in TIMETABLES:
        for name, entry in getattr(import_module(module), "BEAT", {}).items():
            if name in merged:
                raise ValueError(f"{name} stands in two timetables")
            merged[name] = entry
    return merged


class Scheduler(PersistentScheduler):
    """Remembers across restarts when each entry last ran."""

    def setup_schedule(self) -> None:
        self.app.conf.beat_schedule = timetable()
        super().setup_schedule()


@signals.celeryd_init.connect
@signals.beat_init.connect
def _refuse_if_unsafe(**_: Any) -> None:
    from portal.checks import problems  # needs Django, which importing this module must not set up

    if found := problems():
        raise SystemExit("\n".join(found))


@signals.setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """A receiver here keeps Celery from configuring logging; Django has done it by `portal.logs`."""
