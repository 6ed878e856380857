"""The REST interface of Asterisk: what is up, a stream of events, and the recordings that it has stored."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

APPLICATION = "voxledger"
# Each event of a channel carries its SIP Call-ID, so these are enough to learn it early, and to learn it at all.
# The rest, which is most of the traffic, AMI tells too.
EVENTS = ("ChannelStateChange", "ChannelUserevent", "ChannelHangupRequest", "ChannelDestroyed", "Dial")
EVENT_MAX = 1024 * 1024  # bytes
ANSWER_MAX = 16 * 1024 * 1024
TIMEOUT = aiohttp.ClientTimeout(total=10)
FETCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
_CHUNK = 256 * 1024


class AriError(Exception):
    """ARI cannot be used; the text is a sentence that says why."""


class AriRefusedError(AriError):
    """ARI does not know the user, or not with this password."""


class AriMissingError(AriError):
    """ARI has no such thing."""


class Ari:
    """One Asterisk's ARI. Use it as an async context manager."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}
        self._username = username

    async def __aenter__(self) -> "Ari":
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def channels(self) -> list[dict[str, Any]]:
        found = await self._call("GET", "/channels")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    async def stream_to(self, uniqueid: str) -> int:
        """The RTP stream (its SSRC) that a channel receives; 0: none."""
        try:
            found = await self._call("GET", f"/channels/{quote(uniqueid, safe='')}/rtp_statistics")
        except AriMissingError:
            return 0
        source = found.get("remote_ssrc") if isinstance(found, dict) else 0
        return source if isinstance(source, int) else 0

    async def stored_recordings(self) -> list[str]:
        """The names of all recordings in Asterisk's folder, ours and others'."""
        found = await self._call("GET", "/recordings/stored")
        rows = found if isinstance(found, list) else []
        return [str(each.get("name", "")) for each in rows if isinstance(each, dict)]

    async def has_recording(self, name: str) -> bool:
        try:
            await self._call("GET", f"/recordings/stored/{quote(name, safe='')}")
        except AriMissingError:
            return False
        return True

    async def fetch_recording(self, name: str, target: Path) -> None:
        """All of a stored recording as it is now. A cut connection is an error, never half a file."""
        path = f"/recordings/stored/{quote(name, safe='')}/file"
        try:
            async with self._session.get(URL(f"{self.url}{path}", encoded=True), timeout=FETCH_TIMEOUT) as answer:
                if answer.status >= 300:
                    raise self._refusal(answer.status)
                with target.open("wb") as file:
                    async for part in answer.content.iter_chunked(_CHUNK):
                        await asyncio.to_thread(file.write, part)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AriError(f"ARI at {self.url} does not answer: {_reason(error)}.") from error

    async def delete_recording(self, name: str) -> None:
        await self._call("DELETE", f"/recordings/stored/{quote(name, safe='')}")

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What Asterisk tells about any channel, until it closes the connection.

        The first item is an empty event that says that the stream is open. Each stream is an application of its own, so
        that two portals do not take it from each other.
        """
        application = f"{APPLICATION}-{secrets.token_hex(4)}"
        path = f"/applications/{application}"
        try:
            async with self._session.ws_connect(
                f"{self.url}/events", params={"app": application}, heartbeat=20, max_msg_size=EVENT_MAX
            ) as socket:
                await self._call("PUT", f"{path}/eventFilter", {"allowed": [{"type": kind} for kind in EVENTS]})
                # Not subscribeAll=true: Asterisk 22.10 hangs in it for good, and all of ARI with it, when a phone
                # registers at that moment. "channel:" is every channel.
                await self._call("POST", f"{path}/subscription?eventSource=channel:")
                yield {}
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield _event(message.data)
        except aiohttp.WSServerHandshakeError as error:
            raise self._refusal(error.status) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AriError(f"ARI at {self.url} does not answer: {_reason(error)}.") from error

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        try:
            async with self._session.request(method, URL(f"{self.url}{path}", encoded=True), json=body) as answer:
                if answer.status >= 300:
                    raise self._refusal(answer.status)
                content = b""
                async for part in answer.content.iter_chunked(65536):
                    content += part
                    if len(content) > ANSWER_MAX:
                        raise AriError(f"ARI at {self.url} answered more than {ANSWER_MAX} bytes to {path}.")
                return orjson.loads(content) if content else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AriError(f"ARI at {self.url} does not answer: {_reason(error)}.") from error
        except orjson.JSONDecodeError as error:
            raise AriError(f"What answers at {self.url} is no ARI.") from error

    def _refusal(self, status: int) -> AriError:
        if status in {401, 403}:
            return AriRefusedError(f"ARI refused the user {self._username}: check its name and password in ari.conf.")
        if status == 404:
            return AriMissingError(f"ARI at {self.url} answered 404: check that http.conf and ari.conf enable it.")
        return AriError(f"ARI at {self.url} answered {status}: check that http.conf and ari.conf enable it.")


def _event(data: str) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}


def _reason(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
