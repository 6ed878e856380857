"""Writes the tenants' feature codes as Asterisk reads them: `manage.py asterisk_features > features.conf`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pbx.asterisk.features import features_conf, undiallable
from tenants.models import Tenant

CODES = ("start_recording_code", "stop_recording_code", "pause_recording_code", "resume_recording_code")


class Command(BaseCommand):
    help = "Writes deploy/asterisk/features.conf with the feature codes that the tenants have set."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenants", nargs="*", help="names of the tenants on this Asterisk; all when none is given")

    def handle(self, *args: Any, tenants: list[str], **options: Any) -> None:
        found = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
        if tenants:
            found = found.filter(name__in=tenants)
            if missing := set(tenants) - set(found.values_list("name", flat=True)):
                raise CommandError(f"There is no active tenant {', '.join(sorted(missing))}.")
        codes = [code for row in found.values_list(*CODES) for code in row]
        if not codes:
            raise CommandError("There is no active tenant.")
        for code, other in undiallable(codes):
            self.stderr.write(
                f"{code} cannot be dialled on one Asterisk with {other}: name the tenants of each Asterisk."
            )
        self.stdout.write(features_conf(codes), ending="")
