"""What the log says of recordings, as the pull door hands it out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from events.recording_messages import RecordingFact, RecordingFile, recording_message, tell
from tenants.changes import SYSTEM, Actor
from tenants.models import Tenant
from tests.events.conftest import AT

FILE = RecordingFile(
    duration_ms=6000, size=96044, sha256="ab" * 32, content_type="audio/wav", file_name="1_55_101_1.wav"
)
PAUSED = RecordingFact(
    type="recording_paused", at=AT, session_id="9007199254740993", cdr_id=77, recording_id="9007199254740995",
    medium="audio", segment=2, reason="*48", actor=Actor(kind="phone", name="101"),
)  # fmt: skip
READY = replace(PAUSED, type="recording_ready", segment=None, reason="", actor=SYSTEM, file=FILE)


def recorded() -> list[RecordingFact]:
    """One message of each type, in the order in which they come."""
    return [
        replace(PAUSED, type="recording_started"),
        PAUSED,
        replace(PAUSED, type="recording_resumed", reason="*49"),
        replace(PAUSED, type="recording_stopped", reason=""),
        READY,
        replace(PAUSED, type="recording_failed", medium="video", reason="the file is empty"),
        replace(PAUSED, type="recording_deleted", segment=None, actor=Actor(kind="user", name="admin")),
    ]


@pytest.fixture
def pull(acme_client: Client, make_token: Callable[..., str]) -> Callable[[], list[dict[str, Any]]]:
    headers = {"authorization": f"Bearer {make_token()}"}
    return lambda: list(acme_client.get("/api/v1/events", headers=headers).json()["items"])


def told(tenant: Tenant, *facts: RecordingFact) -> None:
    with transaction.atomic():
        tell(tenant, facts)


def test_a_pause_is_told_with_who_and_why(acme: Tenant, pull: Callable[[], list[dict[str, Any]]]) -> None:
    acme.event_types = ["recording_paused"]
    told(acme, PAUSED)
    assert pull() == [
        {
            "event_type": "recording_paused",
            "time": "1772366400",
            "session_id": "9007199254740993",
            "cdr_id": "77",
            "tenant_id": str(acme.pk),
            "recording_id": "9007199254740995",
            "medium": "audio",
            "segment": "2",
            "reason": "*48",
            "actor": "101",
            "actor_kind": "phone",
            "event_id": "1",
        }
    ]


def test_a_file_is_told_with_its_address_and_hash(acme: Tenant, pull: Callable[[], list[dict[str, Any]]]) -> None:
    told(acme, READY)
    (document,) = pull()
    assert {name: document[name] for name in list(document)[7:]} == {
        "segment": "",
        "reason": "",
        "actor": "Voxledger",
        "actor_kind": "system",
        "duration_ms": "6000",
        "size": "96044",
        "sha256": "ab" * 32,
        "content_type": "audio/wav",
        "file_name": "1_55_101_1.wav",
        "url": "/api/v1/recordings/9007199254740995/file",
        "event_id": "1",
    }


def test_steps_of_a_recording_are_kept_once_asked_for_and_its_files_always(
    acme: Tenant, pull: Callable[[], list[dict[str, Any]]]
) -> None:
    acme.event_types = ["recording_stopped"]
    told(acme, *recorded())
    assert [item["event_type"] for item in pull()] == [
        "recording_stopped", "recording_ready", "recording_failed", "recording_deleted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fact",
    [replace(READY, file=None), replace(PAUSED, file=FILE), replace(PAUSED, type="recording_failed", reason="")],
)
def test_a_message_that_its_contract_forbids_is_a_mistake_of_ours(acme: Tenant, fact: RecordingFact) -> None:
    with pytest.raises(ValueError, match="recording_"):
        recording_message(fact, acme)
