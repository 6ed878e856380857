from pathlib import Path
from typing import Any

import orjson
import pytest

from pbx.freeswitch.access import Access, AccessError, access_of
from tenants.crypto import encrypt
from tenants.models import Switch

ADDRESS = {"host": " 192.0.2.10 "}
SECRET = {"password": "let me in"}


def switch(address: Any, credentials: Any) -> Switch:
    secret = encrypt(orjson.dumps(credentials).decode()) if credentials else ""
    return Switch(name="PBX", kind=Switch.Kind.FREESWITCH, address=address, credentials=secret)


def test_a_host_and_a_password_are_enough() -> None:
    access = access_of(switch(ADDRESS, SECRET))
    assert access == Access("192.0.2.10", 8021, "let me in", "/var/lib/freeswitch/recordings/voxledger", None, None)
    assert repr(access) == "Access(192.0.2.10:8021)"


def test_everything_can_be_elsewhere() -> None:
    more = {"port": "18021", "recordings_path": "/srv/rec/", "recordings_folder": "/mnt/rec", "cdr_folder": "/mnt/cdr"}
    access = access_of(switch(ADDRESS | more, SECRET))
    assert (access.port, access.recordings_path) == (18021, "/srv/rec")
    assert (access.recordings_folder, access.cdr_folder) == (Path("/mnt/rec"), Path("/mnt/cdr"))


@pytest.mark.parametrize(
    ("address", "credentials", "sentence"),
    [
        ({}, SECRET, "The switch PBX has no host: fill it in under Switches."),
        ([], SECRET, "The switch PBX has no host: fill it in under Switches."),
        (ADDRESS, {}, "The switch PBX has no password: fill it in under Switches."),
        (ADDRESS, ["x"], "The switch PBX has no password: fill it in under Switches."),
        (ADDRESS, {"password": "a\n\nexit"}, "The password of the switch PBX has a line break in it."),
        (ADDRESS | {"port": 0}, SECRET, ""),
        (ADDRESS | {"port": 70000}, SECRET, "The port of the switch PBX is no port number."),
        (ADDRESS | {"port": True}, SECRET, "The port of the switch PBX is no port number."),
        (
            ADDRESS | {"recordings_path": "rec files"},
            SECRET,
            "The recordings_path of the switch PBX must be a full path of letters, digits and any of . _ - and /.",
        ),
        (ADDRESS | {"cdr_folder": "cdr"}, SECRET, "The cdr_folder of the switch PBX must be a full path."),
    ],
)
def test_what_is_missing_or_odd_is_said(address: Any, credentials: Any, sentence: str) -> None:
    if not sentence:  # a port of 0 is one that was left out
        assert access_of(switch(address, credentials)).port == 8021
        return
    with pytest.raises(AccessError) as refused:
        access_of(switch(address, credentials))
    assert str(refused.value) == sentence


def test_credentials_of_another_key_are_asked_for_again() -> None:
    unreadable = Switch(name="PBX", kind=Switch.Kind.FREESWITCH, address=ADDRESS, credentials="gAAAA")
    with pytest.raises(AccessError) as refused:
        access_of(unreadable)
    assert str(refused.value) == "The credentials of the switch PBX cannot be read: enter them again."
