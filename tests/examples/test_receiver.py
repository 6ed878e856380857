"""The receiver of the examples, hit with requests as the courier signs them; and both verifiers on what it saves."""

import base64
import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks import Webhook

from events import signing
from tests.examples.conftest import EXAMPLES, OTHER_SECRET, SECRET, Program, run, running

BODY = '{"event_type":"call_cdr","caller_display_name":"Žofie \\u0000","event_id":"1041"}'.encode()
VERIFIERS = ["verify.py", "verify.sh"]


def signed(
    *, body: bytes = BODY, keys: tuple[str, ...] = (SECRET,), message_id: str = "7-1041", age: int = 0
) -> dict[str, str]:
    timestamp = int(time.time()) - age
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.signature(keys, message_id, timestamp, body),
    }


def post(url: str, headers: dict[str, str], body: bytes = BODY) -> tuple[int, str]:
    answer = httpx.post(url, headers=headers, content=body, trust_env=False)
    return answer.status_code, answer.text.strip()


def url_of(program: Program) -> str:
    return program.errors.until("Listening on ").removeprefix("Listening on ")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Program]]:
    with running("receiver.py", "--port", "0", "--save", "saved", cwd=tmp_path, WEBHOOK_SECRET=SECRET) as program:
        yield url_of(program), program


# --- The receiver -----------------------------------------------------------------------------------------------


def test_receiver_takes_what_is_signed_and_tells_it_once(receiver: tuple[str, Program]) -> None:
    url, program = receiver
    assert post(url, signed()) == (204, "")
    assert post(url, signed()) == (204, "")
    assert post(url, signed(message_id="7-1042")) == (204, "")
    assert [program.out.next(), program.out.next()] == [BODY.decode(), BODY.decode()]
    assert program.out.are_none


def test_receiver_remembers_over_a_restart(tmp_path: Path) -> None:
    told = []
    for message_id in ("7-1", "7-1", "7-2"):
        with running("receiver.py", "--port", "0", cwd=tmp_path, WEBHOOK_SECRET=SECRET) as program:
            assert post(url_of(program), signed(message_id=message_id)) == (204, "")
            time.sleep(0.1)
            told.append(not program.out.are_none)
    assert told == [True, False, True]


def test_receiver_takes_both_secrets_while_one_is_rotated(tmp_path: Path) -> None:
    both = f"{OTHER_SECRET}, {SECRET}"
    with running("receiver.py", "--port", "0", cwd=tmp_path, WEBHOOK_SECRET=both) as program:
        url = url_of(program)
        assert post(url, signed(keys=(SECRET,), message_id="1")) == (204, "")
        assert post(url, signed(keys=(OTHER_SECRET,), message_id="2")) == (204, "")


def test_receiver_takes_a_request_that_two_secrets_signed(receiver: tuple[str, Program]) -> None:
    assert post(receiver[0], signed(keys=(OTHER_SECRET, SECRET))) == (204, "")


def test_receiver_takes_what_the_library_signs(receiver: tuple[str, Program]) -> None:
    now = datetime.now(UTC)
    headers = signed() | {
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("7-1041", now, BODY.decode()),
    }
    assert post(receiver[0], headers) == (204, "")


NO_FIT = "No signature fits: the secret is another, or the request was changed on its way."


