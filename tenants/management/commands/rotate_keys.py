"""`manage.py rotate_keys`: encrypts every secret at rest anew, by the newest key of the installation."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tenants import rotation


class Command(BaseCommand):
    help = "After a new first key in ENCRYPTION_KEYS: encrypts all that is kept secret by it. Run it again at any time."

    def handle(self, *args: Any, **options: Any) -> None:
        found = rotation.rotate_all()
        known = len(settings.ENCRYPTION_KEYS) or 1
        self.stdout.write(
            f"{_secrets(found.renewed)} encrypted anew by the newest of {known} {'key' if known == 1 else 'keys'},"
            f" {found.standing} {'was' if found.standing == 1 else 'were'} so already."
        )
        for each in found.unreadable:
            self.stdout.write(f"No key of ENCRYPTION_KEYS opens {each}.")
        if found.unreadable:
            raise CommandError(
                f"{_secrets(len(found.unreadable))} could not be read. Name the key that encrypted them, after the"
                " newest, in ENCRYPTION_KEYS and run this again; or set them anew."
            )


def _secrets(count: int) -> str:
    return "1 secret" if count == 1 else f"{count} secrets"
