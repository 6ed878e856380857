"""How many calls of REST a token may make, as the token's answers say it."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from pytest_django import Settings

from accounts import limiting
from accounts.limiting import Counter
from accounts.models import ApiToken, User
from tenants.crypto import token_hash
from tenants.models import Tenant

DOORS = ("/api/v1/users", "/api/v1/users/no-such", "/api/events/schemas/", "/api/schema/")


@pytest.fixture
def make_token(acme: Tenant, make_user: Callable[..., User]) -> Callable[[], dict[str, str]]:
    """The header of a token that no run before has used: Redis remembers."""
    user = make_user()

    def make() -> dict[str, str]:
        secret = secrets.token_hex()
        ApiToken.objects.create(user=user, name=secret, token_hash=token_hash(secret), hint="", scopes=[])
        return {"Authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock to some seconds after the beginning of a minute."""

    def at(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: 29_000_000 * 60.0 + seconds)

    at(18)
    return at


def told(response: Any) -> dict[str, str]:
    names = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After")
    return {name: response.headers[name] for name in names if name in response.headers}


@pytest.mark.parametrize("door", DOORS)
def test_every_answer_of_a_token_says_what_is_left(
    acme_client: Client, make_token: Callable[[], dict[str, str]], minute: object, door: str
) -> None:
    token = make_token()
    for left in ("4999", "4998"):
        said = told(acme_client.get(door, headers=token))
        assert said == {"RateLimit-Limit": "5000", "RateLimit-Remaining": left, "RateLimit-Reset": "42"}


def test_beyond_the_limit_is_refused_until_the_minute_ends(
    acme_client: Client, make_token: Callable[[], dict[str, str]], settings: Settings, minute: Callable[[float], None]
) -> None:
    settings.REST_CALLS_PER_MINUTE = 2
    token, other = make_token(), make_token()
    assert [acme_client.get(DOORS[0], headers=token).status_code for _ in range(3)] == [200, 200, 429]
    refused = acme_client.post(DOORS[0], {"username": "x"}, "application/json", headers=token)
    assert refused.json() == {
        "error": {
            "code": "rate_limited",
            "message": "This token may make 2 calls a minute. Try again in 42 s.",
            "details": {},
        }
    }
    assert told(refused) == {
        "RateLimit-Limit": "2", "RateLimit-Remaining": "0", "RateLimit-Reset": "42", "Retry-After": "42",
    }  # fmt: skip
    assert acme_client.get(DOORS[0], headers=other).status_code == 200
    minute(61)
    assert told(acme_client.get(DOORS[0], headers=token)) == {
        "RateLimit-Limit": "2", "RateLimit-Remaining": "1", "RateLimit-Reset": "59",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("urls", "door"), [("portal.urls_tenant", "/api/v1/company"), ("portal.urls_system", "/api/v1/settings")]
)
def test_openapi_describes_the_headers(urls: str, door: str) -> None:
    document = SchemaGenerator(urlconf=urls).get_schema(request=None, public=True)
    validate_schema(document)
    of_each = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
    assert list(document["components"]["headers"]) == [*of_each, "Retry-After"]
    responses = document["paths"][door]["get"]["responses"]
    assert {code: list(response.get("headers", {})) for code, response in responses.items()} == {
        "200": of_each, "400": of_each, "401": [], "403": of_each, "404": of_each, "429": [*of_each, "Retry-After"],
    }  # fmt: skip


def test_nobody_else_is_counted(acme_client: Client, make_token: Callable[[], dict[str, str]]) -> None:
    make_token()
    assert told(acme_client.get(DOORS[0], headers={"Authorization": "Bearer nonsense"})) == {}
    acme_client.force_login(User.objects.get(), "accounts.backends.PortalBackend")
    answer = acme_client.get(DOORS[0])
    assert (answer.status_code, told(answer)) == (200, {})


def test_without_redis_nobody_is_refused(
    acme_client: Client, make_token: Callable[[], dict[str, str]], settings: Settings, tmp_path: Any
) -> None:
    settings.REST_CALLS_PER_MINUTE = 1
    settings.REDIS_LOCATION = f"unix://{tmp_path}/none.sock"
    token = make_token()
    answers = [acme_client.get(DOORS[0], headers=token) for _ in range(3)]
    assert [(answer.status_code, told(answer)) for answer in answers] == [(200, {})] * 3


def test_a_redis_that_fails_is_not_asked_again_at_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    counter = Counter(f"unix://{tmp_path}/none.sock")
    key = f"test:{secrets.token_hex()}"
    assert counter.count(key, lasts_seconds=5) is None
    monkeypatch.setattr(counter, "_redis", limiting.redis.Redis.from_url(settings.REDIS_LOCATION))
    assert counter.count(key, lasts_seconds=5) is None
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert [counter.count(key, lasts_seconds=5) for _ in range(2)] == [1, 2]
