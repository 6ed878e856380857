"""The description of the REST API: complete, of this host alone, without a warning."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS

from tenants.models import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def silence() -> Iterator[None]:
    """Nothing was left undescribed: drf-spectacular had no complaint."""
    GENERATOR_STATS.reset()
    yield
    assert dict(GENERATOR_STATS._warn_cache) == {}
    assert dict(GENERATOR_STATS._error_cache) == {}


def described(client: Client) -> dict[str, Any]:
    response = client.get("/api/schema/")
    assert response.status_code == 200
    return dict(yaml.safe_load(response.content))


def test_a_tenants_host_describes_its_own_doors(acme: Tenant, acme_client: Client, silence: None) -> None:
    paths = described(acme_client)["paths"]

    assert {"/api/v1/cdrs", "/api/v1/cdrs/{session_id}", "/api/v1/endpoints", "/api/v1/users"} <= set(paths)
    assert not {path for path in paths if "tenants" in path or "switch" in path}
    names = [parameter["name"] for parameter in paths["/api/v1/cdrs"]["get"]["parameters"]]
    assert sorted(names) == sorted(
        ["from", "to", "number", "caller", "callee", "direction", "extension", "trunk", "did", "session_id", "status",
         "end_reason", "min_talk", "max_talk", "recorded", "search", "order", "limit", "cursor", "count"]
    )  # fmt: skip
    for operations in paths.values():
        for operation in operations.values():
            assert {"400", "401", "403", "404"} <= set(operation["responses"])


def test_the_system_host_describes_its_own_doors(system_client: Client, silence: None) -> None:
    paths = described(system_client)["paths"]

    assert "/api/v1/cdrs" not in paths
    assert {"/api/v1/tenants", "/api/v1/switches"} <= set(paths)


def test_the_page_to_read_it_stands_on_both_hosts(acme: Tenant, acme_client: Client, system_client: Client) -> None:
    for client in (acme_client, system_client):
        assert 'data-schema="/api/schema/"' in client.get("/api/docs").content.decode()
        assert client.post("/api/docs").status_code == 405
