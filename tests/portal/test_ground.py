import errno
import json
import os
import socket
from pathlib import Path

import pytest

from portal.ground import Ground, StartError, check_port, explain, prepare_folder


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk is full: free some space for /x/y, or set VAR_DIR to a folder on another disk."),
        (errno.EACCES, "No permission to write /x/y: make it yours, or set VAR_DIR to a folder that is."),
        (errno.EROFS, "No permission to write /x/y: make it yours, or set VAR_DIR to a folder that is."),
        (errno.ENOTDIR, "/x/y is in the way: a folder is needed there, so move it or set VAR_DIR."),
        (errno.EIO, "/x/y: Input/output error."),
    ],
)
def test_the_worlds_refusals_are_sentences(number: int, sentence: str) -> None:
    assert explain(OSError(number, os.strerror(number), "/x/y"), folder=Path("/x")) == sentence


def test_an_error_that_names_no_file_names_the_folder() -> None:
    assert explain(OSError(errno.EIO, "Input/output error"), folder=Path("/x")) == "/x: Input/output error."


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.ground.NEEDED_MEGABYTES", 10**9)
    with pytest.raises(StartError, match=r"^The disk is nearly full: .* MB left and 1000000000 MB are needed;"):
        prepare_folder(tmp_path / "var")


def test_only_one_holds_the_ground(tmp_path: Path) -> None:
    file = tmp_path / "up.lock"
    second = Ground(file).held(address="elsewhere")
    with Ground(file).held(address="http://localhost:8000"), pytest.raises(StartError) as refused:
        second.__enter__()
    assert str(refused.value) == (
        f"Voxledger is already running at http://localhost:8000 (process {os.getpid()}); stop it with Ctrl-C there."
    )


def test_the_ground_knows_whether_the_last_holder_was_killed(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "up.lock")
    with ground.held(address="a"):
        assert not ground.was_killed
    (tmp_path / "up.lock").write_text(json.dumps({"pid": 1, "address": "a"}))
    with ground.held(address="a"):
        assert ground.was_killed


def test_a_free_port_is_free_and_a_taken_one_is_not() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen(1)
        with pytest.raises(StartError, match=f"^Port {port} on 127.0.0.1 is taken: "):
            check_port("127.0.0.1", port, patient=False)
    check_port("127.0.0.1", port, patient=False)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(StartError, match=r"^BIND=192\.0\.2\.1 with PORT=8000 cannot be used: "):
        check_port("192.0.2.1", 8000, patient=False)
