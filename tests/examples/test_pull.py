"""The pulling client against the portal's own door."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from accounts.roles import Role
from events.log import prune
from events.models import Event
from tenants.models import Tenant
from tests.events.conftest import write
from tests.events.receiver import receiver
from tests.examples.conftest import eventually, run, running

pytestmark = pytest.mark.django_db(transaction=True)
HOST = "http://acme.portal.test"


@pytest.fixture
def pull(live_server: LiveServer, acme: Tenant, make_token: Callable[..., str], tmp_path: Path) -> list[str]:
    return ["pull.py", HOST, "--token", make_token(), "--connect", live_server.url.removeprefix("http://")]


def bodies(profile: str = "v16") -> list[str]:
    return [event.payload(profile) for event in Event.objects.all()]


def test_pull_reads_on_from_where_it_was(pull: list[str], tmp_path: Path) -> None:
    write("1", "2")
    done = run(*pull, "--once", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, bodies(), "")
    write(*(str(number) for number in range(3, 505)), type="cdr_updated")
    more = run(*pull, "--once", cwd=tmp_path)
    assert more.stdout.splitlines() == bodies()[2:]
    assert (tmp_path / "cursor.txt").read_text() == "504"
    assert run(*pull, "--once", cwd=tmp_path).stdout == ""


def test_pull_chooses_types_and_profile(pull: list[str], tmp_path: Path) -> None:
    write("1")
    write("2", type="call_start")
    done = run(*pull, "--once", "--types", "call_cdr,cdr_updated", "--profile", "v22", cwd=tmp_path)
    assert done.stdout.splitlines() == bodies("v22")[:1]
    assert (tmp_path / "cursor.txt").read_text() == "2"


def test_pull_keeps_asking(pull: list[str], tmp_path: Path) -> None:
    with running(*pull, "--every", "0.2", cwd=tmp_path) as program:
        for number in ("1", "2"):
            (event,) = write(number)
            assert program.out.next() == event.body
        eventually((tmp_path / "cursor.txt").read_text, is_now="2")


def test_pull_says_what_it_missed(pull: list[str], tmp_path: Path) -> None:
    write("1")
    run(*pull, "--once", cwd=tmp_path)
    write("2")
    prune(before=timezone.now() + timedelta(days=1))
    (last,) = write("3")
    done = run(*pull, "--once", cwd=tmp_path)
    assert done.stderr == "Events after 1 are no longer kept; this goes on with the oldest that is.\n"
    assert done.stdout.splitlines() == [last.body]


def test_pull_gives_up_in_words(
    pull: list[str], live_server: LiveServer, make_token: Callable[..., str], tmp_path: Path
) -> None:
    def said(*command: str) -> str:
        done = run(*command, "--once", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    there = pull[-2:]
    unknown = said("pull.py", HOST, "--token", "nonsense", *there)
    assert unknown == "The portal answered 401: This API token is unknown, expired or revoked.\n"
    user = make_token("vxt_user", Role.USER)
    assert said("pull.py", HOST, "--token", user, *there) == "The portal answered 403: You may not do this.\n"
    wrong = "The portal answered 400: There is no event type no_such.\n"
    assert said(*pull, "--types", "no_such") == wrong
    elsewhere = said("pull.py", "http://elsewhere.test", "--token", "x", *there)
    assert elsewhere == "The portal answered 404: There is no such thing here.\n"
    with receiver() as found:
        other = f"http://127.0.0.1:{found.port}"
        assert said("pull.py", other, "--token", "x") == (
            f"The answer (200) is not the portal's. Is {other} the tenant's host?\n"
        )


def test_pull_tries_again_when_it_is_asked_to(tmp_path: Path) -> None:
    answers = [(429, {"Retry-After": "1"}), (503, {})]

    async def reply(_request: web.Request, _body: bytes) -> web.StreamResponse:
        if answers:
            status, headers = answers.pop(0)
            return web.Response(status=status, headers=headers)
        return web.json_response({"items": [{"event_id": "7"}], "next": None, "cursor": "9", "gap": False})

    answered: Callable[[web.Request, bytes], Awaitable[web.StreamResponse]] = reply
    with receiver(answered) as found:
        done = run("pull.py", f"http://127.0.0.1:{found.port}", "--once", "--types", "call_cdr", cwd=tmp_path,
                   VOXLEDGER_TOKEN="t")  # fmt: skip
    assert done.stdout == '{"event_id":"7"}\n'
    assert done.stderr.splitlines() == [
        "The portal answered 429. Trying again in 1 s.",
        "The portal answered 503. Trying again in 2 s.",
    ]
    assert [(got.path, got.headers["authorization"]) for got in found.got] == [
        ("/api/v1/events?profile=v16&limit=500&types=call_cdr", "Bearer t")
    ] * 3
    assert (tmp_path / "cursor.txt").read_text() == "9"


def test_pull_waits_for_a_portal_that_is_away(tmp_path: Path) -> None:
    with receiver() as found:
        port = found.port
    with running("pull.py", f"http://127.0.0.1:{port}", "--token", "t", cwd=tmp_path) as program:
        assert program.errors.next().endswith("Connection refused. Trying again in 1 s.")


def test_pull_says_how_it_is_called(tmp_path: Path) -> None:
    assert "no token: set VOXLEDGER_TOKEN or give --token" in run("pull.py", HOST, cwd=tmp_path).stderr
    assert "x is no address" in run("pull.py", "x", "--token", "t", cwd=tmp_path).stderr
