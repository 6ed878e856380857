"""A recording switch that is changed acts on the calls in progress, once for however many changes come together."""

import redis
import structlog
from django.core.cache import cache
from django.db import transaction

from tenants.changes import Change
from tenants.models import Tenant
from tenants.schemas import current_schema, in_schema

GATHER_SECONDS = 1  # changes that come within this act together
_KEY = "recordings:look-again"
_SWITCHES = frozenset(
    {
        "record_audio",
        "record_video",
        "enable_extension_audio_recording",
        "enable_extension_video_recording",
        "record_external_calls",
    }
)

log = structlog.get_logger(__name__)


def on_change(change: Change) -> None:
    """Listens to `tenants.changes`."""
    if _SWITCHES.isdisjoint(change.after):
        return
    for schema in _schemas(change):
        transaction.on_commit(lambda schema=schema: _announce(schema))  # type: ignore[misc]


def is_announced_no_more() -> None:
    """The task says this before it reads: a change after it needs another one."""
    try:
        cache.delete(_KEY)
    except redis.RedisError as error:
        log.warning("changes are not gathered", error=type(error).__name__)


def _schemas(change: Change) -> list[str]:
    if current_schema() != "public":
        return [current_schema()]
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
    if change.action == "tenant.changed":
        active = active.filter(pk=int(change.subject_id))
    return list(active.values_list("schema_name", flat=True))


def _announce(schema: str) -> None:
    from recordings.tasks import look_again  # the tasks stand on this module

    try:
        with in_schema(schema):  # a cache key is the schema's own
            is_first = cache.add(_KEY, 1, timeout=60)
    except redis.RedisError:
        is_first = True
    if is_first:
        look_again.apply_async((schema,), countdown=GATHER_SECONDS)
