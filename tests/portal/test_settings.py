"""What the environment may say of where the web server is found."""

import os
import subprocess
import sys

import pytest


def web_address(**environment: str) -> str:
    """As a process that starts with these variables reads it; its complaint when it does not start."""
    kept = {name: value for name, value in os.environ.items() if name not in {"BIND", "PORT", "WEB_ADDRESS"}}
    asked = "from django.conf import settings; print(settings.WEB_ADDRESS)"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env=kept | {"DJANGO_SETTINGS_MODULE": "portal.settings"} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout or done.stderr).splitlines()[-1]


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({"PORT": "8001"}, "127.0.0.1:8001"),
        ({"BIND": "0.0.0.0"}, "127.0.0.1:8000"),  # noqa: S104
        ({"BIND": "::"}, "[::1]:8000"),
        ({"BIND": "192.0.2.4", "PORT": "80"}, "192.0.2.4:80"),
        ({"BIND": "0.0.0.0", "WEB_ADDRESS": "web:8000"}, "web:8000"),  # noqa: S104
    ],
)
def test_the_worker_finds_the_web_server(environment: dict[str, str], address: str) -> None:
    assert web_address(**environment) == address


@pytest.mark.parametrize("wrong", ["web", "http://web:8000", "web:eight", "::1:8000"])
def test_nonsense_stops_the_start(wrong: str) -> None:
    assert "WEB_ADDRESS must be a host and a port like 10.0.0.5:8000" in web_address(WEB_ADDRESS=wrong)
