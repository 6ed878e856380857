"""The first system administrator of an installation, or a new password for one who lost it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.passwords import new_password
from accounts.people import create_user, reset_password
from accounts.roles import Role
from tenants.changes import SYSTEM
from tenants.schemas import enter_public


class Command(BaseCommand):
    help = "Makes a system administrator, or gives one a new password, and shows the password once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *_: Any, username: str, **__: Any) -> None:
        enter_public()
        user = User.objects.filter(username__iexact=username).first()
        if user is not None:
            self.stdout.write(reset_password(SYSTEM, user))
            return
        password = new_password()
        try:
            create_user(SYSTEM, {"username": username, "role": Role.SYSTEM, "password": password})
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(password)
