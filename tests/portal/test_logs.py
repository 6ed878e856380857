import json
import logging

import pytest
import structlog

from portal import logs


@pytest.fixture
def restored_logging() -> object:
    structlog.contextvars.clear_contextvars()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    from django.conf import settings

    logs.configure(settings.LOGGING)
    root.handlers[:], root.level = handlers, level


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_both_kinds_of_logger_write_json_with_what_they_are_about(
    capsys: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    logs.configure({"format": "json", "level": "INFO"})
    with structlog.contextvars.bound_contextvars(tenant="t_acme", session_id="42"):
        structlog.get_logger("room").info("call ended", talk=7)
        logging.getLogger("library").warning("it %s", "creaks")
    ours, theirs = _lines(capsys)
    about = {"tenant": "t_acme", "session_id": "42"}
    assert {name: value for name, value in ours.items() if name != "timestamp"} == about | {
        "event": "call ended", "level": "info", "logger": "room", "talk": 7,
    }  # fmt: skip
    assert {name: value for name, value in theirs.items() if name != "timestamp"} == about | {
        "event": "it creaks", "level": "warning", "logger": "library",
    }  # fmt: skip


def test_an_answered_refusal_is_not_logged_twice(capsys: pytest.CaptureFixture[str], restored_logging: None) -> None:
    logs.configure({"format": "json", "level": "INFO"})
    log = logging.getLogger("django.request")
    log.warning("Not Found: /x")
    try:
        raise ValueError("a mistake of ours")
    except ValueError:
        log.exception("Internal Server Error: /x")
    (line,) = _lines(capsys)
    assert line["event"] == "Internal Server Error: /x"
    assert "a mistake of ours" in str(line["exception"])
