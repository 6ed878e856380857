"""The smallest switch against the portal's own Switch API."""

from pathlib import Path

import pytest
from django.db import transaction
from pytest_django.live_server_helper import LiveServer

from cdr.models import CDR, Direction
from tenants import outbox
from tenants.models import Domain, Switch, SwitchCommand, Tenant
from tests.examples.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def system_url(live_server: LiveServer, http_switch: Switch) -> str:
    Domain.objects.create(domain="localhost", tenant=Tenant.objects.get(schema_name="public"))
    return live_server.url


def test_switch_reports_a_call_that_ends_as_a_record(system_url: str, acme: Tenant, tmp_path: Path) -> None:
    command = [system_url, "--domain", "acme.test", "101", "102", "--talk", "1"]
    done = run("switch.py", *command, cwd=tmp_path, VOXLEDGER_SWITCH_TOKEN="switch-token")
    assert (done.returncode, done.stderr) == (0, "")
    record = CDR.objects.get()
    assert done.stdout.splitlines() == [
        "call.started: applied",
        "target.added: applied",
        "target.ringing: applied",
        "target.answered: applied",
        "target.ended: applied",
        "call.ended: applied",
        f"The call stands in the ledger as session {record.session_id}.",
    ]
    assert (record.caller, record.callee, record.direction, record.status, record.end_reason) == (
        "101",
        "102",
        Direction.INTERNAL,
        "answered",
        "caller_disconnect",
    )
    assert 1 <= record.talk_duration <= 20
    assert [target.callee for target in record.targets.all()] == ["102"]


def test_switch_confirms_every_command(system_url: str, acme: Tenant, http_switch: Switch, tmp_path: Path) -> None:
    with transaction.atomic():
        row = outbox.enqueue(
            http_switch, tenant_id=acme.pk, command=SwitchCommand.Command.START, session_id="s", recording_id="r",
            medium="audio",
        )  # fmt: skip
    command = [system_url, "--domain", "acme.test", "101", "102", "--talk", "0"]
    done = run("switch.py", *command, cwd=tmp_path, VOXLEDGER_SWITCH_TOKEN="switch-token")
    assert done.stdout.splitlines()[:2] == ["call.started: applied", "start_recording: confirmed as failed"]
    row.refresh_from_db()
    assert (row.state, row.reason) == (SwitchCommand.State.FAILED, "This switch cannot record.")


def test_switch_says_what_the_portal_refused(system_url: str, acme: Tenant, tmp_path: Path) -> None:
    def said(domain: str, token: str) -> str:
        command = [system_url, "--domain", domain, "101", "102", "--token", token]
        done = run("switch.py", *command, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert said("acme.test", "nonsense").startswith("The portal answered 401: ")
    assert said("nowhere.test", "switch-token").startswith("call.started was rejected: ")
    assert not CDR.objects.exists()


def test_switch_says_how_it_is_called(tmp_path: Path) -> None:
    command = ["http://localhost:8000", "--domain", "acme.test", "101", "102"]
    assert "no token: set VOXLEDGER_SWITCH_TOKEN or give --token" in run("switch.py", *command, cwd=tmp_path).stderr
    command[0] = "localhost:8000"
    assert "localhost:8000 is no address" in run("switch.py", *command, "--token", "t", cwd=tmp_path).stderr
