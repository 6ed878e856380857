import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from portal.embedded.errors import EmbeddedServiceError
from portal.embedded.valkey import Valkey


@pytest.fixture
def server(folder: Path) -> Iterator[Valkey]:
    made = Valkey(state=folder / "valkey", socket=folder / "valkey.sock")
    yield made
    made.stop()


def _client(server: Valkey) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(server.socket))


def test_it_survives_a_kill_and_its_stale_socket(server: Valkey) -> None:
    process = server.spawn()
    server.wait(process)
    with _client(server) as client:
        client.set("kept", "1")
        client.execute_command("WAITAOF", 1, 0, 5000)
    process.kill()
    process.wait()
    assert server.socket.exists()
    assert not server.alive()
    again = server.spawn()
    server.wait(again)
    with _client(server) as client:
        assert client.get("kept") == b"1"
    again.send_signal(signal.SIGTERM)
    assert again.wait(timeout=60) == 0


def test_a_left_over_one_is_stopped_before_a_child_is_spawned(server: Valkey) -> None:
    server.start()
    child = server.spawn()
    server.wait(child)
    with _client(server) as client:
        assert client.info("server")["process_id"] == child.pid
    server.stop()
    child.wait(timeout=60)


def test_unreadable_data_is_set_aside(server: Valkey) -> None:
    server.start()
    server.stop()
    manifest = server.state / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("not a manifest\n")
    with pytest.raises(EmbeddedServiceError, match=r"^Valkey did not start; its log is "):
        server.start()
    aside = server.set_data_aside()
    server.start()
    assert server.ready()
    assert (aside / manifest.name).read_text() == "not a manifest\n"
