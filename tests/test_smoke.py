from django.db import connection
from django.test import Client

from tenants.models import Tenant


def test_tenant_host_enters_its_schema(acme: Tenant, acme_client: Client) -> None:
    assert connection.schema_name == "acme"
    assert acme_client.get("/healthz").json() == {"status": "ok"}
