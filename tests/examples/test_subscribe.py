"""The reference client against a portal that drops it: nothing is lost, nothing comes twice."""

from pathlib import Path

import pytest

from tests.examples.conftest import Program, eventually, run, running
from tests.examples.portal import TOKEN, Peer, Portal, event, portal


def client(found: Portal, *options: str, url: str = "ws://acme.localhost:8000/wsi") -> list[str]:
    return ["subscribe.py", url, "--connect", found.address, *options]


def three_then_cut(peer: Peer) -> None:
    peer.tell(1, 2, 3)
    peer.drop()


def told(program: Program, *numbers: int) -> None:
    assert [program.out.next() for _ in numbers] == [event(number) for number in numbers]
    assert program.out.are_none


def test_subscribe_comes_back_where_it_was(tmp_path: Path) -> None:
    def two_more(peer: Peer) -> None:
        peer.tell(4, 5)
        peer.wait()

    with portal(three_then_cut, two_more) as found:
        with running(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN) as program:
            told(program, 1, 2, 3)
            assert "Trying again in" in program.errors.until("connection was closed")
            told(program, 4, 5)
            eventually((tmp_path / "cursor.txt").read_text, is_now="5")
        assert found.subscriptions() == [None, "3"]
        assert found.hosts == ["acme.localhost:8000"] * 2
    assert [file.name for file in tmp_path.iterdir()] == ["cursor.txt"]


def test_subscribe_asks_in_the_portals_words(tmp_path: Path) -> None:
    with portal(Peer.wait) as found:
        options = ["--token", TOKEN, "--types", "call_cdr,cdr_updated", "--profile", "v22", "--cursor", "mine"]
        with running(*client(found, *options), cwd=tmp_path) as program:
            program.errors.until("Subscribed, from event 0 on.")
        assert found.heard == [
            {"command": "auth", "access_token": TOKEN},
            {
                "command": "subscribe",
                "topics": ["cdr_events"],
                "event_types": ["call_cdr", "cdr_updated"],
                "profile": "v22",
            },
        ]
    assert (tmp_path / "mine").read_text() == "0"


def test_subscribe_loses_nothing_between_its_first_subscription_and_its_first_event(tmp_path: Path) -> None:
    def two(peer: Peer) -> None:
        peer.tell(42, 43)
        peer.wait()

    with portal(Peer.drop, two, cursor="41") as found:
        with running(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN) as program:
            told(program, 42, 43)
        assert found.subscriptions() == [None, "41"]


def test_subscribe_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    def one(peer: Peer) -> None:
        peer.tell(1)
        peer.wait()

    def another(peer: Peer) -> None:
        peer.tell(2)
        peer.wait()

    with portal(one, another) as found:
        for number in (1, 2):
            with running(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN) as program:
                told(program, number)
        # It may have been killed before it noted the first, never before it told it.
        assert found.subscriptions() in ([None, "1"], [None, "0"])


def test_subscribe_comes_back_when_it_was_too_slow(tmp_path: Path) -> None:
    def too_slow(peer: Peer) -> None:
        peer.tell(1, 2)
        peer.socket.close(4008, '{"cursor":"2"}')

    with portal(too_slow, Peer.wait) as found:
        with running(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN) as program:
            program.errors.until("4008")
            program.errors.until("Subscribed, from event 2 on.")
        assert found.subscriptions() == [None, "2"]


def test_subscribe_waits_for_a_portal_that_is_away(tmp_path: Path) -> None:
    with portal() as found:
        port = found.port
    with running(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN) as program:
        assert "Connection refused. Trying again in" in program.errors.until("No connection: ")
        with portal(Peer.wait, port=port):
            program.errors.until("Subscribed, from event 0 on.")


def test_subscribe_says_what_it_missed(tmp_path: Path) -> None:
    (tmp_path / "cursor.txt").write_text("17\n")
    address = "http://acme.localhost:8000/api/v1/events?since=17"
    with portal(Peer.wait, more={"gap": True, "events_url": address}) as found:
        with running(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN) as program:
            said = program.errors.until("no longer kept")
        assert said == f"Events after 17 are no longer kept. What is left of them: {address}"
        assert found.subscriptions() == ["17"]


def test_subscribe_gives_up_on_what_will_not_change(tmp_path: Path) -> None:
    def revoke(peer: Peer) -> None:
        peer.socket.close(4003, "no longer allowed")

    with portal(revoke) as found:
        wrong = run(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN="nonsense")
        assert (wrong.returncode, wrong.stderr) == (1, "The portal refused to auth: access_token error.\n")
        unknown = run(*client(found, "--types", "no_such"), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN)
        assert unknown.stderr == "The portal refused to subscribe: unknown event type no_such.\n"
        revoked = run(*client(found), cwd=tmp_path, VOXLEDGER_TOKEN=TOKEN)
        assert revoked.returncode == 1
        assert revoked.stderr.endswith("The portal closed the connection: the token or its permission is gone.\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ws://acme.localhost:8000/wsi"], "no token: set VOXLEDGER_TOKEN or give --token"),
        (["ws://x/wsi", "--token", "t", "--connect", "8000"], "invalid host_and_port value: '8000'"),
        (["http://x/wsi", "--token", "t"], "http://x/wsi is no WebSocket address: it begins with ws:// or wss://."),
    ],
)
def test_subscribe_says_how_it_is_called(tmp_path: Path, arguments: list[str], why: str) -> None:
    done = run("subscribe.py", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert why in done.stderr
