"""`manage.py rotate_recording_keys`: wraps the recordings' keys by the newest key of the installation."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from recordings import keys
from recordings.errors import KeyGoneError
from tenants.models import Tenant
from tenants.schemas import in_schema

_WITHOUT_SCHEMA = [Tenant.State.CREATING, Tenant.State.FAILED]


class Command(BaseCommand):
    help = "After a new first key in ENCRYPTION_KEYS: wraps the key of every tenant's recordings by it."

    def handle(self, *args: Any, **options: Any) -> None:
        rotated = 0
        schemas = Tenant.objects.exclude(state__in=_WITHOUT_SCHEMA).order_by("pk").values_list("schema_name", flat=True)
        for schema in schemas:  # the public one too: it keeps files of which nobody knows whose they are
            with in_schema(schema), transaction.atomic():
                try:
                    rotated += keys.rotate()
                except KeyGoneError as error:
                    raise CommandError(
                        f"The recordings of {schema} cannot be opened with ENCRYPTION_KEYS: the key that wrapped theirs"
                        " is missing. Name it there, after the newest, and run this again."
                    ) from error
        known = len(settings.ENCRYPTION_KEYS) or 1
        self.stdout.write(
            f"{rotated} {'key is' if rotated == 1 else 'keys are'} now wrapped by the newest of {known}"
            f" {'key' if known == 1 else 'keys'} of this installation."
        )
