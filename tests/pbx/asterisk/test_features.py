import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from pbx.asterisk.features import features_conf, undiallable
from tenants.models import Tenant

DEPLOYED = Path(__file__).parents[3] / "deploy" / "asterisk" / "features.conf"

pytestmark = pytest.mark.django_db


def written(*tenants: str) -> tuple[str, str]:
    out, errors = io.StringIO(), io.StringIO()
    call_command("asterisk_features", *tenants, stdout=out, stderr=errors)
    return out.getvalue(), errors.getvalue()


def test_tenants_that_changed_nothing_have_the_file_that_is_deployed(tenants: None) -> None:
    assert written() == (DEPLOYED.read_text(), "")


def test_each_code_of_any_tenant_stands_there_once(tenants: None) -> None:
    Tenant.objects.filter(schema_name="globex").update(pause_recording_code="#7", resume_recording_code="#8")
    text, errors = written()
    assert text == features_conf(["#7", "#8", "*44", "*45", "*48", "*49"])
    assert [line for line in text.splitlines() if "#7" in line] == [
        'voxledger-1 => #7,self/both,UserEvent,"VoxledgerFeature,Code: #7,SessionId: ${SESSIONID}"',
        "voxledger-1 => #7",
    ]
    assert errors == ""
    assert written("Globex Inc.") == (features_conf(["#7", "#8", "*44", "*45"]), "")


def test_a_code_that_another_one_hides_is_said(tenants: None) -> None:
    Tenant.objects.filter(schema_name="globex").update(pause_recording_code="*4")
    assert written()[1].splitlines() == [
        "*44 cannot be dialled on one Asterisk with *4: name the tenants of each Asterisk.",
        "*45 cannot be dialled on one Asterisk with *4: name the tenants of each Asterisk.",
        "*48 cannot be dialled on one Asterisk with *4: name the tenants of each Asterisk.",
        "*49 cannot be dialled on one Asterisk with *4: name the tenants of each Asterisk.",
    ]
    assert undiallable(["*44", "*45", "#44"]) == []


def test_a_tenant_that_is_none_is_refused(tenants: None) -> None:
    with pytest.raises(CommandError, match=r"^There is no active tenant Initech, public\.$"):
        written("Acme Inc.", "Initech", "public")


def test_without_a_tenant_there_is_nothing_to_write(tenants: None) -> None:
    Tenant.objects.exclude(schema_name="public").update(state=Tenant.State.SUSPENDED)
    with pytest.raises(CommandError, match=r"^There is no active tenant\.$"):
        written()
