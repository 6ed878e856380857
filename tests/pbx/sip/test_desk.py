"""Messages to the desk as the listener hands them over, and the one true reply to each."""

from dataclasses import replace
from typing import Any

import pytest

from accounts.extensions import ha1, set_sip_password
from accounts.models import AuditEntry, Extension
from pbx.routes import claim
from pbx.sip import desk as desks
from pbx.sip.desk import Desk, Message, Reply
from pbx.sip.digest import Credentials, parse, response_to
from recordings.models import Gap
from tenants import outbox
from tenants.changes import SYSTEM
from tenants.models import SipDomain, Switch, Tenant
from tenants.schemas import in_schema
from tests.cdr.tables import SESSION, ext, outside
from tests.recordings.stage import Stage, over

PASSWORD = "sip-password-101"
BODY = f'{{ "operation" : "pause-audio-recording", "session_id" : "{SESSION}"}}'.encode()
PLAIN = "plain/x-media-control"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stage(acme: Tenant, globex: Tenant, http_switch: Switch, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """101 talks with the outside, recorded; 102 is a colleague; globex has a 101 of its own."""
    monkeypatch.setattr(desks, "PATIENCE_SECONDS", 0.3)
    for tenant, domain in ((acme, "acme.test"), (globex, "globex.test")):
        SipDomain.objects.get_or_create(tenant=tenant, domain=domain, defaults={"is_primary": True})
        with in_schema(tenant.schema_name):
            for number in ("101", "102"):
                extension = Extension.objects.create(number=number, record_audio=True)
                set_sip_password(SYSTEM, extension, PASSWORD)
    stage = Stage(acme, http_switch)
    with in_schema("public"):
        claim(http_switch.pk, acme.pk, [SESSION])
    stage.play(
        (0, "call.started", {"caller": outside("1888722"), "callee": ext("101"), "call_id": "caller@acme"}),
        (0, "target.added", {"target_id": "a", "callee": ext("101"), "call_id": "callee@acme"}),
        (5, "target.answered", {"target_id": "a"}),
    )
    return stage


@pytest.fixture
def obeying(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The switch confirms as soon as it is waited for."""
    waiting = desks.wait_for

    def wait_for(*arguments: Any) -> Any:
        stage.obey()
        return waiting(*arguments)

    monkeypatch.setattr(desks, "wait_for", wait_for)
    return stage


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(b"k" * 32, clock=clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def message(**more: Any) -> Message:
    plain = Message(
        request_uri="sip:acme.test", request_domain="acme.test", from_domain="acme.test",
        call_id="x", is_in_dialog=False,
        content_types=(PLAIN,), body=BODY, authorization="", source="192.0.2.7",
    )  # fmt: skip
    return replace(plain, **more)


def header(reply: Reply, number: str = "101", *, password: str = PASSWORD, realm: str = "", **more: str) -> str:
    assert reply.challenge is not None
    asked = parse(reply.challenge[1] + ', username="", uri="", response="", nc=00000001, cnonce="c"')
    realm = realm or asked.realm
    plain = Credentials(number, realm, asked.nonce, more.get("uri", "sip:acme.test"), "", "auth", "00000001", "c")
    response = response_to(ha1(number, realm, password), "MESSAGE", plain)
    return (
        f'Digest username="{number}",realm="{realm}",nonce="{plain.nonce}",uri="{plain.uri}",'
        f'response="{response}",algorithm=MD5,qop=auth,nc=00000001,cnonce="c"'
    )


def send(desk: Desk, told: Message, number: str = "101", **more: str) -> Reply:
    """What a phone does: asks, is challenged, answers."""
    return desk.answer(replace(told, authorization=header(desk.answer(told), number, **more)))


def commands(stage: Stage) -> list[str]:
    return [row.command for row in outbox.pending_for(stage.switch)]


def test_the_phone_pauses_and_resumes_its_own_call(obeying: Stage, desk: Desk) -> None:
    assert send(desk, message()) == Reply(200, "OK")
    assert send(desk, message()) == Reply(200, "OK")  # also when it is so already
    again = message(body=BODY.replace(b"pause", b"resume"))
    assert send(desk, again) == Reply(200, "OK")
    assert obeying.commands[1:] == ["5 pause audio 1", "5 resume audio 1"]
    gap = Gap.objects.get()
    assert (gap.begun_by, gap.begun_via, gap.ended_by) == ("phone 101", "sip_message", "phone 101")
    noted = AuditEntry.objects.filter(action="recording.sip_message").order_by("id")
    assert [(each.actor, each.address, each.after["code"]) for each in noted] == [("101", "192.0.2.7", 200)] * 3


@pytest.mark.parametrize("call_id", ["caller@acme", "callee@acme"])
def test_inside_the_dialog_the_command_is_enough(obeying: Stage, desk: Desk, call_id: str) -> None:
    told = message(is_in_dialog=True, call_id=call_id, body=b"pause-audio-recording")
    assert send(desk, told) == Reply(200, "OK")
    assert obeying.commands[1:] == ["5 pause audio 1"]


@pytest.mark.parametrize("callee", [outside("1888723"), ext("101")])
def test_a_colleague_who_takes_the_same_call_id_hinders_nobody(
    obeying: Stage, desk: Desk, acme: Tenant, callee: dict[str, Any]
) -> None:
    """Also when 101 answers the second call: its own dialog there is another one."""
    later = SESSION + "2"
    with in_schema("public"):
        claim(obeying.switch.pk, acme.pk, [later])
    obeying.play(
        (9, "call.started", {"caller": ext("102"), "callee": callee, "call_id": "callee@acme", "session_id": later}),
        (9, "target.added", {"target_id": "b", "callee": callee, "call_id": "other@acme", "session_id": later}),
        (9, "target.answered", {"target_id": "b", "session_id": later}),
    )
    told = message(is_in_dialog=True, call_id="callee@acme", body=b"pause-audio-recording")
    for number in ("101", "102"):
        assert send(desk, told, number) == Reply(200, "OK")
    with in_schema("acme"):
        said = AuditEntry.objects.filter(action="recording.sip_message").order_by("id")
        assert [(each.actor, each.subject_id) for each in said] == [("101", SESSION), ("102", later)]


def test_a_phone_that_is_called_is_named_by_the_edge(obeying: Stage, desk: Desk) -> None:
    """In the dialog it is sip:102@192.0.2.7 to the switch, and the switch sip:asterisk@192.0.2.1."""
    told = message(
        is_in_dialog=True, call_id="callee@acme", body=b"pause-audio-recording",
        from_domain="192.0.2.7", request_domain="192.0.2.1",
    )  # fmt: skip
    assert desk.answer(told).code == desk.answer(replace(told, edge_domain="nobody.test")).code == 403
    named = replace(told, edge_domain="acme.test")
    assert desk.answer(named).code == 401
    assert send(desk, named) == Reply(200, "OK")


def test_a_switch_that_is_silent_is_out_of_reach(stage: Stage, desk: Desk) -> None:
    assert send(desk, message()) == Reply(480, "Temporarily Unavailable", "The switch is out of reach")


def test_a_switch_that_fetched_it_and_does_not_confirm_is_late(stage: Stage, desk: Desk, monkeypatch: Any) -> None:
    waiting = desks.wait_for

    def fetched(*arguments: Any) -> Any:
        commands(stage)
        return waiting(*arguments)

    monkeypatch.setattr(desks, "wait_for", fetched)
    assert send(desk, message()) == Reply(504, "Server Time-out", "The switch did not confirm in time")


def test_a_switch_that_cannot_says_so(obeying: Stage, desk: Desk) -> None:
    obeying.refuses = {"pause": "No such channel"}
    assert send(desk, message()) == Reply(488, "Not Acceptable Here", "The switch could not: No such channel")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"content_types": ("text/plain",)}, 415, "Content-Type"),
        ({"body": b""}, 400, "empty"),
        ({"body": b'{"operation":"stop-everything","session_id":"1"}'}, 400, "unknown"),
        ({"body": BODY.replace(SESSION.encode(), b"777")}, 404, "no such call"),
        ({"body": BODY.replace(b"audio", b"video")}, 488, "video of this call is not being recorded"),
        ({"is_in_dialog": True, "body": b"pause-audio-recording"}, 404, "Call-ID"),
        (
            {"is_in_dialog": True, "call_id": "caller@acme", "body": BODY.replace(SESSION.encode(), b"7")},
            400,
            "another",
        ),
    ],
)
def test_what_cannot_be_done_says_why(stage: Stage, desk: Desk, more: dict[str, Any], code: int, said: str) -> None:
    reply = send(desk, message(**more))
    assert (reply.code, said in reply.warning) == (code, True), reply
    assert commands(stage) == []


def test_a_colleague_who_is_no_party_is_refused(stage: Stage, desk: Desk) -> None:
    told = "Only an extension that is connected in this call may control its recording."
    assert send(desk, message(), "102") == Reply(403, "Forbidden", told)
    inside = message(is_in_dialog=True, call_id="callee@acme", body=b"pause-audio-recording")
    assert send(desk, inside, "102") == Reply(403, "Forbidden", told)
    assert commands(stage) == []


def test_a_namesake_of_another_tenant_is_refused(stage: Stage, desk: Desk, globex: Tenant) -> None:
    foreign = message(request_uri="sip:globex.test", request_domain="globex.test", from_domain="globex.test")
    reply = send(desk, foreign, uri="sip:globex.test")
    assert (reply.code, commands(stage)) == (403, [])
    lying = replace(foreign, from_domain="acme.test")  # whatever From says
    told = header(desk.answer(foreign), uri="sip:globex.test")
    assert desk.answer(replace(lying, authorization=told)).code == 403
    with in_schema(globex.schema_name):
        assert AuditEntry.objects.filter(action="recording.sip_message").count() == 2


def test_an_ended_call_is_not_there_any_more(stage: Stage, desk: Desk) -> None:
    stage.play(over(60))
    assert send(desk, message()).code == 404


def test_nobody_is_challenged(stage: Stage, desk: Desk) -> None:
    reply = desk.answer(message())
    assert (reply.code, reply.challenge is not None and reply.challenge[0]) == (407, "Proxy-Authenticate")
    direct = desk.answer(message(request_uri="sip:192.0.2.1:5090", request_domain="192.0.2.1"))
    assert (direct.code, direct.challenge is not None and direct.challenge[0]) == (401, "WWW-Authenticate")
    assert direct.challenge is not None
    assert 'realm="acme.test"' in direct.challenge[1]
    assert desk.answer(message(from_domain="evil.test", request_domain="evil.test")).code == 403


@pytest.mark.parametrize("number", ["101", "999"])
def test_a_wrong_password_and_an_unknown_extension_get_the_same(stage: Stage, desk: Desk, number: str) -> None:
    reply = send(desk, message(), number, password="wrong password")
    assert (reply.code, reply.challenge is not None and "stale" in reply.challenge[1]) == (407, False)
    assert AuditEntry.objects.filter(actor=number, after__cause="wrong password").count() == 1


def test_a_disabled_extension_may_nothing(stage: Stage, desk: Desk) -> None:
    Extension.objects.filter(number="101").update(enabled=False)
    assert send(desk, message()).code == 407


def test_a_suspended_tenants_realm_is_nobodys(stage: Stage, desk: Desk, acme: Tenant) -> None:
    told = header(desk.answer(message()))
    Tenant.objects.filter(pk=acme.pk).update(state=Tenant.State.SUSPENDED)
    assert desk.answer(message(authorization=told)).code == 403


def test_an_old_nonce_and_a_replay_are_stale(obeying: Stage, desk: Desk, clock: Clock) -> None:
    told = header(desk.answer(message()))
    assert desk.answer(message(authorization=told)).code == 200
    replayed = desk.answer(message(authorization=told))
    assert (replayed.code, replayed.challenge is not None and "stale=true" in replayed.challenge[1]) == (407, True)
    told = header(desk.answer(message()))
    clock.now += 61
    assert desk.answer(message(authorization=told)).code == 407


@pytest.mark.parametrize("authorization", ["Digest", "Basic abc", 'Digest username="101"', "Digest " + "x" * 9000])
def test_a_malformed_header_is_said_to_be(stage: Stage, desk: Desk, authorization: str) -> None:
    assert desk.answer(message(authorization=authorization)).code == 400


def test_credentials_for_another_request_are_refused(stage: Stage, desk: Desk) -> None:
    reply = send(desk, message(), uri="sip:102@acme.test")
    assert (reply.code, reply.warning) == (400, "The digest's uri is not that of the request")


def test_guessing_is_slowed_down_for_who_guesses_alone(obeying: Stage, desk: Desk, clock: Clock) -> None:
    for _ in range(10):
        assert send(desk, message(), password="wrong password").code == 407
    slowed = send(desk, message())
    assert (slowed.code, slowed.retry_after) == (403, 300)
    assert send(desk, message(source="192.0.2.8")).code == 200
    clock.now += 301
    assert send(desk, message()).code == 200
    assert AuditEntry.objects.filter(after__cause="wrong password").count() == 10
    assert [each.after["code"] for each in AuditEntry.objects.filter(after__cause="too many wrong passwords")] == [403]


def test_nobody_locks_a_phone_out_in_whose_name_he_sends(obeying: Stage, desk: Desk) -> None:
    """Who writes the phone's address onto his datagrams does not see the challenges that go there."""
    own = header(desk.answer(message(source="192.0.2.66")), password="wrong password")
    made_up = own.replace('nonce="', 'nonce="garbage')
    for authorization in (own, made_up) * 30:
        reply = desk.answer(message(authorization=authorization))
        assert (reply.code, reply.challenge is not None and "stale=true" in reply.challenge[1]) == (407, True)
    assert send(desk, message()) == Reply(200, "OK")


def test_a_right_guess_under_a_foreign_nonce_looks_like_a_wrong_one(stage: Stage, desk: Desk) -> None:
    foreign = desk.answer(message(source="192.0.2.66"))
    replies = [
        desk.answer(message(authorization=header(foreign, password=each))) for each in (PASSWORD, "wrong password")
    ]
    kinds = [(each.code, each.challenge is not None and "stale=true" in each.challenge[1]) for each in replies]
    assert kinds == [(407, True)] * 2
    assert commands(stage) == []


def noted(schema: str) -> list[tuple[str, str, int, str, str]]:
    with in_schema(schema):
        rows = AuditEntry.objects.filter(action="recording.sip_message").order_by("id")
        return [(row.actor, row.address, *(row.after[key] for key in ("code", "command", "cause"))) for row in rows]


def test_every_attempt_is_audited_and_a_repeat_a_minute_later(obeying: Stage, desk: Desk, clock: Clock) -> None:
    told = header(desk.answer(message()))
    assert noted("acme") == []  # a question without credentials is no attempt
    pause = "pause-audio-recording"
    desk.answer(message(authorization=told))
    for _ in range(5):
        assert desk.answer(message(authorization=told)).code == 407
        assert desk.answer(message(authorization="Digest nonsense")).code == 400
    send(desk, message(body=b"{}"))
    send(desk, message(body=BODY.replace(SESSION.encode(), b"777")))
    send(desk, message(), "102")
    assert noted("acme") == [
        ("101", "192.0.2.7", 200, pause, ""),
        ("101", "192.0.2.7", 407, "", "stale nonce"),
        ("unknown", "192.0.2.7", 400, "", "malformed credentials"),
        ("101", "192.0.2.7", 400, "", "operation and session_id must be texts"),
        ("101", "192.0.2.7", 404, pause, "There is no such call in progress."),
        ("102", "192.0.2.7", 403, pause, "Only an extension that is connected in this call may control its recording."),
    ]
    clock.now += 61
    desk.answer(message(authorization=told))
    assert noted("acme")[6:] == [("101", "192.0.2.7", 407, "", "stale nonce")]


def left_out(schema: str) -> list[int]:
    with in_schema(schema):
        rows = AuditEntry.objects.filter(action="recording.sip_message").order_by("id")
        return [row.after.get("left_out", 0) for row in rows]


def test_a_stranger_of_many_names_is_noted_once(stage: Stage, desk: Desk, clock: Clock) -> None:
    old = header(desk.answer(message(source="192.0.2.66")))
    for number in range(200):
        for authorization in (old, old.replace('realm="acme.test"', 'realm="evil.test"')):
            desk.answer(message(authorization=authorization.replace('username="101"', f'username="{number}"')))
    assert (noted("acme"), noted("public")) == (
        [("0", "192.0.2.7", 407, "", "stale nonce")],
        [("0", "192.0.2.7", 403, "", "unknown realm")],
    )
    clock.now += 61
    desk.answer(message(authorization=old))
    assert (left_out("acme"), left_out("public")) == ([0, 199], [0])


def test_a_stranger_of_many_addresses_is_noted_so_often_a_minute(stage: Stage, desk: Desk, clock: Clock) -> None:
    old = header(desk.answer(message(source="192.0.2.66")))
    for number in range(100):
        desk.answer(message(authorization=old, source=f"198.51.100.{number}"))
    assert len(noted("acme")) == 60
    assert send(desk, message(), password="wrong password").code == 407  # a flood hides no guess
    assert noted("acme")[60:] == [("101", "192.0.2.7", 407, "", "wrong password")]
    clock.now += 61
    desk.answer(message(authorization=old))
    assert left_out("acme") == [0] * 61 + [40]


@pytest.mark.parametrize(("request_domain", "code"), [("acme.test", 407), ("192.0.2.1", 401)])
def test_trail_tells_the_code_that_went_out(
    obeying: Stage, desk: Desk, clock: Clock, request_domain: str, code: int
) -> None:
    told = message(request_domain=request_domain)
    old = header(desk.answer(told))
    clock.now += 61
    assert desk.answer(replace(told, authorization=old)).code == code
    assert send(desk, told, password="wrong password").code == code
    assert noted("acme") == [
        ("101", "192.0.2.7", code, "", "stale nonce"),
        ("101", "192.0.2.7", code, "", "wrong password"),
    ]


def test_attempt_at_nobodys_realm_is_in_the_systems_trail(stage: Stage, desk: Desk) -> None:
    told = header(desk.answer(message()), realm="evil.test")
    assert desk.answer(message(authorization=told)).code == 403
    assert noted("public") == [("101", "192.0.2.7", 403, "", "unknown realm")]
    assert noted("acme") == []


def test_name_of_any_length_is_refused_like_any_other(stage: Stage, desk: Desk) -> None:
    assert send(desk, message(), "9" * 3000, password="wrong password").code == 407
    assert [name for name, *_ in noted("acme")] == ["9" * 64]


def test_replay_with_the_same_nc_is_stale_and_the_next_nc_is_right(obeying: Stage, desk: Desk) -> None:
    asked = desk.answer(message())
    assert asked.challenge is not None
    nonce = parse(asked.challenge[1] + ', username="", uri="", response="", nc=00000001, cnonce="c"').nonce

    def counted(nc: str) -> Reply:
        plain = Credentials("101", "acme.test", nonce, "sip:acme.test", "", "auth", nc, "c")
        response = response_to(ha1("101", "acme.test", PASSWORD), "MESSAGE", plain)
        told = (
            f'Digest username="101",realm="acme.test",nonce="{nonce}",uri="sip:acme.test",response="{response}",'
            f'qop=auth,nc={nc},cnonce="c"'
        )
        return desk.answer(message(authorization=told))

    codes = [counted(nc).code for nc in ("00000001", "00000001", "00000002", "00000001", "00000002", "0000000a")]
    assert codes == [200, 407, 200, 407, 407, 200]


@pytest.mark.parametrize("body", [BODY.decode().encode("utf-16"), b"\xe9" + BODY, BODY.replace(b"pause", b"p\xe4use")])
def test_body_in_another_charset_is_refused(stage: Stage, desk: Desk, body: bytes) -> None:
    assert (send(desk, message(body=body)).code, commands(stage)) == (400, [])


def test_json_with_more_keys_is_taken_and_with_fewer_is_refused(obeying: Stage, desk: Desk) -> None:
    more = BODY.replace(b"{", b'{"reason":"card number","at":[1,{"x":null}],', 1)
    assert send(desk, message(body=more)) == Reply(200, "OK")
    assert send(desk, message(body=b'{"operation":"pause-audio-recording"}')).code == 400
    assert send(desk, message(body=f'{{"session_id":"{SESSION}"}}'.encode())).code == 400
