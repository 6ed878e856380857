"""The quarantine of a switch has an end: what came first stays, the rest is refused with a word, and an alarm."""

import io
import re
from datetime import timedelta
from typing import Any

import orjson
import pytest
import structlog
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.roles import Role
from pbx import intake
from pbx.models import HeldEvent, Quarantined
from recordings import files, vault
from recordings.files import FileRefusedError
from recordings.models import RecordingFile
from tenants.crypto import token_hash
from tenants.models import Switch
from tests.pbx.conftest import CDRS, EVENTS, Post, at, started
from tests.recordings.media import spoken

FULL = (
    "It was not kept: 3 rejected ones of this switch wait in quarantine already. Settle them there, then send it again."
)


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    settings.QUARANTINE_MAX = 3


@pytest.fixture
def system(system_client: Client) -> Client:
    system_client.force_login(User.objects.create_user("root", "a password", role=Role.SYSTEM))
    return system_client


def nowhere(name: str) -> dict[str, Any]:
    """A call of no tenant."""
    return started(name, domain="nobody.test")


def answers(post: Post, *events: Any) -> list[str]:
    results = post(EVENTS, orjson.dumps({"events": list(events)})).json()["results"]  # type: ignore[attr-defined]
    return [each.get("error", {}).get("code") or each["status"] for each in results]


def kept() -> list[str]:
    return list(Quarantined.objects.filter(state="waiting").order_by("id").values_list("session_id", flat=True))


def test_what_came_first_stays_and_the_rest_is_told_so(post: Post, http_switch: Switch) -> None:
    assert answers(post, nowhere("a"), nowhere("b")) == ["unknown_tenant"] * 2
    with structlog.testing.capture_logs() as logs:
        answered = post(EVENTS, orjson.dumps({"events": [nowhere("c"), nowhere("d"), nowhere("a")]}))
    results = answered.json()["results"]  # type: ignore[attr-defined]
    assert [each["error"]["code"] for each in results] == ["unknown_tenant", "quarantine_full", "unknown_tenant"]
    assert results[1]["error"]["message"].endswith(FULL)
    assert kept() == ["a", "b", "c"]
    assert next(each for each in logs if each["event"] == "quarantine full")["log_level"] == "error"
    assert answers(post, {"id": 5}) == ["quarantine_full"], "nor what cannot even be read"
    assert answers(post, nowhere("a")) == ["unknown_tenant"], "what waits there is kept, however often it comes"
    assert answers(post, started("good")) == ["applied"], "what can be used needs no room there"


def test_another_switch_has_its_own_room(post: Post, http_switch: Switch, system_client: Client) -> None:
    assert answers(post, *(nowhere(each) for each in "abcd"))[-1] == "quarantine_full"
    Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))
    told = post(EVENTS, orjson.dumps({"events": [nowhere("e")]}), headers={"Authorization": "Bearer other"})
    assert told.json()["results"][0]["error"]["code"] == "unknown_tenant"  # type: ignore[attr-defined]
    assert kept() == ["a", "b", "c", "e"]


def test_finished_calls_that_find_no_room_are_told_so(post: Post, http_switch: Switch) -> None:
    documents = [{"session_id": name, "callee_domain": "nobody.test"} for name in "abcd"]
    results = post(CDRS, orjson.dumps(documents)).json()["results"]  # type: ignore[attr-defined]
    codes = [each["error"]["code"] for each in results]
    assert (codes[3], len(set(codes[:3])), "quarantine_full" in codes[:3]) == ("quarantine_full", 1, False)
    assert kept() == ["a", "b", "c"]


def test_a_file_that_finds_no_room_leaves_nothing(
    post: Post, http_switch: Switch, settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    answers(post, *(nowhere(each) for each in "abc"))
    with pytest.raises(FileRefusedError) as refused:
        files.receive(
            http_switch, "77", 1, io.BytesIO(spoken()), content_type="audio/wav", digests={}, expected_size=None
        )
    assert (refused.value.code, refused.value.kept) == ("quarantine_full", None)
    assert refused.value.message == f"This switch was told of no recording 77. {FULL}"
    assert (RecordingFile.objects.count(), list(vault.found())) == (0, [])


def test_the_page_names_the_switch_until_there_is_room(post: Post, http_switch: Switch, system: Client) -> None:
    answers(post, nowhere("a"), nowhere("b"))
    assert "nothing more of" not in system.get("/quarantine").content.decode()
    answers(post, nowhere("c"))
    page = re.sub(r"\s+", " ", system.get("/quarantine").content.decode())
    assert "Test switch: 3 rejected ones wait here, so nothing more of it is kept." in page
    system.post("/quarantine/discard", {"code": "unknown_tenant"})
    assert answers(post, nowhere("d")) == ["unknown_tenant"]
    assert kept() == ["d"]


def ringing(session_id: str) -> dict[str, Any]:
    """Of a call whose start did not come."""
    told = {"id": f"{session_id}-r", "type": "target.ringing", "session_id": session_id}
    return told | {"target_id": "t1", "at": at(2)}


def test_events_that_wait_for_their_start_have_an_end_too(post: Post, http_switch: Switch) -> None:
    assert answers(post, *(ringing(each) for each in "abcd")) == ["held", "held", "held", "too_many_held"]
    assert answers(post, ringing("a"), ringing("e")) == ["duplicate", "too_many_held"]
    assert answers(post, started("a")) == ["applied"]
    assert answers(post, ringing("e")) == ["held"]


def test_what_was_held_is_never_lost_to_a_full_quarantine(post: Post, http_switch: Switch) -> None:
    answers(post, nowhere("x"), nowhere("y"))
    answers(post, *(ringing(each) for each in "abc"))
    HeldEvent.objects.update(received_at=timezone.now() - timedelta(hours=1))
    intake.sweep_held(timezone.now(), patience=timedelta(minutes=1))
    assert (len(kept()), HeldEvent.objects.count()) == (3, 2)
    intake.sweep_held(timezone.now(), patience=timedelta(minutes=1))
    assert (len(kept()), HeldEvent.objects.count()) == (3, 2)
    Quarantined.objects.filter(session_id__in=["x", "y"]).delete()
    intake.sweep_held(timezone.now(), patience=timedelta(minutes=1))
    assert (sorted(kept()), HeldEvent.objects.count()) == (["a", "b", "c"], 0)
