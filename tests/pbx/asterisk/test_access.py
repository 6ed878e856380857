"""Where an Asterisk is and how to sign in, as a switch's address and credentials say it."""

from typing import Any

import orjson
import pytest

from pbx.asterisk.access import Access, AccessError, access_of
from tenants.crypto import encrypt
from tenants.models import Switch

CREDENTIALS = {"ami_user": "voxledger", "ami_password": "secret"}


def switch(address: Any, credentials: Any = CREDENTIALS) -> Switch:
    return Switch(name="PBX", address=address, credentials=encrypt(orjson.dumps(credentials).decode()))


def test_a_host_and_a_user_are_enough() -> None:
    assert access_of(switch({"host": "pbx.test"})) == Access(
        host="pbx.test",
        ami_port=5038,
        ami_tls=False,
        ami_user="voxledger",
        ami_password="secret",
        ari_url="http://pbx.test:8088/ari",
        ari_user="voxledger",
        ari_password="secret",
    )


def test_everything_can_be_said() -> None:
    address = {"host": " 192.0.2.1 ", "ami_port": "5039", "ami_tls": True, "ari_url": "https://pbx.test/ari"}
    credentials = CREDENTIALS | {"ari_user": "ari", "ari_password": "other"}
    assert access_of(switch(address, credentials)) == Access(
        host="192.0.2.1",
        ami_port=5039,
        ami_tls=True,
        ami_user="voxledger",
        ami_password="secret",
        ari_url="https://pbx.test/ari",
        ari_user="ari",
        ari_password="other",
    )
    assert access_of(switch({"host": "h", "http_port": 80})).ari_url == "http://h:80/ari"


@pytest.mark.parametrize(
    ("address", "credentials", "sentence"),
    [
        ({}, CREDENTIALS, "The switch PBX has no host: fill it in under Switches."),
        ([], CREDENTIALS, "The switch PBX has no host: fill it in under Switches."),
        ({"host": 7}, CREDENTIALS, "The switch PBX has no host: fill it in under Switches."),
        ({"host": "h"}, {}, "The switch PBX has no ami_user: fill it in under Switches."),
        ({"host": "h"}, [], "The switch PBX has no ami_user: fill it in under Switches."),
        ({"host": "h"}, {"ami_user": "x"}, "The switch PBX has no ami_password: fill it in under Switches."),
        ({"host": "h", "ami_port": 70000}, CREDENTIALS, "The ami_port of the switch PBX is no port number."),
        ({"host": "h", "ami_port": "5o38"}, CREDENTIALS, "The ami_port of the switch PBX is no port number."),
        ({"host": "h", "http_port": True}, CREDENTIALS, "The http_port of the switch PBX is no port number."),
    ],
)
def test_what_is_missing_is_said(address: Any, credentials: Any, sentence: str) -> None:
    with pytest.raises(AccessError) as refusal:
        access_of(switch(address, credentials))
    assert str(refusal.value) == sentence


def test_credentials_of_another_installation_cannot_be_read() -> None:
    unreadable = switch({"host": "h"})
    unreadable.credentials = "gAAAA-not-ours"
    with pytest.raises(AccessError, match="enter them again"):
        access_of(unreadable)


def test_no_password_is_shown() -> None:
    assert "secret" not in repr(access_of(switch({"host": "h"})))
