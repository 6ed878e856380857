from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from portal.checks import problems, refuse_if_unsafe


def _safe(settings: Any) -> None:
    settings.PRODUCTION = True
    settings.SECRET_KEY = "x" * 50
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["portal.example.org"]
    settings.DATABASE_URL = "postgres://db/voxledger"
    settings.REDIS_URL = "redis://redis/0"


def test_safe_production_starts(settings: Any) -> None:
    _safe(settings)
    assert problems() == []
    refuse_if_unsafe()


def test_a_demo_may_be_what_it_is(settings: Any) -> None:
    settings.PRODUCTION, settings.SECRET_KEY, settings.DEBUG = False, settings.DEMO_SECRET, True
    assert problems() == []


def test_each_unsafe_setting_is_one_sentence(settings: Any) -> None:
    _safe(settings)
    settings.SECRET_KEY = settings.DEMO_SECRET
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["portal.example.org", "*"]
    settings.DATABASE_URL = settings.REDIS_URL = ""
    assert [sentence.split()[0] for sentence in problems()] == [
        "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL",
    ]  # fmt: skip
    with pytest.raises(ImproperlyConfigured):
        refuse_if_unsafe()


def test_a_short_secret_is_unsafe(settings: Any) -> None:
    _safe(settings)
    settings.SECRET_KEY = "short"
    assert problems() == ["SECRET_KEY is too short: use at least 32 random characters."]


def test_every_command_meets_the_checks(settings: Any) -> None:
    _safe(settings)
    settings.DEBUG, settings.SYSTEM_HOST = True, "localhost"
    found = {message.id: str(message.msg) for message in run_checks() if str(message.id).startswith("portal.")}
    assert found == {
        "portal.E001": "DEBUG is on: it shows settings and code to strangers, so turn it off.",
        "portal.W001": "SYSTEM_HOST is localhost: set it to the name under which people reach this portal.",
    }
