"""What a person finds who starts the demo and waits a little: calls that are recorded in every way there is."""

import io
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pbx.simulator.sound import VOICES
from tests.pbx.simulator.test_recorder import heard, samples_of
from tests.run.stack import Stack, eventually, stack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def demo() -> Iterator[Stack]:
    with stack(SIMULATOR_RATE="30") as made:
        made.start()
        yield made


class Desk:
    """A tenant's administrator with an API token."""

    def __init__(self, portal: Stack, number: int) -> None:
        tenant = portal.opened["tenants"][number]
        self.portal, self.token = portal, tenant["api_token"]
        self.host = tenant["url"].split("//")[1].split(":")[0]
        self.known: dict[str, dict[str, Any]] = {}

    def get(self, path: str) -> Any:
        return self.portal.get(path, host=self.host, token=self.token)

    def ready(self) -> list[dict[str, Any]]:
        """With their gaps, which the list does not show."""
        for each in self.get("/api/v1/recordings?limit=100").json()["items"]:
            if each["state"] == "ready" and each["id"] not in self.known:
                self.known[each["id"]] = self.get(f"/api/v1/recordings/{each['id']}").json()
        return list(self.known.values())


def test_the_demo_soon_has_each_kind_of_recording(demo: Stack) -> None:
    desks = [Desk(demo, 0), Desk(demo, 1)]

    def kinds() -> set[str]:
        ready = [each for desk in desks for each in desk.ready()]
        return {each["medium"] for each in ready} | {gap["reason"] for each in ready for gap in each["gaps"]}

    eventually(lambda: {"audio", "video", "paused", "external_numbers"} <= kinds(), seconds=240)

    for desk in desks:
        eventually(lambda desk=desk: any(each["medium"] == "audio" for each in desk.ready()), seconds=120)
        recording = next(each for each in desk.ready() if each["medium"] == "audio")
        file = desk.get(f"/api/v1/recordings/{recording['id']}/file")
        assert (file.status_code, file.headers["content-type"], len(file.content)) == (
            200,
            "audio/wav",
            recording["size"],
        )
        with wave.open(io.BytesIO(file.content)) as opened:
            assert opened.getnchannels() == 1 + desks.index(desk)  # Globex keeps the parties apart
        tracks = samples_of(file.content)
        voices = heard(np.asarray(tracks.sum(axis=1)), 0, len(tracks))
        assert VOICES[0] in voices
        assert len(voices) > 1
