"""The messages of `/wsi`, without sockets: text in, commands out; replies as the vendor's clients expect them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from events.models import Profile
from events.types import DEFAULT, unknown_types

MESSAGE_BYTES = 8192
SYSTEM_MESSAGE_BYTES = 256 * 1024  # of a system administrator: names and cursors of some thousand tenants
TENANT_TOPIC = "cdr_events"
SYSTEM_TOPIC = "global_cdr_events"
AUTH_ERROR = "access_token , username , domain or password error"
_SELECTOR_MAX = 10_000
_ID_DIGITS = 18


def message_bytes(*, is_system_administrator: bool) -> int:
    return SYSTEM_MESSAGE_BYTES if is_system_administrator else MESSAGE_BYTES


class ProtocolError(Exception):
    """A message that cannot be followed: `command` is what it asked for, as far as that could be read."""

    def __init__(self, command: str, message: str) -> None:
        super().__init__(message)
        self.command = command
        self.message = message


@dataclass(frozen=True)
class PasswordAuth:
    username: str
    password: str
    domain: str  # empty for a system administrator


@dataclass(frozen=True)
class ExtensionAuth:
    extension_number: str
    password: str
    domain: str


@dataclass(frozen=True)
class TokenAuth:
    access_token: str


@dataclass(frozen=True)
class SessionAuth:
    """No credentials: the browser's session cookie, which came with the handshake, speaks for itself."""


@dataclass(frozen=True)
class Subscribe:
    topics: tuple[str, ...]
    event_types: tuple[str, ...] = (DEFAULT,)
    profile: str = Profile.V16
    since: int | None = None
    tenants: tuple[str, ...] = ()  # of the global topic; none named means all
    since_by_tenant: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Unsubscribe:
    topics: tuple[str, ...]


Command = PasswordAuth | ExtensionAuth | TokenAuth | SessionAuth | Subscribe | Unsubscribe


def parse(text: str) -> Command:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError("", "the message is not JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("", "the message is not a JSON object")
    match message.get("command"):
        case "auth":
            return _auth(message)
        case "subscribe":
            return _subscribe(message)
        case "unsubscribe":
            return Unsubscribe(_topics("unsubscribe", message))
        case str(other):
            raise ProtocolError(other[:40], "unknown command")
        case _:
            raise ProtocolError("", "command is missing")


def _auth(message: dict[str, Any]) -> Command:
    """Whatever is wrong with the credentials, their shape included, is told in the one sentence."""
    given = {
        name: message[name]
        for name in ("username", "extension_number", "password", "domain", "access_token")
        if message.get(name) is not None
    }
    if any(not isinstance(value, str) or "\0" in value for value in given.values()):
        raise ProtocolError("auth", AUTH_ERROR)
    match given:
        case {"access_token": token, **rest} if not rest:
            return TokenAuth(token)
        case {"username": username, "password": password, **rest} if not rest.keys() - {"domain"}:
            return PasswordAuth(username, password, rest.get("domain", ""))
        case {"extension_number": number, "password": password, "domain": domain, **rest} if not rest:
            return ExtensionAuth(number, password, domain)
        case {**rest} if not rest:
            return SessionAuth()
    raise ProtocolError("auth", AUTH_ERROR)


def _subscribe(message: dict[str, Any]) -> Subscribe:
    topics = _topics("subscribe", message)
    types = _strings("subscribe", "event_types", message.get("event_types", [DEFAULT]))
    if not types:
        raise ProtocolError("subscribe", "event_types is empty")
    if unknown := unknown_types(list(types)):
        raise ProtocolError("subscribe", f"unknown event type {unknown[0][:40]}")
    profile = message.get("profile", Profile.V16)
    if profile not in Profile.values:
        raise ProtocolError("subscribe", f"profile is one of {', '.join(Profile.values)}")
    tenants = _strings("subscribe", "tenants", message.get("tenants", []))
    since = message.get("since")
    if SYSTEM_TOPIC not in topics:
        return Subscribe(topics, types, profile, since=None if since is None else _event_id(since), tenants=tenants)
    if since is not None and not isinstance(since, dict):
        raise ProtocolError("subscribe", "since of a global topic is a map of tenant id to event id")
    by_tenant = {tenant: _event_id(value) for tenant, value in since.items()} if since is not None else None
    return Subscribe(topics, types, profile, tenants=tenants, since_by_tenant=by_tenant)


def _topics(command: str, message: dict[str, Any]) -> tuple[str, ...]:
    topics = _strings(command, "topics", message.get("topics"))
    if not topics:
        raise ProtocolError(command, "topics is empty")
    for topic in topics:
        if topic not in {TENANT_TOPIC, SYSTEM_TOPIC}:
            raise ProtocolError(command, f"unknown topic {topic[:40]}")
    return topics


def _strings(command: str, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _SELECTOR_MAX or any(not isinstance(item, str) for item in value):
        raise ProtocolError(command, f"{name} is an array of strings")
    return tuple(dict.fromkeys(value))


def _event_id(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _ID_DIGITS:
        return int(value)
    raise ProtocolError("subscribe", "since is an event_id, as a string")


class Replies:
    """Renders the replies of one connection; `id` counts them."""

    def __init__(self) -> None:
        self._count = 0

    def _next_id(self) -> str:
        self._count += 1
        return str(self._count)

    def done(self, command: str, **more: Any) -> str:
        return orjson.dumps({"command": command, "id": self._next_id(), "status": 0, **more}).decode()

    def refused(self, command: str, error: str) -> str:
        return orjson.dumps({"command": command, "error": error, "id": self._next_id(), "status": -1}).decode()


def written(cursors: Mapping[str, int]) -> dict[str, str]:
    return {tenant_id: str(cursor) for tenant_id, cursor in cursors.items()}


def closing(code: int, cursors: Mapping[str, int]) -> str:
    """The last message before a close whose reason would not hold a map of cursors: a close frame takes 123 bytes."""
    return orjson.dumps({"command": "closing", "code": int(code), "cursor": written(cursors)}).decode()


def cursor_reason(cursor: int) -> str:
    """The reason of a close that says where the reader stood."""
    return orjson.dumps({"cursor": str(cursor)}).decode()
