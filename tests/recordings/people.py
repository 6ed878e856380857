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
    """The same one again when it is asked for again."""
    name = f"u-{role}{number}{'+'.join(scopes) if scopes else 0}"
    owner = User.objects.filter(username=name).first() or user(role, number, name)
    secret = f"{host}-{owner.username}"
    hashed = {"name": "t", "hint": "t", "user": owner, "scopes": scopes or []}
    ApiToken.objects.get_or_create(token_hash=token_hash(secret), defaults=hashed)
    return Client(headers={"host": f"{host}.portal.test", "authorization": f"Bearer {secret}"})


def browser(role: Role = Role.ADMIN, number: str = "", host: str = "acme") -> Client:
    client = Client(headers={"host": f"{host}.portal.test"})
    client.force_login(User.objects.filter(username=f"u-{role}{number}").first() or user(role, number))
    return client
