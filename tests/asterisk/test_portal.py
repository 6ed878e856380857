"""The main job, as a whole: `manage.py up`, a real Asterisk, and a call that reaches page, webhook and subscriber."""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.asterisk.flows import ACME, MOBILE, TONES, blind_transfer, hang_up, ivr_queue_agent, mobile_answers, open_lab
from tests.asterisk.flows import connect as talk
from tests.asterisk.listening import Recorded
from tests.asterisk.rig import HOST, Asterisk
from tests.events.receiver import receiver
from tests.run.stack import Stack, eventually, stack

pytestmark = [pytest.mark.asterisk, pytest.mark.stack, pytest.mark.xdist_group("stack")]

PATIENCE = 60.0  # seconds that a busy test machine may take for what is promised within one; what it took is printed


@pytest.fixture(scope="module")
def portal() -> Iterator[Stack]:
    with stack(WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8") as made:
        made.start()
        yield made


class Desk:
    """The portal as somebody with a token sees it from one host."""

    def __init__(self, portal: Stack, host: str, opened: dict[str, Any]) -> None:
        self.opened = opened
        headers = {"Host": f"{host}:{portal.port}", "Authorization": f"Bearer {opened['api_token']}"}
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{portal.port}", headers=headers, timeout=15)
        self.browser = httpx.Client(base_url=f"http://127.0.0.1:{portal.port}", headers={"Host": headers["Host"]})

    def close(self) -> None:
        self._api.close()
        self.browser.close()

    def get(self, path: str) -> Any:
        return self._api.get(path).raise_for_status().json()

    def post(self, path: str, **fields: Any) -> Any:
        answer = self._api.post(path, json=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def put(self, path: str, **fields: Any) -> Any:
        """Changes what is there."""
        return self._api.patch(path, json=fields).raise_for_status().json()

    def command(self, session_id: str, operation: str) -> Any:
        """A command to a call's recording, which waits for the switch."""
        answer = self._api.post(f"/api/v1/calls/{session_id}/recording", json={"operation": operation})
        assert answer.status_code == 200, answer.text
        return answer.json()["recording"]["audio"]["state"]

    def file(self, path: str) -> bytes:
        return self._api.get(path).raise_for_status().content

    def sign_in(self) -> None:
        page = self.browser.get("/sign-in").raise_for_status().text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        given = {"username": self.opened["username"], "password": self.opened["password"]}
        answer = self.browser.post("/sign-in", data={**given, "csrfmiddlewaretoken": token[1]})
        assert answer.status_code == 302, answer.text

    def page(self) -> str:
        return self.browser.get("/call-statistics/cdr").raise_for_status().text


@pytest.fixture(scope="module")
def desks(portal: Stack, asterisk: Asterisk) -> Iterator[dict[str, Desk]]:
    """The system administrator has connected the Asterisk; everybody is signed in."""
    opened = portal.opened
    acme, globex = opened["tenants"]
    found = {
        "system": Desk(portal, "localhost", opened["system"]),
        "acme": Desk(portal, "acme.localhost", acme),
        "globex": Desk(portal, "globex.localhost", globex),
    }
    for desk in (found["acme"], found["globex"]):
        desk.sign_in()
    system = found["system"]
    switch = system.post(
        "/api/v1/switches",
        name="Real Asterisk",
        kind="asterisk",
        address={"host": HOST, "ami_port": asterisk.ami_port, "http_port": asterisk.http_port},
        credentials={"ami_user": asterisk.username, "ami_password": asterisk.secret},
    )
    system.post("/api/v1/trunks", name="AudioCodes", switch=switch["id"])
    for number in ("18800606", "18800101"):
        system.post("/api/v1/inbound-rules", kind="did", number=number, tenant=acme["id"])

    def is_connected() -> bool:
        state = system.get(f"/api/v1/switches/{switch['id']}")
        return bool(state["connector_state"] == "connected" and " by AMI and ARI." in state["connector_message"])

    eventually(is_connected, seconds=90)
    yield found
    for desk in found.values():
        desk.close()


async def test_a_call_reaches_page_webhook_and_subscriber(
    portal: Stack, asterisk: Asterisk, desks: dict[str, Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    acme, globex = desks["acme"], desks["globex"]
    posted: dict[str, float] = {}
    with receiver() as webhook, receiver() as webhook_of_globex:
        for desk, there in ((acme, webhook), (globex, webhook_of_globex)):
            desk.post("/api/v1/endpoints", url=there.url, enabled=True, auth="disable", event_types=["call_cdr"])
        async with subscriber(portal, acme) as socket, subscriber(portal, globex) as other_socket:
            assert "1888722" not in acme.page()
            async with open_lab(asterisk) as lab:
                watching = asyncio.create_task(asyncio.to_thread(when_on_page, acme))
                pushing = asyncio.create_task(asyncio.to_thread(when_posted, webhook, posted))
                legs = await ivr_queue_agent(lab)
                pushed = await asyncio.wait_for(socket.recv(decode=True), PATIENCE)
                arrived = time.time()
                shown, _ = await watching, await pushing
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(other_socket.recv(), 0.5)
    assert webhook_of_globex.got == []
    assert "1888722" not in globex.page()
    assert globex.get("/api/v1/cdrs")["items"] == []

    (delivery,) = webhook.got
    assert delivery.body.decode() == pushed  # the same bytes on both doors
    document = json.loads(pushed)
    session_id = legs["103"].session_id
    assert document == {**acme.get(f"/api/v1/cdrs/{session_id}?profile=v16"), "event_id": document["event_id"]}
    assert plain_document(document) == EXAMPLE | {
        "call_id": legs["caller"].call_id,
        "session_id": session_id,
        "tenant_id": acme.opened["id"],
        "tenant_name": acme.opened["name"],
    }

    ended = datetime.fromisoformat(acme.get(f"/api/v1/cdrs/{session_id}")["ended_time"]).timestamp()
    took = {"page": shown - ended, "webhook": posted["at"] - ended, "subscriber": arrived - ended}
    said = "From the end of the call: " + ", ".join(f"{door} {seconds:.2f} s" for door, seconds in took.items())
    with capsys.disabled():
        sys.stderr.write(f"\n{said}\n")


async def test_a_recorded_call_tells_its_story(asterisk: Asterisk, desks: dict[str, Desk]) -> None:
    """Recorded by the company's switch, paused by *48, resumed by *49, paused and resumed by REST, transferred out,
    stopped; then found from its CDR, and listened to."""
    acme = desks["acme"]
    acme.put("/api/v1/company", enable_extension_audio_recording=True, pause_style="skip")
    desks["system"].put("/api/v1/settings", record_external_calls=False)
    caller_hz, extension_hz, secret_hz = TONES["trunk", ""], TONES["101", ACME], 2000
    with receiver() as webhook:  # the steps of a recording are told once somebody has asked for them
        types = [f"recording_{step}" for step in ("started", "paused", "resumed", "stopped")]
        acme.post("/api/v1/endpoints", url=webhook.url, enabled=True, auth="disable", event_types=types)
    async with open_lab(asterisk) as lab:
        extension = await lab.extension("101")
        caller, first = await talk(lab.trunk, "18800101", extension)
        session_id = first.session_id
        await asyncio.to_thread(until_told, acme, "recording_started", session_id)
        await asyncio.sleep(1)
        await first.press("*48")
        await asyncio.to_thread(until_told, acme, "recording_paused", session_id)
        await first.send_tone(secret_hz)
        await asyncio.sleep(0.8)
        await first.send_tone(extension_hz)
        await first.press("*49")
        await asyncio.to_thread(until_told, acme, "recording_resumed", session_id)
        await asyncio.sleep(0.8)
        assert await asyncio.to_thread(acme.command, session_id, "pause-recording") == "paused"
        await first.send_tone(secret_hz)
        await asyncio.sleep(1)
        await first.send_tone(extension_hz)
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(acme.command, session_id, "resume-recording") == "recording"
        await asyncio.sleep(1)
        answering = asyncio.create_task(mobile_answers(lab))
        await blind_transfer(first, MOBILE)
        mobile = await answering
        await asyncio.to_thread(until_told, acme, "recording_stopped", session_id)
        await mobile.send_tone(secret_hz)
        await asyncio.sleep(2)
        await hang_up(caller, mobile)

    found: list[Any] = []

    def is_ready() -> bool:
        found[:] = acme.get(f"/api/v1/recordings?session_id={session_id}")["items"]
        return [each["state"] for each in found] == ["ready"]

    await asyncio.to_thread(eventually, is_ready, seconds=90)
    recording = acme.get(f"/api/v1/recordings/{found[0]['id']}")
    said = [(gap["reason"], gap["begun_via"], gap["ended_via"]) for gap in recording["gaps"]]
    assert said == [
        ("paused", "feature_code", "feature_code"),
        ("paused", "rest", "rest"),
        ("external_numbers", "policy", ""),
    ]
    assert [each["end_reason"] for each in recording["segments"]] == ["external_numbers"]
    assert acme.get(f"/api/v1/cdrs/{session_id}")["recordings"][0]["id"] == recording["id"]
    sound = Recorded(acme.file(recording["file"]))
    lines = sound.lines((caller_hz, extension_hz, secret_hz))
    assert {caller_hz, extension_hz} <= set(lines)
    assert secret_hz not in lines
    plays = acme.get(f"/api/v1/recordings/{recording['id']}/plays")["items"]
    assert [(play["kind"], play["sent"]) for play in plays] == [("download", recording["size"])]


def until_told(desk: Desk, event_type: str, session_id: str) -> None:
    """The switch has confirmed it, for the portal has told it to everybody."""

    def is_told() -> bool:
        told = desk.get(f"/api/v1/events?types={event_type}")["items"]
        return any(each["session_id"] == session_id for each in told)

    eventually(is_told, seconds=PATIENCE)


def subscriber(portal: Stack, desk: Desk) -> "Subscriber":
    return Subscriber(portal, desk)


class Subscriber:
    """A program that is signed in at `/wsi` and has subscribed to the tenant's calls."""

    def __init__(self, portal: Stack, desk: Desk) -> None:
        host = desk.opened["url"].removeprefix("http://")
        self._connection = connect(f"ws://{host}/wsi", host="127.0.0.1", port=portal.port)
        self._opened = desk.opened

    async def __aenter__(self) -> Any:
        socket = await self._connection.__aenter__()
        names = {"username": self._opened["username"], "password": self._opened["password"]}
        await socket.send(json.dumps({"command": "auth", **names, "domain": self._opened["sip_domain"]}))
        assert json.loads(await socket.recv()) == {"command": "auth", "id": "1", "status": 0}
        await socket.send(json.dumps({"command": "subscribe", "topics": ["cdr_events"]}))
        assert json.loads(await socket.recv())["status"] == 0
        return socket

    async def __aexit__(self, *details: Any) -> None:
        await self._connection.__aexit__(*details)


def when_on_page(desk: Desk) -> float:
    eventually(lambda: "1888722" in desk.page(), seconds=30)
    return time.time()


def when_posted(webhook: Any, posted: dict[str, float]) -> None:
    eventually(lambda: webhook.got, seconds=30)
    posted["at"] = time.time()


def plain_document(document: dict[str, Any]) -> dict[str, Any]:
    """What is different each time, told as `time` and `id`; that a time is none is kept."""

    def plain(leg: dict[str, Any]) -> dict[str, Any]:
        times = {name: "time" if leg[name] != "0" else "0" for name in leg if name.endswith("_time")}
        ids = {name: "id" for name in ("id", "event_id") if name in leg and leg[name].isdigit()}
        return leg | times | ids

    return plain(document) | {"call_targets": [plain(leg) for leg in document["call_targets"]]}


def leg(callee: str, end_reason: str, answered: str = "time", destination: str = "") -> dict[str, Any]:
    return {
        "answered_time": answered,
        "call_type": "normal_call",
        "callee": callee,
        "caller": "1888722",
        "destination": destination,
        "end_reason": end_reason,
        "ended_time": "time",
        "id": "id",
        "outbound_caller_id": "",
        "ring_time": "time",
        "start_time": "time",
        "status_code": 0,
        "trunk_name": "AudioCodes",
    }


# The specification's own example: trunk, IVR, queue, two agents.
EXAMPLE = {
    "answered_time": "time",
    "callee": "5000",
    "callee_domain": "acme.test",
    "caller": "1888722",
    "caller_display_name": "",
    "caller_domain": "127.0.0.2",
    "did_cid": "18800606",
    "direction": "in",
    "ended_reason": "callee_disconnect",
    "ended_time": "time",
    "event_type": "call_cdr",
    "event_id": "id",
    "outbound_caller_id": "",
    "ring_time": "time",
    "start_time": "time",
    "status_code": "0",
    "trunk_name": "AudioCodes",
    "user_data": "",
    "call_targets": [
        leg("5000", "referred"),
        leg("8000", "referred"),
        leg("102", "None", answered="0", destination="sip:102@acme.test"),
        leg("103", "None", destination="sip:103@acme.test"),
    ],
}
