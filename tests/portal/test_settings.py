"""What the environment may say of where the web server is found, and of keys."""

import os
import subprocess
import sys
from pathlib import Path

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


def said(expression: str, folder: Path, **environment: str) -> str:
    own = ("ENCRYPTION_KEYS", "RECORDING_", "S3_", "X_ACCEL_", "VOXLEDGER_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-c", f"from django.conf import settings; print({expression})"],
        env=kept | {"DJANGO_SETTINGS_MODULE": "portal.settings", "VAR_DIR": str(folder)} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout or done.stderr).splitlines()[-1]


def encryption_keys(folder: Path, **environment: str) -> str:
    return said("*settings.ENCRYPTION_KEYS, sep='|'", folder, **environment)


def test_recordings_are_encrypted_in_production_unless_told_otherwise(tmp_path: Path) -> None:
    asked = "settings.RECORDING_ENCRYPTION"
    assert said(asked, tmp_path) == "False"
    assert said(asked, tmp_path, VOXLEDGER_ENV="production") == "True"
    assert said(asked, tmp_path, VOXLEDGER_ENV="production", RECORDING_ENCRYPTION="0") == "False"


def test_a_store_that_is_half_configured_stops_the_start(tmp_path: Path) -> None:
    asked = "settings.STORAGES['recordings']['BACKEND']"
    assert said(asked, tmp_path, RECORDING_STORE="s3", S3_BUCKET="kept") == "recordings.s3.S3Store"
    assert "S3_BUCKET must name the bucket" in said(asked, tmp_path, RECORDING_STORE="s3")
    both = said(asked, tmp_path, RECORDING_STORE="s3", S3_BUCKET="kept", X_ACCEL_PREFIX="/kept/")
    assert "X_ACCEL_PREFIX is for RECORDING_STORE=local" in both


def test_the_browser_may_play_from_the_store_it_is_sent_to(tmp_path: Path) -> None:
    asked = "*settings.CONTENT_SECURITY_POLICY['DIRECTIVES']['media-src']"
    store = {"RECORDING_STORE": "s3", "S3_BUCKET": "kept", "S3_ENDPOINT_URL": "https://s3.example.org"}
    assert said(asked, tmp_path, **store) == "'self'"
    assert said(asked, tmp_path, **store, S3_LINK_SECONDS="60") == (
        "'self' https://s3.example.org https://*.s3.example.org"
    )


def test_keys_stand_in_the_environment_or_in_a_file(tmp_path: Path) -> None:
    assert encryption_keys(tmp_path) == ""
    (tmp_path / "encryption_keys").write_text("new, with a comma\n\nold\n")
    assert encryption_keys(tmp_path) == "new, with a comma|old"
    assert encryption_keys(tmp_path, ENCRYPTION_KEYS="newest, older") == "newest|older"
    (tmp_path / "folder").mkdir()
    assert encryption_keys(tmp_path, ENCRYPTION_KEYS_FILE=str(tmp_path / "folder")).endswith(
        f"ENCRYPTION_KEYS_FILE cannot be read from {tmp_path / 'folder'}: Is a directory."
    )


@pytest.mark.parametrize("wrong", ["web", "http://web:8000", "web:eight", "::1:8000"])
def test_nonsense_stops_the_start(wrong: str) -> None:
    assert "WEB_ADDRESS must be a host and a port like 10.0.0.5:8000" in web_address(WEB_ADDRESS=wrong)
