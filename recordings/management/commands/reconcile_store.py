"""`manage.py reconcile_store`: holds the store of the recordings against the books of every tenant."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from recordings import strays
from recordings.errors import VaultError
from tenants.models import Tenant
from tenants.schemas import in_schema

_WITHOUT_SCHEMA = [Tenant.State.CREATING, Tenant.State.FAILED, Tenant.State.DELETING]


class Command(BaseCommand):
    help = "Lists files of the store that no row knows, and rows whose file is gone. --delete removes the former."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--delete", action="store_true", help="remove the files that no row knows")

    def handle(self, *args: Any, **options: Any) -> None:
        unknown = gone = 0
        schemas = Tenant.objects.exclude(state__in=_WITHOUT_SCHEMA).order_by("pk").values_list("schema_name", flat=True)
        for schema in schemas:  # the public one too: it keeps files of which nobody knows whose they are
            with in_schema(schema):
                found = self._look_at(schema, delete=options["delete"])
            unknown, gone = unknown + len(found.unknown), gone + len(found.gone)
        did = "removed" if options["delete"] else "found"
        self.stdout.write(f"{unknown} unknown to the books {did}, {gone} gone from the store.")
        if gone:
            raise CommandError("Recordings have lost their file: restore the store from its backup.")

    def _look_at(self, schema: str, *, delete: bool) -> strays.Strays:
        try:
            found = strays.strays(timezone.now())
            for each in found.unknown:
                self.stdout.write(f"{schema}: unknown {each.storage_key}, {each.size} bytes, {each.at:%Y-%m-%d %H:%M}")
            for file in found.gone:
                self.stdout.write(f"{schema}: gone {file.storage_key}, file {file.pk}, {file.size} bytes")
            if delete:
                strays.remove(found.unknown)
        except VaultError as error:
            raise CommandError(f"{schema}: {error.message}") from error
        return found
