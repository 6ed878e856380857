"""Calls as a switch tells them, and the Switch API as a switch uses it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from pbx.models import Quarantined
from tenants.models import Switch

START = datetime(2026, 3, 22, 9, 0, 0, tzinfo=UTC)
EVENTS = "/api/switch/v1/events"
CDRS = "/api/switch/v1/cdrs"
BEARER = {"Authorization": "Bearer switch-token"}


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def started(session_id: str = "s1", **more: Any) -> dict[str, Any]:
    return {
        "id": f"{session_id}-1",
        "type": "call.started",
        "session_id": session_id,
        "at": at(0),
        "domain": "acme.test",
        "caller": {"number": "101", "display_name": "Ada", "kind": "extension"},
        "callee": {"number": "102", "kind": "extension"},
    } | more


def call(session_id: str = "s1", **more: Any) -> list[dict[str, Any]]:
    """101 calls 102, who answers after five seconds and hangs up at twenty."""
    common = {"session_id": session_id}
    target = common | {"target_id": "t1"}
    return [
        started(session_id, **more),
        target | {"id": f"{session_id}-2", "type": "target.added", "at": at(1)}
        | {"callee": {"number": "102", "display_name": "Bob", "kind": "extension"}},
        target | {"id": f"{session_id}-3", "type": "target.ringing", "at": at(2)},
        target | {"id": f"{session_id}-4", "type": "target.answered", "at": at(5)},
        target
        | {"id": f"{session_id}-5", "type": "target.ended", "at": at(20)}
        | {"end_reason": "callee_disconnect", "status_code": 0},
        common
        | {"id": f"{session_id}-6", "type": "call.ended", "at": at(20)}
        | {"ended_reason": "callee_disconnect", "status_code": 0},
    ]  # fmt: skip


Post = Callable[..., HttpResponse]


@pytest.fixture
def send(system_client: Client, http_switch: Switch) -> Callable[[list[Any]], list[dict[str, Any]]]:
    """Sends events and returns the results."""

    def send_events(events: list[Any]) -> list[dict[str, Any]]:
        answer = system_client.post(
            EVENTS, json.dumps({"events": events}), content_type="application/json", headers=BEARER
        )
        assert answer.status_code == 200, answer.content
        return list(answer.json()["results"])

    return send_events


@pytest.fixture
def post(system_client: Client, http_switch: Switch) -> Post:
    def post_bytes(path: str, body: bytes, **more: Any) -> HttpResponse:
        more.setdefault("headers", BEARER)
        more.setdefault("content_type", "application/json")
        return system_client.post(path, body, **more)  # type: ignore[return-value]

    return post_bytes


def said(results: list[dict[str, Any]]) -> list[str]:
    """Each result in a word: its status, or the code of its error."""
    return [result.get("error", {}).get("code") or result["status"] for result in results]


def quarantined() -> list[tuple[str, str, bytes]]:
    connection.set_schema_to_public()
    rows = Quarantined.objects.filter(state="waiting").order_by("id")
    return [(row.code, row.session_id, bytes(row.raw)) for row in rows]
