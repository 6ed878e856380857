"""Programs and browsers of acme's people, in the schema the connection is in."""

from django.test import Client

from accounts.models import ApiToken, Extension, User
from accounts.roles import Role
from tenants.crypto import token_hash


def user(role: Role, number: str = "", name: str = "") -> User:
    """With that extension, made if need be."""
    found = User.objects.create_user(name or f"u-{role}{number}", "a password", role=role)
    if number:
        Extension.objects.update_or_create(number=number, defaults={"user": found})
    return found


def program(role: Role = Role.ADMIN, number: str = "", scopes: list[str] | None = None, host: str = "acme") -> Client:
    owner = user(role, number, f"u-{role}{number}{len(scopes or [])}")
    secret = f"{host}-{owner.username}"
    ApiToken.objects.create(user=owner, name="t", token_hash=token_hash(secret), hint="t", scopes=scopes or [])
    return Client(headers={"host": f"{host}.portal.test", "authorization": f"Bearer {secret}"})


def browser(role: Role = Role.ADMIN, number: str = "", host: str = "acme") -> Client:
    client = Client(headers={"host": f"{host}.portal.test"})
    client.force_login(user(role, number))
    return client
