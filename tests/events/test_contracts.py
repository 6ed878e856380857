"""The contracts against what is really sent, and the documents that are built from them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from django.db import connection, transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from accounts.models import User
from accounts.roles import Role
from cdr import calls, ledger, progress
from cdr.callevents import CallEvent
from cdr.models import RateRule
from events import contracts, deliveries, recording_messages, samples
from events.closing import CloseCode
from events.feed import in_thread
from events.log import render
from events.models import Event, Profile
from events.protocol import closing, parse
from events.types import EVENT_TYPES
from portal.sockets import UNKNOWN_HOST
from tenants.models import Tenant
from tests.cdr.tables import events, ext, outside, spec_call
from tests.events.conftest import AT, write
from tests.events.test_consumers import peer
from tests.events.test_recording_messages import recorded

RECORD_TYPES = {"call_cdr", "cdr_updated"}
ALL = [(event_type, profile) for event_type, profile in contracts.contracts()]
BOTH = [Profile.V16.value, Profile.V22.value]


def validator(event_type: str, profile: str) -> Draft202012Validator:
    return Draft202012Validator(contracts.contracts()[event_type, profile])


def faults(document: Any, profile: str) -> list[str]:
    return [error.message for error in validator(document["event_type"], profile).iter_errors(document)]


def tell(tenant: Tenant, *told: Sequence[CallEvent], types: Sequence[str] = ()) -> None:
    tenant.event_types = list(types)
    for each in told:
        with transaction.atomic():
            calls.apply(tenant, 7, each)


def sent(profile: str) -> list[Any]:
    return [orjson.loads(event.payload(profile)) for event in Event.objects.all()]


def transferred_out() -> list[CallEvent]:
    """A call that was answered, then sent out over the trunk to a mobile that was busy, then to one that talks."""
    mobile = {"callee": outside("5551000"), "trunk": "AudioCodes", "destination": "sip:5551000@sbc"}
    return events(
        (0, "call.started", {"caller": ext("101", "Ann"), "callee": ext("102", "Бо"), "domain": "acme.test"}),
        (1, "target.added", {"target_id": "102", "callee": ext("102", "Бо")}),
        (1, "target.ringing", {"target_id": "102"}),
        (3, "target.answered", {"target_id": "102"}),
        (4, "party.updated", {"leg": "102", "display_name": "Bo"}),
        (9, "target.ended", {"target_id": "102", "end_reason": "referred"}),
        (9, "target.added", {"target_id": "busy", "call_type": "callback", **mobile}),
        (10, "target.ended", {"target_id": "busy", "end_reason": "callee_disconnect", "status_code": 486}),
        (10, "target.added", {"target_id": "mobile", "outbound_caller_id": "18800606", **mobile}),
        (12, "target.answered", {"target_id": "mobile"}),
        (72, "target.ended", {"target_id": "mobile", "end_reason": "caller_disconnect"}),
        (72, "call.ended", {"ended_reason": "caller_disconnect", "status_code": 0}),
        session="9007199254740993",
    )


def corrected() -> list[CallEvent]:
    """A name that the switch tells after the end of `spec_call`."""
    (late,) = events((60, "party.updated", {"leg": "caller", "display_name": "Eve"}))
    return [replace(late, id="late")]


# --- What is sent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", BOTH)
def test_a_finished_call_is_as_its_schema_says(acme: Tenant, profile: str) -> None:
    RateRule.objects.create(prefix="555", price_1="0.1", price_n="0.1", interval_1=60, interval_n=60)
    tell(acme, spec_call(), transferred_out())
    documents = sent(profile)
    assert [document["event_type"] for document in documents] == ["call_cdr", "call_cdr"]
    assert [faults(document, profile) for document in documents] == [[], []]
    costs = [target.get("cost") for target in documents[1]["call_targets"]]
    assert any(costs) is (profile == "v22")


@pytest.mark.parametrize("profile", BOTH)
def test_a_corrected_record_is_as_its_schema_says(acme: Tenant, profile: str) -> None:
    tell(acme, spec_call(), corrected())
    (_, document) = sent(profile)
    assert faults(document, profile) == []
    assert (document["event_type"], document["changes"]) == ("cdr_updated", {"caller_display_name": ["", "Eve"]})


@pytest.mark.parametrize("profile", BOTH)
def test_a_deleted_record_is_as_its_schema_says(acme: Tenant, profile: str) -> None:
    tell(acme, spec_call())
    with transaction.atomic():
        ledger.delete(acme, [event.session_id for event in spec_call()[:1]])
    (_, document) = sent(profile)
    assert faults(document, profile) == []
    assert (document["event_type"], document["tenant_id"]) == ("cdr_deleted", str(acme.pk))


@pytest.mark.parametrize("profile", BOTH)
def test_every_message_of_a_recording_is_as_its_schema_says(acme: Tenant, profile: str) -> None:
    acme.event_types = list(EVENT_TYPES)
    with transaction.atomic():
        recording_messages.tell(acme, recorded())
    documents = sent(profile)
    assert [document["event_type"] for document in documents] == list(get_args(recording_messages.RecordingType))
    assert [faults(document, profile) for document in documents] == [[]] * 7


def test_a_recording_without_what_its_type_needs_is_not_as_its_schema_says(acme: Tenant) -> None:
    by_type = {fact.type: recording_messages.recording_message(fact, acme) | {"event_id": "1"} for fact in recorded()}
    wrong: list[tuple[recording_messages.RecordingType, dict[str, str]]] = [
        ("recording_failed", {"reason": ""}),
        ("recording_ready", {"sha256": "AB" * 32}),
        ("recording_ready", {"url": "https://elsewhere.example/file"}),
        ("recording_ready", {"content_type": "text/html"}),
        ("recording_paused", {"segment": "0"}),
        ("recording_paused", {"medium": "fax"}),
        ("recording_paused", {"actor_kind": "ghost"}),
    ]
    for event_type, change in wrong:
        assert faults(by_type[event_type], "v16") == []
        assert len(faults(by_type[event_type] | change, "v16")) == 1, change


@pytest.mark.parametrize("profile", BOTH)
def test_every_message_of_a_call_in_progress_is_as_its_schema_says(acme: Tenant, profile: str) -> None:
    tell(acme, spec_call(), transferred_out(), types=progress.TYPES)
    documents = sent(profile)
    assert {document["event_type"] for document in documents} == {*progress.TYPES, "call_cdr"}
    assert [found for document in documents if (found := faults(document, profile))] == []


@pytest.mark.parametrize(("event_type", "profile"), ALL)
def test_the_example_is_as_its_schema_says(acme: Tenant, event_type: str, profile: str) -> None:
    document = orjson.loads(render(samples.example(event_type, acme, AT, profile=profile), deliveries.TEST_EVENT_ID))
    assert document["event_type"] == event_type
    assert faults(document, profile) == []


def test_every_type_that_is_sent_has_an_example() -> None:
    assert set(samples.EXAMPLES) == {event_type for event_type, _ in ALL}


@pytest.mark.parametrize(("event_type", "profile"), ALL)
def test_a_schema_asks_for_every_field_that_is_sent_and_its_type(acme: Tenant, event_type: str, profile: str) -> None:
    schema = contracts.contracts()[event_type, profile]
    Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) == set(schema["properties"])
    assert "$ref" not in orjson.dumps(schema).decode()
    assert "additionalProperties" not in schema
    tell(acme, transferred_out(), spec_call(), corrected(), types=EVENT_TYPES)
    with transaction.atomic():
        recording_messages.tell(acme, recorded())
        ledger.delete(acme, [event.session_id for event in spec_call()[:1]])
    document = next(each for each in sent(profile) if each["event_type"] == event_type)
    assert set(document) == set(schema["properties"])
    for name, value in document.items():
        without = {field: document[field] for field in document if field != name}
        assert not validator(event_type, profile).is_valid(without), name
        assert not validator(event_type, profile).is_valid(document | {name: 1 if isinstance(value, str) else "1"}), (
            name
        )
    assert validator(event_type, profile).is_valid(document | {"not_known_yet": None})


@pytest.mark.parametrize("profile", BOTH)
def test_a_target_in_the_other_spelling_is_no_target(acme: Tenant, profile: str) -> None:
    tell(acme, spec_call())
    (document,) = sent(profile)
    targets = document["call_targets"]
    for name in targets[0]:
        less = [{field: value for field, value in targets[0].items() if field != name}]
        assert not validator("call_cdr", profile).is_valid(document | {"call_targets": less}), name
    assert not validator("call_cdr", profile).is_valid(document | {"call_targets": [targets[0] | {"status_code": "0"}]})


def test_every_type_that_is_sent_has_a_contract() -> None:
    assert set(ALL) == {(name, profile) for name in EVENT_TYPES for profile in BOTH}
    same = {name for name in EVENT_TYPES if _content(name, "v16") == _content(name, "v22")}
    assert set(EVENT_TYPES) - same == RECORD_TYPES


def test_every_event_says_whose_it_is_and_which() -> None:
    """A subscriber to all tenants keeps his cursors by these two."""
    schemas = contracts.contracts()
    assert not [each for each in schemas if not {"tenant_id", "event_id"} <= set(schemas[each]["required"])]


def _content(event_type: str, profile: str) -> dict[str, Any]:
    return contracts.payload_schema(event_type, profile)


# --- AsyncAPI ---------------------------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for step in reference[2:].split("/"):
        document = document[step]
    return document


def bundled(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def test_asyncapi_leads_everywhere_it_points() -> None:
    document = contracts.asyncapi(host="acme.portal.test:8000", secure=True)
    assert document["asyncapi"] == "3.0.0"
    assert document["servers"] == {"portal": {"host": "acme.portal.test:8000", "protocol": "wss"}}
    found = list(references(document))
    assert len(found) > 3 * len(ALL)
    for reference in found:
        assert isinstance(resolve(document, reference), dict), reference


def test_asyncapi_names_every_event_and_every_operation() -> None:
    document = contracts.asyncapi(host="x", secure=False)
    commands = {
        "auth", "authReply", "subscribe", "subscribeReply", "unsubscribe", "unsubscribeReply", "closing",
    }  # fmt: skip
    assert set(document["channels"]["wsi"]["messages"]) == commands | {f"{name}.{profile}" for name, profile in ALL}
    assert {name: each["action"] for name, each in document["operations"].items()} == {
        "authenticate": "receive",
        "subscribe": "receive",
        "unsubscribe": "receive",
        "close": "send",
        "tell": "send",
    }
    told = [resolve(document, each["$ref"]) for each in document["operations"]["tell"]["messages"]]
    assert [resolve(document, each["$ref"])["name"] for each in told] == [name for name, _ in ALL]
    assert resolve(document, "#/components/schemas/call_cdr.v22") == contracts.payload_schema("call_cdr", "v22")


def test_asyncapi_examples_are_as_their_payloads_say_and_are_understood() -> None:
    document = contracts.asyncapi(host="x", secure=False)
    for name, message in document["components"]["messages"].items():
        for example in message.get("examples", []):
            bundled(document, message["payload"]).validate(example["payload"])
            if name in {"auth", "subscribe", "unsubscribe"}:
                parse(orjson.dumps(example["payload"]).decode())


def test_asyncapi_refuses_commands_of_another_shape() -> None:
    document = contracts.asyncapi(host="x", secure=False)

    def takes(name: str, payload: dict[str, Any]) -> bool:
        return bundled(document, document["components"]["messages"][name]["payload"]).is_valid(payload)

    assert takes("auth", {"command": "auth"})
    assert takes("auth", {"command": "auth", "extension_number": "101", "password": "x", "domain": "test.io"})
    assert not takes("auth", {"command": "auth", "username": "admin"})
    assert not takes("subscribe", {"command": "subscribe", "topics": "cdr_events"})
    assert not takes("subscribe", {"command": "subscribe", "topics": ["cdr_events"], "since": 12})
    assert not takes("authReply", {"command": "auth", "id": 1, "status": 0})


@pytest.mark.django_db(transaction=True)
async def test_asyncapi_tells_what_the_socket_says(acme: Tenant, make_user: Callable[..., User]) -> None:
    def prepare() -> None:
        make_user("admin")
        write("1", "2", "3")
        Event.objects.filter(id__lte=2).delete()

    await in_thread("acme", prepare)
    document = contracts.asyncapi(host="x", secure=False)
    topic = {"topics": ["cdr_events"]}
    password = {"username": "admin", "password": "correct horse", "domain": "acme.test"}
    async with peer() as client:

        async def ask(command: str, **said: Any) -> dict[str, Any]:
            reply = orjson.loads(await client.ask(orjson.dumps({"command": command, **said}).decode()))
            payload = document["components"]["messages"][f"{command}Reply"]["payload"]
            bundled(document, payload).validate(reply)
            assert set(reply) <= set(payload["properties"])
            return dict(reply)

        refused = [await ask("auth", access_token="nonsense"), await ask("subscribe", topics=["other"])]
        await ask("auth", **password)
        refused.append(await ask("unsubscribe", **topic))
        subscribed = await ask("subscribe", **topic, since="1")
        assert orjson.loads(await client.hear())["event_id"] == "3"
        unsubscribed = await ask("unsubscribe", **topic)
        assert [reply["status"] for reply in (*refused, subscribed, unsubscribed)] == [-1, -1, -1, 0, 0]
        assert (subscribed["cursor"], subscribed["gap"], unsubscribed["cursor"]) == ("1", True, "3")
        unread = orjson.loads(await client.ask("not JSON"))
        bundled(document, document["components"]["messages"]["authReply"]["payload"]).validate(unread)


@pytest.mark.django_db(transaction=True)
async def test_asyncapi_tells_what_the_systems_socket_says(
    acme: Tenant, globex: Tenant, make_user: Callable[..., User]
) -> None:
    def prepare() -> None:
        make_user("root", Role.SYSTEM)
        Tenant.objects.filter(pk=globex.pk).update(state="suspended")

    await in_thread("public", prepare)
    messages = contracts.asyncapi(host="x", secure=False)
    async with peer("portal.test") as client:
        await client.ask('{"command":"auth","username":"root","password":"correct horse"}')
        asked = {"command": "subscribe", "topics": ["global_cdr_events"], "since": {str(acme.pk): "0", "999999": "5"}}
        reply = orjson.loads(await client.ask(orjson.dumps(asked).decode()))
    await in_thread("public", lambda: Tenant.objects.filter(pk=globex.pk).update(state="active"))
    payloads = {name: message["payload"] for name, message in messages["components"]["messages"].items()}
    bundled(messages, payloads["subscribe"]).validate(asked)
    bundled(messages, payloads["subscribeReply"]).validate(reply)
    assert set(reply) - set(payloads["subscribeReply"]["properties"]) == set()
    assert (reply["inactive"], reply["gone"]) == ([str(globex.pk)], ["999999"])
    last = orjson.loads(closing(CloseCode.TOO_SLOW, {"7": 17}))
    bundled(messages, payloads["closing"]).validate(last)
    assert set(last) == set(payloads["closing"]["properties"])


def test_asyncapi_lists_the_close_codes_that_are_used() -> None:
    codes = contracts.asyncapi(host="x", secure=False)["channels"]["wsi"]["x-close-codes"]
    assert sorted(codes) == sorted(str(int(code)) for code in [*CloseCode, UNKNOWN_HOST])


def test_the_paper_names_the_close_codes_and_the_headers() -> None:
    paper = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    codes = contracts.asyncapi(host="x", secure=False)["channels"]["wsi"]["x-close-codes"]
    table = paper[paper.index("| code |") : paper.index("## REST")]
    assert sorted(re.findall(r"\b\d{4}\b", table)) == sorted(codes)
    headers = paper[paper.index("| header |") : paper.index("**Verify**")]
    told = [
        each["name"]
        for each in contracts.add_webhooks({}, None, None, True)["webhooks"]["call_cdr"]["post"]["parameters"]
    ]
    assert re.findall(r"^\| `(webhook-[a-z]+)`", headers, re.MULTILINE) == told


# --- OpenAPI ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("urls", ["portal.urls_tenant", "portal.urls_system"])
def test_openapi_tells_the_webhooks(urls: str) -> None:
    document = SchemaGenerator(urlconf=urls).get_schema(request=None, public=True)
    validate_schema(document)
    assert document["openapi"].startswith("3.1")
    assert set(document["webhooks"]) == {name for name, _ in ALL}
    operation = document["webhooks"]["call_cdr"]["post"]
    headers = {each["name"]: each["required"] for each in operation["parameters"]}
    assert headers == {
        "webhook-id": True,
        "webhook-timestamp": True,
        "webhook-signature": True,
        "webhook-replay": False,
        "webhook-test": False,
    }
    refs = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    schemas = [resolve(document, each["$ref"]) for each in refs]
    assert schemas == [contracts.payload_schema("call_cdr", profile) for profile in BOTH]


# --- The doors --------------------------------------------------------------------------------------------------

DOORS = ["/api/events/schemas/", "/api/events/schemas/call_cdr.v16.json", "/api/asyncapi.json"]


@pytest.mark.parametrize("door", DOORS)
def test_doors_are_open_to_whoever_asks(
    acme_client: Client, acme: Tenant, make_user: Callable[..., User], make_token: Callable[..., str], door: str
) -> None:
    """As the OpenAPI document is: a generator has no token."""
    stranger = acme_client.get(door)
    assert stranger.status_code == 200
    token = {"authorization": f"Bearer {make_token(scopes=('cdr.view',))}"}
    assert acme_client.get(door, headers=token).json() == stranger.json()
    acme_client.force_login(make_user("someone", Role.USER), backend="accounts.backends.PortalBackend")
    assert acme_client.get(door).json() == stranger.json()


def test_doors_are_open_on_the_system_host(system_client: Client, make_token: Callable[..., str]) -> None:
    connection.set_schema_to_public()
    headers = {"authorization": f"Bearer {make_token(role=Role.SYSTEM)}"}
    for door in DOORS:
        assert system_client.get(door, headers=headers).status_code == 200
    document = system_client.get("/api/asyncapi.json", headers=headers).json()
    assert document == contracts.asyncapi(host="portal.test", secure=False)


@pytest.mark.parametrize("door", DOORS)
def test_doors_refuse_a_token_of_somebody_else_and_other_methods(
    acme_client: Client, globex_client: Client, acme: Tenant, make_token: Callable[..., str], door: str
) -> None:
    ours = {"authorization": f"Bearer {make_token()}"}
    assert globex_client.get(door, headers=ours).status_code == 401
    assert acme_client.get(door, headers={"authorization": "Bearer nonsense"}).status_code == 401
    for method in ("post", "put", "patch", "delete"):
        refused = getattr(acme_client, method)(door, headers=ours)
        assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")


def test_schemas_door_lists_addresses_that_answer(
    acme_client: Client, acme: Tenant, make_token: Callable[..., str]
) -> None:
    acme_client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {make_token()}"
    page = acme_client.get("/api/events/schemas/").json()
    assert page["next"] is None
    assert [(item["type"], item["profile"]) for item in page["items"]] == ALL
    for item in page["items"]:
        answer = acme_client.get(item["url"])
        assert answer.headers["Content-Type"] == "application/schema+json"
        assert answer.json() == contracts.contracts()[item["type"], item["profile"]]
        assert item["url"] == f"http://acme.portal.test{answer.json()['$id']}"


@pytest.mark.parametrize(
    "name",
    ["call_cdr.v17.json", "nothing.v16.json", "call_cdr.json", "call_cdr.v16", "parts.wsi.json", "..%2f.v16.json"],
)
def test_schema_door_knows_no_other_name(
    acme_client: Client, acme: Tenant, make_token: Callable[..., str], name: str
) -> None:
    answer = acme_client.get(f"/api/events/schemas/{name}", headers={"authorization": f"Bearer {make_token()}"})
    assert answer.status_code == 404


def test_doors_are_named_in_openapi() -> None:
    document = SchemaGenerator(urlconf="events.contract_urls").get_schema(request=None, public=True)
    assert {path: each["get"]["operationId"] for path, each in document["paths"].items()} == {
        "/api/events/schemas/": "event_schemas",
        "/api/events/schemas/{event_type}.{profile}.json": "event_schema",
        "/api/asyncapi.json": "asyncapi",
    }