@pytest.mark.parametrize(
    ("made", "body", "why"),
    [
        (lambda: signed(), BODY.replace(b"call_cdr", b"call_cdx"), NO_FIT),
        (lambda: signed(), BODY + b"\n", NO_FIT),
        (lambda: signed(), b"", NO_FIT),
        (lambda: signed() | {"webhook-id": "8-1041"}, BODY, NO_FIT),
        (lambda: signed() | {"webhook-timestamp": str(int(time.time()) - 1)}, BODY, NO_FIT),
        (lambda: signed(keys=(OTHER_SECRET,)), BODY, NO_FIT),
        (lambda: signed() | {"webhook-signature": "v1,"}, BODY, NO_FIT),
        (lambda: signed() | {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")}, BODY, NO_FIT),
        (
            lambda: signed() | {"webhook-timestamp": "yesterday"},
            BODY,
            "The header webhook-timestamp is no number of seconds.",
        ),
        (lambda: signed() | {"webhook-id": ""}, BODY, "The header webhook-id is missing."),
        (lambda: signed() | {"webhook-timestamp": ""}, BODY, "The header webhook-timestamp is missing."),
        (dict, BODY, "The header webhook-id is missing."),
        (lambda: signed(age=-1000), BODY, "The request comes from the future. Check this machine's clock."),
    ],
)
def test_receiver_refuses_what_is_not_genuine(
    receiver: tuple[str, Program], made: Callable[[], dict[str, str]], body: bytes, why: str
) -> None:
    url, program = receiver
    assert post(url, made(), body) == (400, why)
    assert why in program.errors.next()
    assert post(url, signed(message_id="after")) == (204, "")
    assert program.out.next() == BODY.decode()
    assert program.out.are_none


def test_receiver_refuses_what_is_old(receiver: tuple[str, Program]) -> None:
    status, why = post(receiver[0], signed(age=400))
    assert status == 400
    assert why.startswith("The request is 40")
    assert why.endswith("seconds old; at most 300 are allowed.")


def test_receiver_refuses_other_methods_and_what_is_too_big(receiver: tuple[str, Program]) -> None:
    url, _ = receiver
    assert httpx.get(url, trust_env=False).status_code == 405
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("POST", "/", headers={"Content-Length": str(10**9)})
    big = connection.getresponse()
    assert (big.status, big.read()) == (413, b"The body may have 5242880 bytes.\n")
    connection.close()
    chunks = httpx.post(url, content=iter([b"x"]), trust_env=False)
    assert chunks.status_code == 411


def test_receiver_answers_500_when_the_event_could_not_be_handled_and_takes_it_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import sys, os; sys.path.insert(0, sys.argv.pop(1))\n"
        "import receiver\n"
        "def handle(body):\n"
        "    if not os.path.exists('ready'): raise RuntimeError('no disk')\n"
        "    print('handled', flush=True)\n"
        "receiver.handle = handle\n"
        "receiver.main()\n"
    )
    mine = str(tmp_path / "mine.py")
    with running(mine, str(EXAMPLES), "--port", "0", cwd=tmp_path, WEBHOOK_SECRET=SECRET) as program:
        url = url_of(program)
        assert post(url, signed()) == (500, "It could not be handled: no disk")
        (tmp_path / "ready").touch()
        assert post(url, signed()) == (204, "")
        assert program.out.next() == "handled"


def test_receiver_says_what_is_wrong_with_its_start(tmp_path: Path) -> None:
    without = run("receiver.py", cwd=tmp_path)
    assert (without.returncode, without.stderr) == (
        2,
        "No secret: set WEBHOOK_SECRET to what the portal showed when the endpoint was made.\n",
    )
    with running("receiver.py", "--port", "0", cwd=tmp_path, WEBHOOK_SECRET=SECRET) as program:
        port = url_of(program).rstrip("/").rpartition(":")[2]
        second = run("receiver.py", "--port", port, cwd=tmp_path, WEBHOOK_SECRET=SECRET)
        assert (second.returncode, second.stderr) == (
            1,
            f"Cannot listen on 127.0.0.1:{port}: Address already in use.\n",
        )


# --- The verifiers ----------------------------------------------------------------------------------------------


def write(folder: Path, headers: dict[str, str], body: bytes = BODY, line: str = "\n") -> str:
    file = folder / "request.http"
    file.write_bytes(
        "".join(f"{name}: {value}{line}" for name, value in headers.items()).encode() + line.encode() + body
    )
    return str(file)


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verifiers_know_what_the_receiver_saved(receiver: tuple[str, Program], tmp_path: Path, verifier: str) -> None:
    assert post(receiver[0], signed() | {"authorization": "Bearer of the endpoint"}) == (204, "")
    file = tmp_path / "saved" / "7-1041.http"
    assert file.read_bytes().endswith(b"\n\n" + BODY)
    assert b"Bearer" not in file.read_bytes()
    done = run(verifier, str(file), WEBHOOK_SECRET=SECRET)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Genuine.\n", "")
    file.write_bytes(file.read_bytes().replace(b"call_cdr", b"call_cdx"))
    refused = run(verifier, str(file), WEBHOOK_SECRET=SECRET)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", f"Not genuine. {NO_FIT}\n")


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize("body", [BODY, b"", b"\n", b"{}\n\n", bytes(range(256)), b"\n\nwebhook-id: 9-9\n"])
def test_verifiers_take_every_byte_of_a_body(tmp_path: Path, verifier: str, body: bytes) -> None:
    file = write(tmp_path, signed(body=body, keys=(OTHER_SECRET, SECRET)), body)
    assert run(verifier, file, WEBHOOK_SECRET=SECRET).stdout == "Genuine.\n"
    file = write(tmp_path, signed(body=body), body + b"\n")
    assert run(verifier, file, WEBHOOK_SECRET=SECRET).returncode == 1


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verifiers_refuse_in_words(tmp_path: Path, verifier: str) -> None:
    def said(headers: dict[str, str], secret: str = SECRET) -> str:
        done = run(verifier, write(tmp_path, headers), WEBHOOK_SECRET=secret)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert said(signed(), OTHER_SECRET) == f"Not genuine. {NO_FIT}\n"
    assert said(signed(age=400)).endswith("seconds old; at most 300 are allowed.\n")
    assert said(signed(age=-400)) == "Not genuine. The request comes from the future. Check this machine's clock.\n"
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        left = {key: value for key, value in signed().items() if key != name}
        assert said(left) == f"Not genuine. The header {name} is missing.\n"
    soon = "Not genuine. The header webhook-timestamp is no number of seconds.\n"
    assert said(signed() | {"webhook-timestamp": "soon"}) == soon


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verifiers_leave_the_age_unchecked_when_told_so(tmp_path: Path, verifier: str) -> None:
    file = write(tmp_path, signed(age=10**6))
    option = ["--max-age", "0"] if verifier == "verify.py" else []
    assert run(verifier, file, *option, WEBHOOK_SECRET=SECRET, MAX_AGE="0").stdout == "Genuine.\n"


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verifiers_try_every_secret(tmp_path: Path, verifier: str) -> None:
    file = write(tmp_path, signed())
    assert run(verifier, file, WEBHOOK_SECRET=f"{OTHER_SECRET}, {SECRET}").stdout == "Genuine.\n"


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verifiers_say_how_they_are_called(tmp_path: Path, verifier: str) -> None:
    missing = run(verifier, str(tmp_path / "nothing"), WEBHOOK_SECRET=SECRET)
    assert missing.returncode == 2
    assert "nothing cannot be read" in missing.stderr
    assert run(verifier, WEBHOOK_SECRET=SECRET).returncode == 2
    without = run(verifier, write(tmp_path, signed()))
    assert without.returncode == 2
    assert without.stderr.startswith("No secret: set WEBHOOK_SECRET")
    malformed = run(verifier, write(tmp_path, signed()), WEBHOOK_SECRET="whsec_*")
    assert (malformed.returncode, malformed.stderr) == (
        2,
        "The secret is malformed: it is whsec_ and base64, as the portal showed it.\n",
    )


def test_verify_as_a_module_knows_the_published_example() -> None:
    """The vector of the Standard Webhooks specification, which is years old: its age is left unchecked."""
    body = b'{"test": 2432232314}'
    message_id, timestamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
    given = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signing.signature([SECRET], message_id, int(timestamp), body) == given
    assert len(base64.b64decode(given[3:])) == 32
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); from verify import verify;"
        f" verify([{SECRET!r}], {{'webhook-id': {message_id!r}, 'webhook-timestamp': {timestamp!r},"
        f" 'webhook-signature': {given!r}}}, {body!r}, tolerance=0); print('yes')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "yes\n"
