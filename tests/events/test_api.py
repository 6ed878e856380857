"""The REST doors of this room: endpoints, deliveries, events by pull, and their refusals."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from accounts.models import AuditEntry, User
from accounts.roles import Role
from events import deliveries, log, samples, tasks
from events.deliveries import lease_due, settle
from events.models import Attempt, Delivery, Endpoint, Event
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import AT, write
from tests.events.receiver import receiver
from tests.events.test_deliveries import NOW, answered

Make = Callable[..., Any]
NEW = {"url": "http://127.0.0.1:9/hook"}
SHOWN = {
    "id": "1", "url": "http://127.0.0.1:9/hook", "enabled": True, "auth": "disable", "username": "",
    "has_password": False, "has_token": False, "event_types": ["call_cdr"], "profile": "v16", "disabled_reason": "",
    "failing_since": None, "former_secrets_until": [], "missed_since": None, "version": 1,
}  # fmt: skip


@pytest.fixture
def api(acme_client: Client, make_token: Callable[..., str], loopback: None) -> Client:
    acme_client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {make_token()}"
    return acme_client


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(path, orjson.dumps(body or {}), content_type="application/json")


def error_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def shown(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name != "created_at"}


def test_endpoint_from_creation_to_deletion(api: Client) -> None:
    made = post(api, "/api/v1/endpoints", NEW)
    assert made.status_code == 201
    created = made.json()
    secret = created.pop("secret")
    assert secret.startswith("whsec_")
    first = str(Endpoint.objects.get().pk)
    assert shown(created) == SHOWN | {"id": first}
    assert [shown(item) for item in api.get("/api/v1/endpoints").json()["items"]] == [SHOWN | {"id": first}]
    changes = {"auth": "digest", "username": "anna", "password": "secret1", "event_types": ["call_cdr", "cdr_updated"]}
    path = f"/api/v1/endpoints/{first}"
    patched = api.patch(path, orjson.dumps(changes), content_type="application/json")
    expected = SHOWN | changes | {"id": first, "has_password": True, "version": 2}
    del expected["password"]
    assert (patched.status_code, shown(patched.json())) == (200, expected)
    stale = api.patch(path, orjson.dumps({"version": 1, "enabled": False}), content_type="application/json")
    assert error_of(stale) == (409, "changed_meanwhile")
    rotated = post(api, f"{path}/rotate").json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != secret
    every = [api.get(path).content, api.get("/api/v1/endpoints").content, patched.content]
    assert not [text for text in every if b"whsec_" in text or b"secret1" in text]
    assert api.delete(path).status_code == 204
    assert error_of(api.get(path)) == (404, "not_found")
    assert api.get("/api/v1/endpoints").json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"url": "http://10.0.0.1/"}, "url_inner_address"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, "url_inner_address"),
        ({"url": "gopher://example.com/"}, "url_scheme"),
        ({"url": "http://user:pass@example.com/"}, "url_userinfo"),
        ({"url": 7}, "not_valid"),
        ({"url": None}, "not_valid"),
        ({"enabled": "yes"}, "not_valid"),
        ({"auth": "ntlm"}, "auth_unknown"),
        ({"auth": "basic", "username": "anna", "password": "short"}, "password_length"),
        ({"auth": "basic", "username": "anna", "password": "x" * 65}, "password_length"),
        ({"auth": "bearer"}, "token_missing"),
        ({"event_types": "call_cdr"}, "not_valid"),
        ({"event_types": ["nonsense"]}, "event_type_unknown"),
        ({"profile": "v99"}, "profile_unknown"),
        ({"secret": "whsec_mine"}, "not_valid"),
    ],
)
def test_wrong_endpoint_is_a_400_with_code_and_sentence(api: Client, changes: dict[str, Any], code: str) -> None:
    response = post(api, "/api/v1/endpoints", NEW | changes)
    assert error_of(response) == (400, code)
    assert response.json()["error"]["message"].endswith(".")
    assert Endpoint.objects.count() == 0


@pytest.mark.parametrize(("body", "code"), [(b"{", "malformed_json"), (b"[]", "not_an_object"), (b"{}", "url_missing")])
def test_malformed_body(api: Client, body: bytes, code: str) -> None:
    assert error_of(api.post("/api/v1/endpoints", body, content_type="application/json")) == (400, code)


def test_test_event_answers_with_the_outcome(api: Client) -> None:
    with receiver() as there:
        endpoint = post(api, "/api/v1/endpoints", {"url": there.url}).json()
        outcome = post(api, f"/api/v1/endpoints/{endpoint['id']}/test").json()
    assert (outcome["state"], outcome["test"], outcome["event_id"]) == ("delivered", True, None)
    assert [attempt["reason"] for attempt in outcome["attempts"]] == ["200 OK"]
    assert outcome["request_body"] == there.got[0].body.decode()
    assert outcome["attempts"][0]["request_headers"]["webhook-test"] == "true"


def test_test_of_another_type_sends_its_example(api: Client) -> None:
    with receiver() as there:
        endpoint = post(api, "/api/v1/endpoints", {"url": there.url, "profile": "v22"}).json()
        path = f"/api/v1/endpoints/{endpoint['id']}/test"
        outcome = post(api, path, {"event_type": "cdr_updated"}).json()
        refused = [error_of(post(api, path, body)) for body in ({"event_type": "nonsense"}, {"event_type": 1})]
    assert (outcome["event_type"], outcome["state"]) == ("cdr_updated", "delivered")
    assert [orjson.loads(got.body)["event_type"] for got in there.got] == ["cdr_updated"]
    assert refused == [(400, "event_type_unknown"), (400, "not_valid")]
    listed = api.get("/api/v1/deliveries").json()["items"]
    assert [row["event_type"] for row in listed] == ["cdr_updated"]


def test_example_of_each_type_in_each_profile(api: Client) -> None:
    def example(asked: str) -> Any:
        return api.get(f"/api/v1/events/examples/{asked}")

    assert example("call_cdr").json()["direction"] == "in"
    assert example("call_cdr?profile=v22").json()["direction"] == "inbound"
    assert example("cdr_target_end").json() | {"time": ""} == {
        "event_type": "cdr_target_end", "time": "", "session_id": samples.SESSION_ID, "cdr_id": "690852418417594369",
        "tenant_id": example("call_cdr").json()["tenant_id"], "direction": "inbound",
        "destination": "sip:103@192.168.0.20:9530", "caller": "1888722", "callee": "103", "did": "18800606",
        "outbound_caller_id": "", "event_id": "0",
    }  # fmt: skip
    assert error_of(example("nonsense")) == (404, "not_found")
    assert error_of(example("call_cdr?profile=v17")) == (400, "bad_filter")


def test_deliveries_are_listed_filtered_and_paged(api: Client, make_endpoint: Make) -> None:
    one, two = make_endpoint(), make_endpoint(profile="v22")
    write("a", "b")
    settle(one.pk, [answered(lease_due(one, most=1, now=NOW)[0], 200)], now=NOW)

    def ids(query: str) -> list[tuple[str, str, str]]:
        items = api.get(f"/api/v1/deliveries?{query}").json()["items"]
        return [(item["endpoint_id"], item["event_id"], item["state"]) for item in items]

    o, t = str(one.pk), str(two.pk)
    assert ids("") == [(t, "2", "pending"), (o, "2", "pending"), (t, "1", "pending"), (o, "1", "delivered")]
    assert ids("state=delivered") == [(o, "1", "delivered")]
    assert ids(f"endpoint={t}") == [(t, "2", "pending"), (t, "1", "pending")]
    assert ids("event=1") == [(t, "1", "pending"), (o, "1", "delivered")]
    assert ids("session_id=b") == [(t, "2", "pending"), (o, "2", "pending")]
    page = api.get("/api/v1/deliveries?limit=3").json()
    rest = api.get(f"/api/v1/deliveries?limit=3&cursor={page['next']}").json()
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (3, 1, None)
    for bad in ("state=lost", "endpoint=x", "event=-1", "limit=0", "cursor=zz"):
        assert api.get(f"/api/v1/deliveries?{bad}").status_code == 400


def test_delivery_list_costs_the_same_for_one_row_and_three(
    api: Client, make_endpoint: Make, django_assert_max_num_queries: Make
) -> None:
    make_endpoint()
    write("a")
    api.get("/api/v1/deliveries")
    for sessions in ("", "bc"):
        write(*sessions)
        with django_assert_max_num_queries(5):
            api.get("/api/v1/deliveries")


def test_delivery_with_its_attempts_and_sent_again(api: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint(profile="v22")
    (event,) = write("a")
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 500, body="no")], now=NOW)
    Delivery.objects.update(state="exhausted", next_attempt_at=None)
    delivery = Delivery.objects.get()
    detail = api.get(f"/api/v1/deliveries/{delivery.pk}").json()
    assert detail["request_body"] == event.body_v22
    assert [attempt | {"at": ""} for attempt in detail["attempts"]] == [
        {"at": "", "latency_ms": 12, "status": 500, "reason": "500", "request_headers": {"a": "b"},
         "response_headers": {}, "response_body": "no"},
    ]  # fmt: skip
    again = post(api, f"/api/v1/deliveries/{delivery.pk}/redeliver")
    assert (again.status_code, again.json()["state"], again.json()["replay"]) == (202, "pending", True)
    assert Attempt.objects.count() == 1
    Endpoint.objects.update(enabled=False)
    assert error_of(post(api, f"/api/v1/deliveries/{delivery.pk}/redeliver")) == (409, "endpoint_disabled")


def test_events_are_handed_out_byte_for_byte(api: Client) -> None:
    written = write("a", "b", "c")
    written += write("a", type="cdr_updated", v22=False)
    response = api.get("/api/v1/events")
    assert response["Content-Type"] == "application/json"
    assert response.content.decode() == (
        '{"items":[' + ",".join(event.body for event in written) + '],"next":null,"cursor":"4","gap":false}'
    )
    v22 = api.get("/api/v1/events?profile=v22").content.decode()
    assert v22.startswith('{"items":[' + ",".join(event.payload("v22") for event in written) + "],")

    def page(query: str) -> tuple[list[str], str | None, str]:
        found = api.get(f"/api/v1/events?{query}").json()
        return [item["event_id"] for item in found["items"]], found["next"], found["cursor"]

    assert page("since=2") == (["3", "4"], None, "4")
    assert page("since=0&limit=2") == (["1", "2"], "2", "2")
    assert page("since=4") == ([], None, "4")
    assert page("types=cdr_updated") == (["4"], None, "4")
    assert page("types=call_cdr,cdr_updated&since=2") == (["3", "4"], None, "4")
    assert page("types=recording_ready") == ([], None, "4")


def test_events_no_longer_kept_are_a_gap(api: Client) -> None:
    write("a", "b", "c")
    Event.objects.filter(id__lte=2).delete()
    asked = ("?since=1", "?since=2", "?since=0", "?cursor=1", "")
    gaps = [api.get(f"/api/v1/events{query}").json()["gap"] for query in asked]
    assert gaps == [True, False, True, True, False]


def test_events_pruned_while_a_page_is_read_are_a_gap(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a", "b", "c")
    read = log.events_after

    def read_late(since: int, *, types: Sequence[str] = ()) -> QuerySet[Event]:
        Event.objects.filter(id__lte=2).delete()
        return read(since, types=types)

    monkeypatch.setattr(log, "events_after", read_late)
    page = api.get("/api/v1/events?since=1").json()
    assert ([item["event_id"] for item in page["items"]], page["cursor"], page["gap"]) == (["3"], "3", True)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("since=x", "bad_since"),
        ("since=-1", "bad_since"),
        ("since=99999999999999999999", "bad_since"),
        ("since=7", "since_ahead"),
        ("types=nonsense", "event_type_unknown"),
        ("profile=v99", "bad_filter"),
        ("limit=501", "bad_limit"),
        ("type=call_cdr", "unknown_filter"),
        ("session_id=a", "unknown_filter"),
    ],
)
def test_events_asked_wrongly(api: Client, query: str, code: str) -> None:
    assert error_of(api.get(f"/api/v1/events?{query}")) == (400, code)


DOORS = [
    ("get", "/api/v1/endpoints"), ("post", "/api/v1/endpoints"), ("get", "/api/v1/endpoints/{endpoint}"),
    ("patch", "/api/v1/endpoints/{endpoint}"), ("delete", "/api/v1/endpoints/{endpoint}"),
    ("post", "/api/v1/endpoints/{endpoint}/rotate"), ("post", "/api/v1/endpoints/{endpoint}/test"),
    ("get", "/api/v1/events/examples/call_cdr"),
    ("get", "/api/v1/deliveries"), ("get", "/api/v1/deliveries/{delivery}"),
    ("post", "/api/v1/deliveries/{delivery}/redeliver"), ("get", "/api/v1/events"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_strangers_and_readers_may_not_enter(
    acme_client: Client, make_endpoint: Make, make_token: Make, make_user: Make, method: str, path: str
) -> None:
    endpoint = make_endpoint()
    write("a")
    before = list(Endpoint.objects.values()), list(Delivery.objects.values())
    path = path.format(endpoint=endpoint.pk, delivery=Delivery.objects.get().pk)

    def ask(**headers: str) -> int:
        return int(getattr(acme_client, method)(path, content_type="application/json", headers=headers).status_code)

    assert ask() == 401
    assert ask(Authorization="Bearer nonsense") == 401
    for number, role in enumerate((Role.USER, Role.QUEUE_MANAGER)):
        assert ask(Authorization=f"Bearer {make_token(f'vxt_{number}', role)}") == 403
    assert ask(Authorization=f"Bearer {make_token('vxt_narrow', Role.ADMIN, ('cdr.view',))}") == 403
    acme_client.force_login(make_user("reader", Role.QUEUE_MANAGER), "accounts.backends.PortalBackend")
    assert ask() == 403
    assert (list(Endpoint.objects.values()), list(Delivery.objects.values())) == before


@pytest.mark.parametrize(("method", "path"), [door for door in DOORS if "{" in door[1]])
def test_another_tenants_rows_do_not_exist(
    globex_client: Client, acme: Tenant, make_endpoint: Make, make_token: Make, method: str, path: str
) -> None:
    endpoint = make_endpoint()
    write("a")
    delivery = Delivery.objects.get()
    acmes = make_token("vxt_acme")
    with in_schema("globex"):
        token = make_token("vxt_globex")
    path = path.format(endpoint=endpoint.pk, delivery=delivery.pk)
    for secret, expected in ((token, 404), (acmes, 401)):
        response = getattr(globex_client, method)(
            path, content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
        )
        assert response.status_code == expected
    with in_schema("acme"):
        assert (Endpoint.objects.count(), Delivery.objects.get().replay) == (1, False)


def test_wrong_method_and_missing_row(api: Client, make_user: Callable[..., User]) -> None:
    assert api.put("/api/v1/endpoints").status_code == 405
    assert api.delete("/api/v1/events").status_code == 405
    for missing in ("endpoints/77", "endpoints/x", "deliveries/77", "deliveries/99999999999999999999"):
        assert error_of(api.get(f"/api/v1/{missing}")) == (404, "not_found")


def test_system_host_has_no_such_doors(system_client: Client) -> None:
    assert system_client.get("/api/v1/endpoints").status_code == 404


def patch(client: Client, path: str, body: Any) -> Any:
    return client.patch(path, orjson.dumps(body), content_type="application/json")


def test_test_that_breaks_off_is_stopped_and_says_so(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = post(api, "/api/v1/endpoints", NEW).json()

    def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(deliveries.endpoints, "signing_keys", broken)
    outcome = post(api, f"/api/v1/endpoints/{endpoint['id']}/test").json()
    assert (outcome["state"], outcome["attempts_made"]) == ("stopped", 1)
    assert [(one["status"], one["reason"]) for one in outcome["attempts"]] == [
        (None, "Not sent: a mistake of the portal (KeyError)"),
    ]  # fmt: skip
    assert api.get(f"/api/v1/deliveries/{outcome['id']}").json() == outcome


def test_test_whose_process_dies_is_ended_by_the_sweep(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = post(api, "/api/v1/endpoints", NEW).json()

    async def dies(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(deliveries, "_post_once", dies)
    with pytest.raises(SystemExit):
        post(api, f"/api/v1/endpoints/{endpoint['id']}/test")
    tasks.end_tests()
    (waiting,) = api.get("/api/v1/deliveries").json()["items"]
    assert waiting["state"] == "pending"  # somebody may still wait for the answer
    Delivery.objects.update(leased_until=timezone.now())
    tasks.end_tests()
    ended = api.get(f"/api/v1/deliveries/{waiting['id']}").json()
    assert (ended["state"], ended["finished_at"] is not None) == ("stopped", True)
    assert [(one["status"], one["latency_ms"], one["reason"]) for one in ended["attempts"]] == [
        (None, None, "Interrupted: the portal stopped before an answer came"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("auth", "field", "code"),
    [
        ({"auth": "basic", "username": "anna", "password": "secret1"}, "password", "password_for_new_host"),
        ({"auth": "digest", "username": "anna", "password": "secret1"}, "password", "password_for_new_host"),
        ({"auth": "bearer", "token": "tok"}, "token", "token_for_new_host"),
    ],
)
def test_credentials_do_not_follow_to_another_host(api: Client, auth: dict[str, str], field: str, code: str) -> None:
    made = post(api, "/api/v1/endpoints", NEW | auth).json()
    path = f"/api/v1/endpoints/{made['id']}"
    for url in ("http://127.0.0.2:9/hook", "http://127.0.0.1:10/hook", "https://127.0.0.1:9/hook"):
        refused = patch(api, path, {"url": url})
        assert (error_of(refused), refused.json()["error"]["details"]) == ((400, code), {"field": field})
    assert api.get(path).json()["url"] == NEW["url"]
    same_host = patch(api, path, {"url": "http://127.0.0.1:9/other?x=1"}).json()
    assert (same_host["has_password"], same_host["has_token"]) == (field == "password", field == "token")
    moved = patch(api, path, {"url": "http://127.0.0.2:9/hook", field: "given-anew"})
    assert (moved.status_code, moved.json()["url"]) == (200, "http://127.0.0.2:9/hook")


def test_what_a_method_does_not_use_is_dropped(api: Client) -> None:
    made = post(api, "/api/v1/endpoints", NEW | {"auth": "basic", "username": "anna", "password": "secret1"}).json()
    path = f"/api/v1/endpoints/{made['id']}"
    off = patch(api, path, {"auth": "disable"}).json()
    assert (off["auth"], off["username"], off["has_password"], off["has_token"]) == ("disable", "", False, False)
    assert error_of(patch(api, path, {"auth": "basic", "username": "anna"})) == (400, "password_missing")
    patch(api, path, {"auth": "basic", "username": "anna", "password": "secret1"})
    bearer = patch(api, path, {"auth": "bearer", "token": "tok"}).json()
    assert (bearer["username"], bearer["has_password"], bearer["has_token"]) == ("", False, True)
    changes = AuditEntry.objects.filter(action="endpoint.changed").order_by("id")
    assert list(changes.values_list("after", flat=True)) == [
        {"auth": "disable", "username": "", "credentials": "removed"},
        {"auth": "basic", "username": "anna", "credentials": "replaced"},
        {"auth": "bearer", "username": "", "credentials": "replaced"},
    ]  # fmt: skip


def test_each_former_secret_signs_for_its_own_day(api: Client) -> None:
    with receiver() as there:
        made = post(api, "/api/v1/endpoints", {"url": there.url}).json()
        path = f"/api/v1/endpoints/{made['id']}"
        secrets = [made["secret"], *(post(api, f"{path}/rotate").json()["secret"] for _ in range(4))]
        refused = post(api, f"{path}/rotate")
        post(api, f"{path}/test")
        assert len(api.get(path).json()["former_secrets_until"]) == 4
        row = Endpoint.objects.get()
        ends = [*row.former_secrets[:3], row.former_secrets[3] | {"until": timezone.now().isoformat()}]
        Endpoint.objects.update(former_secrets=ends)
        post(api, f"{path}/test")
        assert post(api, f"{path}/rotate").status_code == 200
    assert error_of(refused) == (409, "rotated_too_often")
    assert refused.json()["error"]["message"] == (
        "4 former secrets still sign for the 24 hours they were promised. Rotate again in 24 hours."
    )
    first, second = there.got
    for secret in secrets:
        Webhook(secret).verify(first.body, first.headers)
    for secret in secrets[1:]:
        Webhook(secret).verify(second.body, second.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0]).verify(second.body, second.headers)


@pytest.mark.parametrize("status", [200, 500])
def test_sent_again_during_an_attempt_waits_for_its_end(api: Client, make_endpoint: Make, status: int) -> None:
    endpoint = make_endpoint()
    write("a")
    (leased,) = lease_due(endpoint, most=1, now=timezone.now())
    path = f"/api/v1/deliveries/{Delivery.objects.get().pk}"
    again = post(api, f"{path}/redeliver")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    settle(endpoint.pk, [answered(leased, status)], now=timezone.now())
    waiting = api.get(path).json()
    assert (waiting["state"], waiting["attempts_made"], waiting["replay"], len(waiting["attempts"])) == (
        "pending", 1, True, 1,
    )  # fmt: skip
    (second,) = lease_due(endpoint, most=1, now=timezone.now())
    assert (second.event_id, second.step, second.replay, second.body) == (1, 0, True, leased.body)
    settle(endpoint.pk, [answered(second, 200)], now=timezone.now())
    assert (api.get(path).json()["state"], lease_due(endpoint, most=1, now=NOW)) == ("delivered", [])


def test_sent_again_while_a_worker_had_it_that_died(api: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    (lost,) = lease_due(endpoint, most=1, now=timezone.now())
    path = f"/api/v1/deliveries/{Delivery.objects.get().pk}"
    post(api, f"{path}/redeliver")
    (second,) = lease_due(endpoint, most=1, now=NOW)
    assert (second.replay, second.step) == (True, 0)
    settle(endpoint.pk, [answered(lost, 200)], now=NOW)  # of the round before: no answer to what was asked for
    assert api.get(path).json()["state"] == "pending"
    settle(endpoint.pk, [answered(second, 200)], now=NOW)
    assert api.get(path).json()["state"] == "delivered"


def test_deliveries_by_type_time_and_failure(api: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint(event_types=("call_cdr", "cdr_updated"))
    write("a", "b")
    write("a", type="cdr_updated")
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 500)], now=NOW)
    Delivery.objects.filter(event=1).update(created_at=AT)
    Delivery.objects.filter(event=2).update(created_at=AT + timedelta(hours=1))

    def ids(query: str) -> list[str]:
        return [item["event_id"] for item in api.get(f"/api/v1/deliveries?{query}").json()["items"]]

    assert ids("event_type=cdr_updated") == ["3"]
    assert ids("failing=true") == ["1"]
    assert ids("failing=false") == ["3", "2", "1"]
    assert ids("to=2026-03-01T12:30:00Z") == ["1"]
    assert ids("from=2026-03-01T12:30:00Z&to=2026-03-01T13:00:00Z") == ["2"]
    assert ids(f"from={int((AT + timedelta(minutes=1)).timestamp())}") == ["3", "2"]
    assert ids(f"endpoint={endpoint.pk}&event_type=call_cdr&session_id=a&state=pending") == ["1"]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("stat=pending", "unknown_filter",
         "There is no filter stat. There are: endpoint, state, failing, event, event_type, session_id, from, to."),
        ("state=lost", "bad_filter", "state is one of pending, delivered, exhausted, stopped."),
        ("failing=yes", "bad_filter", "failing is one of true, false."),
        ("endpoint=x", "bad_filter", "endpoint must be an id."),
        ("session_id=a%00b", "bad_filter", "A session_id has at most 128 characters."),
        ("from=yesterday", "bad_time", "from must be RFC 3339 or Unix seconds."),
    ],
)  # fmt: skip
def test_deliveries_asked_wrongly(api: Client, query: str, code: str, message: str) -> None:
    response = api.get(f"/api/v1/deliveries?{query}")
    assert (error_of(response), response.json()["error"]["message"]) == ((400, code), message)
