"""`manage.py up`, driven as a whole: one portal is started, looked at, hurt, stopped and started again."""

import os
import re
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.run.stack import Stack, eventually, free_port, processes_of, stack

pytestmark = pytest.mark.stack

PASSWORD = re.compile(r"[a-zA-Z0-9]{20}")
API_TOKEN = re.compile(r"vla_[\w-]{43}")


@pytest.fixture(scope="module")
def portal() -> Iterator[Stack]:
    with stack() as made:
        made.start()
        yield made


def test_run_json_has_what_opens_everything_and_is_ours_alone(portal: Stack) -> None:
    file = portal.folder / "run.json"
    opened = portal.opened
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(opened) == {"system", "switch_token", "tenants"}
    assert set(opened["system"]) == {"url", "username", "password", "api_token"}
    assert opened["system"]["url"] == f"http://localhost:{portal.port}"
    assert [
        (tenant["name"], tenant["url"], tenant["sip_domain"], [one["number"] for one in tenant["extensions"]])
        for tenant in opened["tenants"]
    ] == [
        ("Acme Fruit", f"http://acme.localhost:{portal.port}", "acme.test", ["101", "102", "103", "104", "105"]),
        ("Globex Travel", f"http://globex.localhost:{portal.port}", "globex.test", ["101", "102", "103", "104", "105"]),
    ]
    for desk in [opened["system"], *opened["tenants"]]:
        assert desk["username"] == "admin"
        assert PASSWORD.fullmatch(desk["password"])
        assert API_TOKEN.fullmatch(desk["api_token"])
    assert all(PASSWORD.fullmatch(one["sip_password"]) for t in opened["tenants"] for one in t["extensions"])
    assert all(tenant["id"].isdigit() for tenant in opened["tenants"])


def test_secrets_are_readable_by_their_owner_alone(portal: Stack) -> None:
    assert stat.S_IMODE((portal.folder / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(portal.folder.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    assert stat.S_IMODE((portal.folder / "run" / "pg").stat().st_mode) == 0o700


def test_it_becomes_ready(portal: Stack) -> None:
    eventually(portal.is_ready)
    assert portal.get("/readyz").json() == {
        "status": "ok",
        "checks": {"database": "ok", "redis": "ok", "worker": "ok", "connectors": "ok"},
    }


@pytest.mark.parametrize("host", ["localhost", "acme.localhost"])
def test_hosts_answer_with_their_sign_in_page(portal: Stack, host: str) -> None:
    page = portal.get("/sign-in", host=host)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_unknown_host_is_not_found(portal: Stack) -> None:
    assert portal.get("/", host="nobody.localhost").status_code == 404


def test_second_start_says_that_it_is_running(portal: Stack) -> None:
    assert portal.process is not None
    assert portal.try_start(PORT=str(free_port())) == (
        1,
        f"Voxledger is already running at http://localhost:{portal.port} (process {portal.process.pid});"
        " stop it with Ctrl-C there.",
    )


def test_two_tenants_under_load_never_see_each_other(portal: Stack) -> None:
    """The pool hands one connection from tenant to tenant: each answer must still be its own tenant's."""
    opened = portal.opened
    desks = [(tenant["url"].split("//")[1].split(":")[0], tenant) for tenant in opened["tenants"]]

    def extension(number: int) -> tuple[str, int, str]:
        host, tenant = desks[number % 2]
        answer = portal.get("/api/v1/extensions/101", host=host, token=tenant["api_token"])
        return host, answer.status_code, answer.json().get("display_name", "")

    with ThreadPoolExecutor(12) as threads:
        answers = set(threads.map(extension, range(240)))
    assert answers == {("acme.localhost", 200, "Anna Keller"), ("globex.localhost", 200, "Sofia Lind")}


def test_a_token_does_not_open_the_other_tenant(portal: Stack) -> None:
    acme = portal.opened["tenants"][0]
    answer = portal.get("/api/v1/extensions/101", host="globex.localhost", token=acme["api_token"])
    assert answer.status_code == 401


def test_killed_services_come_back(portal: Stack) -> None:
    eventually(portal.is_ready)
    postmaster = int((portal.folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    eventually(lambda: "postgres was ended by SIGKILL; it starts again" in portal.output)
    eventually(portal.is_ready)
    assert int((portal.folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0]) != postmaster


def test_killed_supervisor_leaves_nobody_and_the_next_start_recovers(portal: Stack) -> None:
    before = portal.opened
    assert portal.process is not None
    portal.process.kill()
    portal.process.wait()
    portal.start()
    assert portal.opened == before
    assert portal.get("/sign-in", host="acme.localhost").status_code == 200


def test_terminated_twice_it_leaves_no_process(portal: Stack) -> None:
    assert portal.process is not None
    os.killpg(portal.process.pid, signal.SIGTERM)
    assert portal.stop() == 0
    assert processes_of(portal.folder) == []
    assert portal.output.rstrip().endswith("Stopped")


def test_lost_run_json_gets_new_passwords_and_keeps_the_tenants(portal: Stack) -> None:
    before = portal.opened
    (portal.folder / "run.json").unlink()
    portal.start()
    after = portal.opened
    assert [tenant["id"] for tenant in after["tenants"]] == [tenant["id"] for tenant in before["tenants"]]
    assert not _secrets(after) & _secrets(before)
    acme = after["tenants"][0]
    assert portal.get("/api/v1/extensions/101", host="acme.localhost", token=acme["api_token"]).status_code == 200


def _secrets(opened: dict[str, Any]) -> set[str]:
    desks = [opened["system"], *opened["tenants"]]
    found = {opened["switch_token"], *(desk[name] for desk in desks for name in ("password", "api_token"))}
    return found | {one["sip_password"] for tenant in opened["tenants"] for one in tenant["extensions"]}
