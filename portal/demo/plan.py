"""What the demo consists of. Names are made up; numbers and domains are of those set aside for that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accounts.roles import Role

SIMULATOR = "Simulator"
HTTP_SWITCH = "Demo switch"
TOKEN = "Demo"  # noqa: S105 - the name of the API tokens


@dataclass(frozen=True)
class Person:
    username: str
    display_name: str
    role: Role


@dataclass(frozen=True)
class Number:
    number: str
    display_name: str
    username: str = ""
    record_audio: bool = False
    record_video: bool = False


@dataclass(frozen=True)
class DemoTenant:
    host: str
    name: str
    sip_domain: str
    time_zone: str
    currency: str
    trunk: str
    dids: tuple[str, ...]
    people: tuple[Person, ...]
    extensions: tuple[Number, ...]
    options: Mapping[str, Any]  # of Company > General


TENANTS = (
    DemoTenant(
        host="acme",
        name="Acme Fruit",
        sip_domain="acme.test",
        time_zone="Europe/Berlin",
        currency="EUR",
        trunk="Acme line",
        dids=("12025550110", "12025550111", "12025550112"),
        people=(
            Person("manager", "Maria Jansen", Role.QUEUE_MANAGER),
            Person("oliver", "Oliver Grant", Role.USER),
        ),
        extensions=(
            Number("101", "Anna Keller"),
            Number("102", "Ben Okafor", record_audio=True),
            Number("103", "Oliver Grant", username="oliver"),
            Number("104", "Dina Castro", record_audio=True, record_video=True),
            Number("105", "Front Desk"),
        ),
        options={},
    ),
    DemoTenant(
        host="globex",
        name="Globex Travel",
        sip_domain="globex.test",
        time_zone="America/New_York",
        currency="USD",
        trunk="Globex line",
        dids=("13125550140", "13125550141", "13125550142"),
        people=(
            Person("manager", "Ravi Menon", Role.QUEUE_MANAGER),
            Person("sofia", "Sofia Lind", Role.USER),
        ),
        extensions=(
            Number("101", "Sofia Lind", username="sofia"),
            Number("102", "Tomas Novak", record_audio=True),
            Number("103", "Yuki Mori", record_video=True),
            Number("104", "Lena Fischer"),
            Number("105", "Reservations", record_audio=True),
        ),
        options={"enable_extension_audio_recording": True, "record_dual_tracks": True, "pause_style": "silence"},
    ),
)
