"""What a production installation must have set before it may start (`VOXLEDGER_ENV=production`)."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

_SECRET_LENGTH = 32


def problems() -> list[str]:
    """One sentence for each thing that forbids production; empty when all is well, or this is no production."""
    if not settings.PRODUCTION:
        return []
    found = []
    if settings.SECRET_KEY == settings.DEMO_SECRET:
        found.append("SECRET_KEY is not set: give this installation a long random secret of its own.")
    elif len(settings.SECRET_KEY) < _SECRET_LENGTH:
        found.append(f"SECRET_KEY is too short: use at least {_SECRET_LENGTH} random characters.")
    if settings.DEBUG:
        found.append("DEBUG is on: it shows settings and code to strangers, so turn it off.")
    if "*" in settings.ALLOWED_HOSTS:
        found.append("ALLOWED_HOSTS holds '*': name the hosts this portal answers for.")
    if not settings.DATABASE_URL:
        found.append("DATABASE_URL is not set: the embedded PostgreSQL is for trying out only.")
    if not settings.REDIS_URL:
        found.append("REDIS_URL is not set: the embedded Valkey is for trying out only.")
    return found


def refuse_if_unsafe() -> None:
    """For the doors that run no system checks: the ASGI application and the Celery worker."""
    if found := problems():
        raise ImproperlyConfigured("This production installation does not start:\n" + "\n".join(found))


@register()
def production(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = [Error(sentence, id="portal.E001") for sentence in problems()]
    if settings.PRODUCTION and settings.SYSTEM_HOST == "localhost":
        messages.append(
            Warning(
                "SYSTEM_HOST is localhost: set it to the name under which people reach this portal.", id="portal.W001"
            )
        )
    return messages
