"""A new key of the installation: every secret at rest is encrypted by it, however often the command is broken off."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from events import catcher, endpoints
from events.endpoints import Settings
from events.models import Endpoint
from recordings.models import Recording
from tenants import rotation
from tenants.changes import SYSTEM
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema
from tenants.switches import create_switch, credentials_of
from tests.recordings.played import content_of, make_ready

URL = "https://93.184.216.34/hook"


@pytest.fixture
def keyed(settings: Any) -> Any:
    settings.RECORDING_ENCRYPTION, settings.ENCRYPTION_KEYS = True, ["first key"]
    return settings


@pytest.fixture
def secrets(keyed: Any, acme: Tenant, globex: Tenant) -> None:
    """Eleven: of a switch, two endpoints, the catcher and the recordings of acme, an endpoint and those of globex."""
    create_switch(SYSTEM, {"name": "PBX", "kind": "asterisk", "credentials": {"ami_password": "of the switch"}})
    basic = Settings(URL, auth=Endpoint.Auth.BASIC, username="u", password="of basic")
    endpoint, _ = endpoints.create_endpoint(basic, actor=SYSTEM)
    endpoints.rotate_secret(endpoint, actor=SYSTEM)
    endpoints.rotate_secret(endpoint, actor=SYSTEM)
    endpoints.create_endpoint(Settings(URL, auth=Endpoint.Auth.BEARER, token="of-bearer"), actor=SYSTEM)
    catcher.switch_on(actor=SYSTEM)
    make_ready(1.0)
    with in_schema("globex"):
        digest = Settings(URL, auth=Endpoint.Auth.DIGEST, username="u", password="of digest")
        endpoints.create_endpoint(digest, actor=SYSTEM)
        make_ready(1.0)


def told() -> list[object]:
    """Every secret in the clear."""
    found: list[object] = [credentials_of(Switch.objects.get(name="PBX"))]
    for name in ("acme", "globex"):
        with in_schema(name):
            for endpoint in Endpoint.objects.order_by("id"):
                found += [endpoints.credentials_of(endpoint), endpoints.signing_keys(endpoint, timezone.now())]
            if there := catcher.current_catcher():
                found.append(catcher.address_of(there))
            found.append(content_of(Recording.objects.get()))
    return found


def rotate() -> str:
    out = io.StringIO()
    call_command("rotate_keys", stdout=out)
    connection.set_schema("acme")
    return out.getvalue()


def test_every_secret_opens_with_the_new_key_alone(keyed: Any, secrets: None) -> None:
    before = told()
    keyed.ENCRYPTION_KEYS = ["second key", "first key"]
    assert rotate() == "11 secrets encrypted anew by the newest of 2 keys, 0 were so already.\n"
    assert rotate() == "0 secrets encrypted anew by the newest of 2 keys, 11 were so already.\n"
    keyed.ENCRYPTION_KEYS = ["second key"]
    assert told() == before


def test_a_rotation_that_was_broken_off_is_ended_by_the_next(
    keyed: Any, secrets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, done = told(), list[str]()
    keyed.ENCRYPTION_KEYS = ["second key", "first key"]
    whole = rotation.crypto.rotate

    def killed(stored: str) -> str:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(stored)
        return whole(stored)

    monkeypatch.setattr(rotation.crypto, "rotate", killed)
    monkeypatch.setattr(rotation, "AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        rotate()
    connection.set_schema("acme")
    assert told() == before, "what is half way is readable by both keys"
    monkeypatch.setattr(rotation.crypto, "rotate", whole)
    assert rotate().startswith("7 secrets encrypted anew")
    keyed.ENCRYPTION_KEYS = ["second key"]
    assert told() == before


def test_a_secret_that_is_changed_meanwhile_keeps_its_change(
    keyed: Any, secrets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed.ENCRYPTION_KEYS = ["second key", "first key"]
    whole = rotation.crypto.rotate

    def overtaken(stored: str) -> str:
        again = whole(stored)
        with in_schema("globex"):
            endpoint = Endpoint.objects.get()
            if endpoint.password == stored:
                changed = Settings(URL, auth=Endpoint.Auth.DIGEST, username="u", password="a newer one")
                endpoints.change_endpoint(endpoint, changed, actor=SYSTEM)
        return again

    monkeypatch.setattr(rotation.crypto, "rotate", overtaken)
    rotate()
    keyed.ENCRYPTION_KEYS = ["second key"]
    with in_schema("globex"):
        assert endpoints.credentials_of(Endpoint.objects.get()).password == "a newer one"


def test_what_no_key_opens_is_named_and_holds_up_nothing_else(keyed: Any, secrets: None) -> None:
    keyed.ENCRYPTION_KEYS = ["lost key"]
    with in_schema("globex"):
        endpoint = Endpoint.objects.get()
        lost = Settings(URL, auth=Endpoint.Auth.DIGEST, username="u", password="lost!!")
        endpoints.change_endpoint(endpoint, lost, actor=SYSTEM)
        password = Endpoint.objects.get().password
    keyed.ENCRYPTION_KEYS = ["second key", "first key"]
    out = io.StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("rotate_keys", stdout=out)
    assert out.getvalue().splitlines() == [
        "10 secrets encrypted anew by the newest of 2 keys, 0 were so already.",
        f"No key of ENCRYPTION_KEYS opens globex: password of an endpoint ({endpoint.pk}).",
    ]
    assert str(refused.value).startswith("1 secret could not be read. Name the key")
    with in_schema("globex"):
        assert Endpoint.objects.get().password == password
