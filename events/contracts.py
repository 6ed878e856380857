"""What the events look like, for machines: JSON Schemas, the AsyncAPI document of `/wsi`, the webhooks of OpenAPI.

`events/schemas/` holds one file for each type, and one for each profile where the profiles differ. What several types
share stands in `parts/` and is flattened in, so that every schema handed out stands by itself.
"""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from events.models import Profile

Schema = dict[str, Any]
_FOLDER = Path(__file__).parent / "schemas"
_DIALECT = "$schema"
ADDRESS = "/api/events/schemas/{type}.{profile}.json"
# Of a webhook's request; `docs/events.md` says how to verify it.
_HEADERS = {
    "webhook-id": (
        "The tenant's id, a dash, the event_id. The same on every attempt: what was seen is a repeat.",
        True,
    ),
    "webhook-timestamp": ("When this attempt was made, in Unix seconds.", True),
    "webhook-signature": (
        "Standard Webhooks: `v1,` and base64, several parted by spaces while a secret rotates.",
        True,
    ),
    "webhook-replay": ("`true` when somebody sent the event again.", False),
    "webhook-test": ("`true` on a test: an example, told by nobody.", False),
}
_ANSWERS = {
    "2XX": "Acknowledged: it is not sent again.",
    "3XX": "A failure; a redirect is never followed. It is sent again.",
    "410": "The endpoint wants nothing more: it is disabled.",
    "429": "Sent again after Retry-After, else on the schedule. So is 503.",
    "default": "A failure: it is sent again on the schedule, then kept in the log.",
}


@cache
def contracts() -> dict[tuple[str, str], Schema]:
    """The schema of every (type, profile) that is sent."""
    found: dict[tuple[str, str], Schema] = {}
    for file in sorted(_FOLDER.glob("*.json")):
        event_type, _, profile = file.stem.partition(".")
        for each in [profile] if profile else Profile.values:
            schema = _flattened(file)
            address = ADDRESS.format(type=event_type, profile=each)
            found[event_type, each] = {_DIALECT: schema.pop(_DIALECT), "$id": address, **schema}
    return found


def payload_schema(event_type: str, profile: str) -> Schema:
    """The schema without its dialect and address, to stand inside another document."""
    schema = deepcopy(contracts()[event_type, profile])
    del schema[_DIALECT], schema["$id"]
    return schema


def asyncapi(*, host: str, secure: bool) -> Schema:
    """The AsyncAPI 3 document of the socket on this host."""
    document: Schema = json.loads((_FOLDER / "parts" / "wsi.json").read_text())
    document["servers"] = {"portal": {"host": host, "protocol": "wss" if secure else "ws"}}
    channel, components = document["channels"]["wsi"], document["components"]
    told = []
    for event_type, profile in contracts():
        name = f"{event_type}.{profile}"
        schema = payload_schema(event_type, profile)
        components["schemas"][name] = schema
        components["messages"][name] = {
            "name": event_type,
            "title": f"{event_type} ({profile})",
            "summary": schema["description"],
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        channel["messages"][name] = {"$ref": f"#/components/messages/{name}"}
        told.append({"$ref": f"#/channels/wsi/messages/{name}"})
    document["operations"]["tell"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/wsi"},
        "summary": "The events that were subscribed, in the profile that was asked for and in the order of their ids.",
        "messages": told,
    }
    return document


def add_webhooks(result: Schema, generator: object, request: object, public: bool) -> Schema:
    """A drf-spectacular postprocessing hook: the `webhooks` of the OpenAPI document."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    for event_type, profile in contracts():
        schemas[_component(event_type, profile)] = payload_schema(event_type, profile)
    result["webhooks"] = {event_type: {"post": _webhook(event_type)} for event_type, _ in contracts()}
    return result


def _webhook(event_type: str) -> Schema:
    refs = [{"$ref": f"#/components/schemas/{_component(event_type, profile)}"} for profile in Profile.values]
    return {
        "operationId": f"webhook_{event_type}",
        "tags": ["webhooks"],
        "summary": payload_schema(event_type, Profile.V16)["description"],
        "parameters": [
            {"name": name, "in": "header", "required": required, "description": text, "schema": {"type": "string"}}
            for name, (text, required) in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": refs}}}},
        "responses": {status: {"description": text} for status, text in _ANSWERS.items()},
    }


def _component(event_type: str, profile: str) -> str:
    return f"event.{event_type}.{profile}"


def _flattened(file: Path) -> Schema:
    """A schema file with the parts it refers to in place of the references."""
    schema: Schema = _inline(json.loads(file.read_text()), file.parent)
    return schema


def _inline(node: Any, folder: Path) -> Any:
    if isinstance(node, list):
        return [_inline(each, folder) for each in node]
    if not isinstance(node, dict):
        return node
    own = {name: _inline(value, folder) for name, value in node.items() if name != "$ref"}
    if "$ref" not in node:
        return own
    part = folder / node["$ref"]
    base = _flattened(part)
    del base[_DIALECT]
    return base | own | _joined(base, own)


def _joined(base: Schema, own: Schema) -> Schema:
    """What both sides say together: a type adds fields to its part, or narrows them."""
    properties = dict(base["properties"])
    for name, narrowed in own.get("properties", {}).items():
        properties[name] = properties.get(name, {}) | narrowed
    return {"properties": properties, "required": [*base["required"], *own.get("required", [])]}
