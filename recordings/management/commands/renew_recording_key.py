"""`manage.py renew_recording_key HOST`: gives a tenant a new key for its recordings."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from recordings import keys
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import in_schema

AT_ONCE = 500


class Command(BaseCommand):
    help = "A new key for a tenant's recordings. The former one is deleted a day later, when nothing needs it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("host", help="the label of the tenant's portal host")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(host=options["host"]).exclude(schema_name="public").first()
        if tenant is None or tenant.state not in (Tenant.State.ACTIVE, Tenant.State.SUSPENDED):
            raise CommandError(f"There is no tenant with the host {options['host']}.")
        with in_schema(tenant.schema_name):
            keys.renew(SYSTEM)
            count = 0
            while done := keys.rewrap(AT_ONCE):
                count += done
        files = "1 file is" if count == 1 else f"{count} files are"
        self.stdout.write(
            f"{tenant.name} has a new key. New recordings are encrypted under it, and {files} wrapped by it now."
            " The former key is deleted in a day."
        )
