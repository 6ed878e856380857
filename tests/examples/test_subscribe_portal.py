"""The reference client against the portal's own `/wsi`."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from django.utils import timezone

from accounts.models import ApiToken
from accounts.roles import Role
from events.models import Event
from portal.asgi import application
from tenants.models import Tenant
from tests.events.conftest import write
from tests.examples.conftest import eventually, run, running

pytestmark = pytest.mark.django_db(transaction=True)
URL = "ws://acme.portal.test/wsi"


class Server:
    """The portal's ASGI application on a port, in a thread."""

    def __init__(self, port: int = 0) -> None:
        config = uvicorn.Config(
            application, port=port, lifespan="off", ws="websockets-sansio", log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        eventually(lambda: self._server.started, is_now=True)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(15)


@pytest.fixture
def server(acme: Tenant) -> Iterator[Server]:
    found = Server()
    yield found
    found.stop()


def client(port: int, token: str, *options: str) -> list[str]:
    return ["subscribe.py", URL, "--connect", f"127.0.0.1:{port}", "--token", token, *options]


def test_subscribe_follows_the_portal_over_a_restart(
    server: Server, make_token: Callable[..., str], tmp_path: Path
) -> None:
    token = make_token()
    write("before")
    with running(*client(server.port, token), cwd=tmp_path) as program:
        program.errors.until("Subscribed, from event 1 on.")
        told = write("2", "3")
        assert [program.out.next(), program.out.next()] == [event.body for event in told]
        server.stop()
        program.errors.until("Trying again in")
        missed = write("4", "5")
        again = Server(server.port)
        try:
            assert [program.out.next(), program.out.next()] == [event.body for event in missed]
            (live,) = write("6")
            assert program.out.next() == live.body
            eventually((tmp_path / "cursor.txt").read_text, is_now="6")
            assert program.out.are_none
        finally:
            again.stop()


def test_subscribe_chooses_types_and_profile_and_says_what_it_missed(
    server: Server, make_token: Callable[..., str], tmp_path: Path
) -> None:
    write("1", "2", "3")
    Event.objects.filter(id__lte=2).delete()
    (tmp_path / "cursor.txt").write_text("1")
    options = ["--types", "call_cdr,cdr_updated", "--profile", "v22"]
    with running(*client(server.port, make_token(), *options), cwd=tmp_path) as program:
        said = program.errors.until("no longer kept")
        assert "acme.portal.test" in said
        assert said.endswith("/api/v1/events?since=1")
        write("4", type="call_start")
        write("5", type="cdr_updated")
        wanted = Event.objects.exclude(type="call_start").values_list("body_v22", flat=True)
        assert [program.out.next(), program.out.next()] == list(wanted)


def test_subscribe_is_refused_in_words(server: Server, make_token: Callable[..., str], tmp_path: Path) -> None:
    wrong = run(*client(server.port, "nonsense"), cwd=tmp_path)
    assert wrong.stderr == ("The portal refused to auth: access_token , username , domain or password error.\n")
    plain = run(*client(server.port, make_token("vxt_user", Role.USER)), cwd=tmp_path)
    assert plain.stderr == "The portal refused to subscribe: permission denied.\n"


def test_subscribe_ends_when_its_token_is_revoked(
    server: Server, make_token: Callable[..., str], tmp_path: Path
) -> None:
    with running(*client(server.port, make_token()), cwd=tmp_path) as program:
        program.errors.until("Subscribed")
        ApiToken.objects.update(revoked_at=timezone.now())
        program.errors.until("The portal closed the connection: the token or its permission is gone.", 20)
        assert program.process.wait(10) == 1
